use super::*;
use jiff::{SignedDuration, Timestamp};

const YEAR: SignedDuration = SignedDuration::from_hours(8760);

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

fn authority() -> (PemPair, Authority) {
    let pair = Authority::generate("kubernetes", now()).unwrap();
    let authority = Authority::read(&pair, now()).unwrap();
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
fn a_leaf_says_what_was_asked_and_is_not_issued_again() {
    let (_, authority) = authority();
    let pair = server().issue(&authority, YEAR, now()).unwrap();
    let leaf = Leaf::read(&pair, &server(), &authority).unwrap();
    assert_eq!(leaf.not_after, now() + YEAR);
    assert_eq!(
        leaf.renewal(Some(SignedDuration::from_hours(10))),
        now() + YEAR - SignedDuration::from_hours(10)
    );
    let two_thirds = leaf.renewal(None).duration_since(now());
    assert!((SignedDuration::from_hours(5839)..=SignedDuration::from_hours(5841)).contains(&two_thirds));
}

#[test]
fn a_leaf_is_replaced_when_a_name_the_user_or_the_authority_changed() {
    let (_, one) = authority();
    let (_, other) = authority();
    let pair = server().issue(&one, YEAR, now()).unwrap();
    assert_eq!(Leaf::read(&pair, &server(), &other), None);
    let mut more = server();
    more.names.insert("api.example.com".parse().unwrap());
    assert_eq!(Leaf::read(&pair, &more, &one), None);
    let group = LeafSpec {
        organization: Some("system:masters"),
        ..server()
    };
    assert_eq!(Leaf::read(&pair, &group, &one), None);
    let second = server().issue(&one, YEAR, now()).unwrap();
    let mixed = PemPair {
        certificate: pair.certificate,
        key: second.key,
    };
    assert_eq!(Leaf::read(&mixed, &server(), &one), None);
}

#[test]
fn a_leaf_never_outlives_its_authority() {
    let (_, authority) = authority();
    let pair = server().issue(&authority, YEAR * 20, now()).unwrap();
    assert_eq!(
        Leaf::read(&pair, &server(), &authority).unwrap().not_after,
        authority.not_after()
    );
}

#[test]
fn a_wrong_authority_is_named() {
    let (pair, authority) = authority();
    let (other, _) = self::authority();
    let refused = |pair: PemPair, at| Authority::read(&pair, at).err().unwrap();
    assert_eq!(
        refused(
            PemPair {
                key: other.key,
                ..pair.clone()
            },
            now()
        ),
        PkiError::Mismatch
    );
    assert_eq!(
        refused(
            PemPair {
                key: String::new(),
                ..pair.clone()
            },
            now()
        ),
        PkiError::NoKey
    );
    assert_eq!(
        refused(
            PemPair {
                key: "nonsense".into(),
                ..pair.clone()
            },
            now()
        ),
        PkiError::Key
    );
    assert_eq!(
        refused(
            PemPair {
                certificate: "nonsense".into(),
                ..pair.clone()
            },
            now()
        ),
        PkiError::Certificate
    );
    assert!(matches!(refused(pair, now() + YEAR * 11), PkiError::Expired(_)));
    let leaf = server().issue(&authority, YEAR, now()).unwrap();
    assert_eq!(refused(leaf, now()), PkiError::NotAnAuthority);
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
        let authority = Authority::read(&pair, now()).unwrap_or_else(|e| panic!("{name}: {e}"));
        let leaf = server()
            .issue(&authority, YEAR, now())
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(Leaf::read(&leaf, &server(), &authority).is_some(), "{name}");
    }
    let pair = PemPair {
        certificate: include_str!("testdata/ec.crt").into(),
        key: include_str!("testdata/ec-sec1.key").into(),
    };
    let authority = Authority::read(&pair, now()).unwrap();
    assert!(server().issue(&authority, YEAR, now()).is_ok());
}

#[test]
fn an_issuer_that_cannot_be_written_byte_for_byte_is_refused() {
    let pair = PemPair {
        certificate: include_str!("testdata/two-units.crt").into(),
        key: include_str!("testdata/ec-sec1.key").into(),
    };
    let authority = Authority::read(&pair, now()).unwrap();
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
