use super::*;
use jiff::{SignedDuration, Timestamp};

const YEAR: SignedDuration = SignedDuration::from_hours(8760);

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn authority() -> (PemPair, Authority) {
    let pair = Authority::generate("kubernetes", now()).unwrap();
    let authority = Authority::read(&pair).unwrap();
    (pair, authority)
}

fn server() -> LeafSpec {
    LeafSpec {
        common_name: "kube-apiserver".into(),
        organization: None,
        usage: Usage::Server,
        names: ["10.95.0.1", "kubernetes.default.svc", "fd00::1"]
            .map(|name| name.parse().unwrap())
            .into(),
    }
}

#[test]
fn a_leaf_says_what_was_asked() {
    let (_, authority) = authority();
    let pair = server().issue(&authority, YEAR, now()).unwrap();
    let leaf = Leaf::read(&pair).unwrap();
    assert!(leaf.has_its_key && leaf.is_signed_by(&authority) && leaf.has_subject_of(&server()));
    assert_eq!(leaf.names, server().names);
    assert_eq!(leaf.not_after, now() + YEAR);
    assert_eq!(
        leaf.renewal(Some(SignedDuration::from_hours(10))),
        now() + YEAR - SignedDuration::from_hours(10)
    );
    let two_thirds = leaf.renewal(None).duration_since(now());
    assert!((SignedDuration::from_hours(5839)..=SignedDuration::from_hours(5841)).contains(&two_thirds));
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let (_, authority) = authority();
    let pair = server().issue(&authority, YEAR * 20, now()).unwrap();
    assert_eq!(Leaf::read(&pair).unwrap().not_after, authority.not_after());
}

#[test]
fn a_wrong_authority_is_named() {
    let (pair, authority) = authority();
    let (other, _) = self::authority();
    let refused = |pair: PemPair| Authority::read(&pair).err().unwrap();
    assert_eq!(
        refused(PemPair {
            key: other.key,
            ..pair.clone()
        }),
        PkiError::Mismatch
    );
    assert_eq!(
        refused(PemPair {
            key: String::new(),
            ..pair.clone()
        }),
        PkiError::NoKey
    );
    assert_eq!(
        refused(PemPair {
            key: "nonsense".into(),
            ..pair.clone()
        }),
        PkiError::Key
    );
    assert_eq!(
        refused(PemPair {
            certificate: "nonsense".into(),
            ..pair.clone()
        }),
        PkiError::Certificate
    );
    let leaf = server().issue(&authority, YEAR, now()).unwrap();
    assert_eq!(refused(leaf), PkiError::NotAnAuthority);
}

#[test]
fn authorities_of_openssl_in_every_key_format_sign() {
    for (name, key) in [
        ("PKCS#1", include_str!("testdata/rsa-pkcs1.key")),
        ("PKCS#8", include_str!("testdata/rsa-pkcs8.key")),
    ] {
        let pair = PemPair {
            certificate: include_str!("testdata/rsa.crt").into(),
            key: key.into(),
        };
        let authority = Authority::read(&pair).unwrap_or_else(|e| panic!("{name}: {e}"));
        let leaf = server()
            .issue(&authority, YEAR, now())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(Leaf::read(&leaf).unwrap().is_signed_by(&authority), "{name}");
    }
    let pair = PemPair {
        certificate: include_str!("testdata/ec.crt").into(),
        key: include_str!("testdata/ec-sec1.key").into(),
    };
    let authority = Authority::read(&pair).unwrap();
    assert!(server().issue(&authority, YEAR, now()).is_ok());
}

#[test]
fn an_issuer_that_cannot_be_written_byte_for_byte_is_refused() {
    let pair = PemPair {
        certificate: include_str!("testdata/two-units.crt").into(),
        key: include_str!("testdata/ec-sec1.key").into(),
    };
    let authority = Authority::read(&pair).unwrap();
    assert_eq!(server().issue(&authority, YEAR, now()), Err(PkiError::Subject));
}

#[test]
fn a_service_account_pair_is_checked() {
    let pair = service_account_pair().unwrap();
    assert_eq!(check_service_account_pair(&pair), Ok(()));
    let other = service_account_pair().unwrap();
    assert_eq!(
        check_service_account_pair(&PemPair { key: other.key, ..pair }),
        Err(PkiError::Mismatch)
    );
}

#[test]
fn keys_stay_out_of_debug_output() {
    let (pair, authority) = authority();
    let text = format!("{pair:?} {authority:?}");
    assert!(!text.contains("PRIVATE") && !text.contains("BEGIN"), "{text}");
}

#[test]
fn an_authority_that_has_ended_signs_nothing() {
    let (_, authority) = authority();
    let later = now() + YEAR * 11;
    assert!(matches!(authority.is_valid(later), Err(PkiError::Expired(_))));
    assert!(matches!(
        server().issue(&authority, YEAR, later),
        Err(PkiError::Expired(_))
    ));
}

#[test]
fn of_several_certificates_the_first_signs_and_all_are_trusted() {
    let (one, _) = authority();
    let (other, _) = authority();
    let bundle = format!("# the new one first\n{}\n\n{}", one.certificate, other.certificate);
    let ders = certificates(&bundle).unwrap();
    assert_eq!(
        ders,
        [&one, &other].map(|pair| certificates(&pair.certificate).unwrap()[0].clone())
    );
    assert_eq!(certificates(&certificates_pem(&ders)).unwrap(), ders);
    let signs = |key: &PemPair| {
        Authority::read(&PemPair {
            certificate: bundle.clone(),
            key: key.key.clone(),
        })
    };
    assert_eq!(signs(&one).unwrap().trusted(), bundle);
    assert_eq!(signs(&other).err(), Some(PkiError::Mismatch));
    for wrong in [
        "",
        "nonsense",
        "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n",
    ] {
        assert_eq!(certificates(wrong), Err(PkiError::Certificate), "{wrong}");
    }
    let broken = format!("{bundle}-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n");
    assert_eq!(certificates(&broken), Err(PkiError::Certificate));
}

#[test]
fn of_several_public_keys_the_first_is_that_of_the_private_key() {
    let (one, other) = (service_account_pair().unwrap(), service_account_pair().unwrap());
    let bundle = |keys: [&PemPair; 2]| PemPair {
        certificate: keys.map(|pair| pair.certificate.as_str()).concat(),
        key: one.key.clone(),
    };
    assert_eq!(check_service_account_pair(&bundle([&one, &other])), Ok(()));
    assert_eq!(
        check_service_account_pair(&bundle([&other, &one])),
        Err(PkiError::Mismatch)
    );
    let ders = public_keys(&bundle([&one, &other]).certificate).unwrap();
    assert_eq!(ders.len(), 2);
    assert_eq!(public_keys(&public_keys_pem(&ders)).unwrap(), ders);
    assert_eq!(public_keys("nonsense"), Err(PkiError::PublicKey));
}

#[test]
fn an_authority_is_the_same_while_its_key_is() {
    let (pair, _) = authority();
    let (other, _) = authority();
    assert_eq!(public_key(&pair.key), public_key(&pair.key));
    assert_ne!(public_key(&pair.key).unwrap(), public_key(&other.key).unwrap());
    assert_eq!(public_key(""), Err(PkiError::NoKey));
}
