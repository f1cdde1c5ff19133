use super::*;
use Decision::{Make, Restore, Use};
use jiff::SignedDuration;

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn made(row: &AuthorityRow) -> PemPair {
    row.make(now()).unwrap()
}

/// One decision: what was found, what was copied, what is remembered, and whether it has run.
fn decided(origin: Origin, copy: Option<&PemPair>, used: Option<&PemPair>, has_run: bool) -> Result<Decision, Fault> {
    let used = used.map(|pair| identity(pair).unwrap());
    decide(&CLUSTER, origin, copy.cloned(), used.as_deref(), has_run, now())
}

fn found(pair: &PemPair) -> Origin {
    Origin::Found(Some(pair.clone()))
}

#[test]
fn before_the_first_start_what_is_brought_is_used_and_what_is_missing_is_made() {
    let (one, other) = (made(&CLUSTER), made(&CLUSTER));
    assert_eq!(decided(Origin::Missing, None, None, false), Ok(Make));
    assert_eq!(decided(found(&one), None, None, false), Ok(Use(one.clone(), None)));
    // It may still be replaced, and a copy of an earlier one counts for nothing.
    assert_eq!(
        decided(found(&one), Some(&other), Some(&other), false),
        Ok(Use(one.clone(), None))
    );
    assert_eq!(
        decided(Origin::Missing, Some(&other), None, false),
        Ok(Restore(other.clone()))
    );
    assert_eq!(decided(Origin::Foreign, Some(&one), None, false), Err(Fault::Foreign));
    let mixed = PemPair {
        key: other.key,
        ..one.clone()
    };
    assert_eq!(
        decided(found(&mixed), Some(&one), None, false),
        Err(Fault::Wrong(PkiError::Mismatch))
    );
}

#[test]
fn after_the_first_start_the_one_in_use_stays_in_use_whatever_becomes_of_the_secret() {
    let (one, other) = (made(&CLUSTER), made(&CLUSTER));
    let mixed = PemPair {
        key: other.key.clone(),
        ..one.clone()
    };
    let wrong = |error| Some(Fault::Wrong(error));
    for used in [Some(&one), None] {
        for (origin, decision) in [
            (found(&one), Use(one.clone(), None)),
            (Origin::Missing, Restore(one.clone())),
            (Origin::Foreign, Use(one.clone(), Some(Fault::Foreign))),
            (found(&other), Use(one.clone(), Some(Fault::Changed))),
            (found(&mixed), Use(one.clone(), wrong(PkiError::Mismatch))),
            (Origin::Found(None), Use(one.clone(), wrong(PkiError::Certificate))),
        ] {
            assert_eq!(decided(origin, Some(&one), used, true), Ok(decision));
        }
    }
}

#[test]
fn without_a_copy_of_the_one_in_use_nothing_is_made_and_nothing_else_is_used() {
    let (one, other) = (made(&CLUSTER), made(&CLUSTER));
    // A copy of another counts as none.
    for copy in [None, Some(&other)] {
        for (origin, decision) in [
            (found(&one), Ok(Use(one.clone(), None))),
            (found(&other), Err(Fault::Replaced)),
            (Origin::Missing, Err(Fault::Lost)),
            (Origin::Foreign, Err(Fault::Foreign)),
            (Origin::Found(None), Err(Fault::Wrong(PkiError::Certificate))),
        ] {
            assert_eq!(decided(origin, copy, Some(&one), true), decision);
        }
    }
    // Nothing tells of another.
    assert_eq!(decided(found(&other), None, None, true), Ok(Use(other.clone(), None)));
}

#[test]
fn a_renewed_certificate_of_the_same_key_is_taken_and_so_are_more_to_trust() {
    let one = made(&CLUSTER);
    let later = now() + SignedDuration::from_hours(1);
    let key = rcgen::KeyPair::from_pem(&one.key).unwrap();
    let renewed = Authority::self_signed(&key, "kubernetes-ca", later).unwrap();
    assert_ne!(renewed.certificate, one.certificate);
    assert_eq!(
        decided(found(&renewed), Some(&one), Some(&one), true),
        Ok(Use(renewed.clone(), None))
    );
    let bundle = PemPair {
        certificate: renewed.certificate + &one.certificate,
        key: one.key.clone(),
    };
    assert_eq!(
        decided(found(&bundle), Some(&one), Some(&one), true),
        Ok(Use(bundle.clone(), None))
    );
    assert_ne!(CLUSTER.mark(&bundle), CLUSTER.mark(&one));
}

#[test]
fn an_authority_that_has_ended_stays_in_use_and_is_told() {
    let one = made(&CLUSTER);
    let late = now() + SignedDuration::from_hours(24 * 4000);
    let decision = decide(&CLUSTER, found(&one), Some(one.clone()), None, true, late);
    assert!(
        matches!(&decision, Ok(Use(pair, Some(Fault::Wrong(PkiError::Expired(_))))) if *pair == one),
        "{decision:?}"
    );
    let alone = decide(&CLUSTER, found(&one), None, None, true, late);
    assert!(matches!(alone, Err(Fault::Wrong(PkiError::Expired(_)))), "{alone:?}");
}

#[test]
fn a_copy_holds_what_is_trusted_and_the_one_that_signs() {
    let (one, other) = (made(&FRONT_PROXY), made(&FRONT_PROXY));
    let bundle = PemPair {
        certificate: format!("{}{}", one.certificate, other.certificate),
        key: one.key.clone(),
    };
    for (row, pair, names) in [
        (
            &FRONT_PROXY,
            bundle,
            &[
                "front-proxy-ca.crt",
                "front-proxy-ca-signer.crt",
                "front-proxy-ca-signer.key",
            ][..],
        ),
        (&SERVICE_ACCOUNT, made(&SERVICE_ACCOUNT), &["sa.pub", "sa.key"]),
    ] {
        let files = row.files(&pair).unwrap();
        assert_eq!(files.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), names);
        let copy = Secret {
            data: Some(files.into_iter().collect()),
            ..Secret::default()
        };
        assert_eq!(row.copied(&copy), Some(pair));
        let mut broken = copy.clone();
        for value in broken.data.iter_mut().flatten().map(|(_, value)| value) {
            *value = ByteString(b"nonsense".to_vec());
        }
        assert_eq!(row.copied(&broken), None);
    }
    let files = FRONT_PROXY.files(&PemPair {
        certificate: format!("{}{}", one.certificate, other.certificate),
        key: one.key.clone(),
    });
    assert_eq!(files.unwrap()[1].1.0, one.certificate.as_bytes());
}

#[test]
fn text_around_certificates_and_other_line_ends_change_nothing() {
    let one = made(&CLUSTER);
    let dressed = PemPair {
        certificate: format!("# my authority\r\n{}", one.certificate.replace('\n', "\r\n")),
        key: one.key.clone(),
    };
    assert_eq!(decided(found(&dressed), None, None, false), Ok(Use(one, None)));
}

#[test]
fn the_order_of_the_authorities_never_changes() {
    // What rolls the pods of a component is made of those that it reads, in this order.
    let read_by = |component: &str| {
        let rows = authorities().filter(|row| row.read_by.contains(&component));
        rows.map(|row| row.file).collect::<Vec<_>>()
    };
    assert_eq!(read_by(API_SERVER), ["ca", "front-proxy-ca", "etcd-ca", "sa"]);
    assert_eq!(read_by(CONTROLLERS), ["ca", "front-proxy-ca", "sa"]);
    assert_eq!(read_by(datastore::COMPONENT), ["etcd-ca", "etcd-peer-ca"]);
}
