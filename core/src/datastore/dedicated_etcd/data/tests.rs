use super::*;
use crate::datastore::{Observed, health};
use serde_json::{Value, json};

const CREATED: &str = "2026-01-01T00:00:00Z";
const LATER: &str = "2026-01-02T00:00:00Z";

/// A control plane with so many members, of which these have served from the claims `u0`, `u1` …
fn control_plane(replicas: i32, served: &[i32], annotations: Value) -> NestedControlPlane {
    let members: Vec<_> = served
        .iter()
        .map(|n| json!({"name": format!("acme-etcd-{n}"), "claimUID": format!("u{n}")}))
        .collect();
    let datastore = json!({"initialized": !served.is_empty(), "etcd": {"members": members}});
    serde_json::from_value(json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
        "metadata": {"name": "acme", "namespace": "tenants", "uid": "own", "annotations": annotations},
        "spec": {"version": "v1.36.3", "datastore": {"etcd": {"replicas": replicas}}},
        "status": {"datastore": datastore},
    }))
    .unwrap()
}

/// A StatefulSet, and claims with these UIDs by ordinal, each with a pod that is ready.
fn live(claims: &[(i32, &str)]) -> View {
    let claim = |(n, uid): &(i32, &str)| {
        let meta = json!({"name": format!("data-acme-etcd-{n}"), "uid": uid, "creationTimestamp": CREATED});
        serde_json::from_value(json!({"metadata": meta, "status": {"phase": "Bound"}})).unwrap()
    };
    let pod = |(n, _): &(i32, &str)| {
        let annotations = json!({ETCD_VERSION_ANNOTATION: "3.6.8"});
        let meta = json!({"name": format!("acme-etcd-{n}"), "creationTimestamp": CREATED, "annotations": annotations});
        let status = json!({"conditions": [{"type": "Ready", "status": "True"}]});
        serde_json::from_value(json!({"metadata": meta, "status": status})).unwrap()
    };
    View {
        datastore: Observed {
            stateful_set: Some(Default::default()),
            claims: claims.iter().map(claim).collect(),
            pods: claims.iter().map(pod).collect(),
            ..Observed::default()
        },
        ..View::default()
    }
}

fn assessed(ncp: &NestedControlPlane, observed: &View) -> (Data, bool) {
    assess(ncp, &Names::new("acme", "own"), observed)
}

fn kind(datastore: &Data) -> &'static str {
    match datastore {
        Data::New => "new",
        Data::Whole { joining: false } => "whole",
        Data::Whole { joining: true } => "joining",
        Data::MembersLost(_) => "members lost",
        Data::QuorumLost(_) => "quorum lost",
        Data::Lost(_) => "lost",
        Data::Gone { .. } => "gone",
    }
}

#[test]
fn what_is_there_is_told_from_the_claims_that_members_served_from() {
    let all = [(0, "u0"), (1, "u1"), (2, "u2")];
    type Case<'a> = (i32, &'a [i32], &'a [(i32, &'a str)], &'a str, Bootstrap);
    let cases: &[Case<'_>] = &[
        (1, &[], &[], "new", Bootstrap::Found),
        (1, &[], &[(0, "u0")], "new", Bootstrap::Found),
        (1, &[0], &[(0, "u0")], "whole", Bootstrap::Refuse),
        (1, &[0], &[(0, "other")], "lost", Bootstrap::Refuse),
        (1, &[0], &[], "lost", Bootstrap::Refuse),
        (3, &[0, 1], &all, "joining", Bootstrap::Join),
        (3, &[0, 1, 2], &all, "whole", Bootstrap::Refuse),
        (
            3,
            &[0, 1, 2],
            &[(0, "u0"), (1, "u1"), (2, "x")],
            "members lost",
            Bootstrap::Refuse,
        ),
        (
            3,
            &[0, 1, 2],
            &[(0, "u0"), (1, "u1")],
            "members lost",
            Bootstrap::Refuse,
        ),
        (
            3,
            &[0, 1, 2],
            &[(0, "u0"), (1, "x"), (2, "y")],
            "quorum lost",
            Bootstrap::Refuse,
        ),
        // A member that has never served is no reason to start the one that has lost its volume.
        (
            3,
            &[0, 1],
            &[(0, "x"), (1, "u1"), (2, "u2")],
            "quorum lost",
            Bootstrap::Refuse,
        ),
        (
            3,
            &[0, 1, 2],
            &[(0, "x"), (1, "y"), (2, "z")],
            "lost",
            Bootstrap::Refuse,
        ),
    ];
    for (replicas, served, claims, expected, bootstrap) in cases {
        let (found, accepted) = assessed(&control_plane(*replicas, served, json!({})), &live(claims));
        assert_eq!(
            (kind(&found), found.bootstrap(), accepted),
            (*expected, *bootstrap, false),
            "{served:?} {claims:?}"
        );
    }
}

#[test]
fn each_place_that_remembers_the_datastore_is_enough() {
    let by_annotation = control_plane(1, &[], json!({DATASTORE_INITIALIZED_ANNOTATION: "true"}));
    let mut by_config = live(&[]);
    by_config.datastore.config = Some(
        serde_json::from_value(json!({"metadata": {"name": "acme-etcd"}, "data": {INITIAL_CLUSTER_STATE: EXISTING}}))
            .unwrap(),
    );
    let gone = View::default();
    for (ncp, observed, expected) in [
        (&by_annotation, &gone, "gone"),
        (&by_annotation, &live(&[(0, "u0")]), "whole"),
        (&control_plane(1, &[0], json!({})), &gone, "gone"),
        (&control_plane(1, &[], json!({})), &by_config, "whole"),
        (&control_plane(1, &[], json!({})), &gone, "new"),
    ] {
        assert_eq!(kind(&assessed(ncp, observed).0), expected);
    }
}

#[test]
fn a_loss_is_accepted_by_its_own_name_and_by_no_other() {
    let replaced = live(&[(0, "other")]);
    let gone = View::default();
    for (observed, token, accepted) in [
        (&replaced, "other", true),
        (&replaced, "u0", false),
        (&replaced, "", false),
        (&gone, "u0", true),
        (&gone, "own", false),
        (&live(&[]), "", false),
    ] {
        let ncp = control_plane(1, &[0], json!({ACCEPT_DATASTORE_ANNOTATION: token}));
        assert_eq!(assessed(&ncp, observed).1, accepted, "{token}");
    }
    // While a member has its data, no loss is accepted.
    let ncp = control_plane(3, &[0, 1, 2], json!({ACCEPT_DATASTORE_ANNOTATION: "x"}));
    assert!(!assessed(&ncp, &live(&[(0, "u0"), (1, "x"), (2, "x")])).1);
}

#[test]
fn only_a_member_that_is_ready_on_its_claim_is_remembered() {
    let remembered = |ncp: &NestedControlPlane, observed: &View| {
        let status = remember(ncp, &Names::new("acme", "own"), observed).unwrap_or_default();
        let etcd = status.etcd.unwrap_or_default();
        let members = etcd.members.into_iter().map(|member| (member.name, member.claim_uid));
        (status.initialized, etcd.version, members.collect::<Vec<_>>())
    };
    let new = control_plane(1, &[], json!({}));
    let one = || ("acme-etcd-0".to_owned(), "u0".to_owned());
    let version = || Some("3.6.8".to_owned());
    assert_eq!(remembered(&new, &live(&[(0, "u0")])), (false, version(), vec![one()]));
    let mut not_ready = live(&[(0, "u0")]);
    not_ready.datastore.pods[0].status = None;
    assert_eq!(remembered(&new, &not_ready), (false, None, vec![]));
    // The claim was made after the pod: the pod runs on another one, which is gone.
    let mut replaced = live(&[(0, "u0")]);
    replaced.datastore.claims[0].metadata.creation_timestamp = Some(serde_json::from_value(json!(LATER)).unwrap());
    assert_eq!(remembered(&new, &replaced).2, vec![]);
    // Someone has scaled the StatefulSet up.
    assert_eq!(remembered(&new, &live(&[(0, "u0"), (1, "u1")])).2, vec![one()]);
    // What is known is not overwritten by what took its place.
    let known = control_plane(1, &[0], json!({}));
    assert_eq!(
        remembered(&known, &live(&[(0, "other")])),
        (true, version(), vec![one()])
    );
    // But for one who accepts it.
    let accepted = control_plane(1, &[0], json!({ACCEPT_DATASTORE_ANNOTATION: "other"}));
    let other = ("acme-etcd-0".to_owned(), "other".to_owned());
    // While something else still says that it was in use, the acceptance is not over.
    let mut existing = live(&[(0, "other")]);
    existing.datastore.config = serde_json::from_value(json!({"data": {INITIAL_CLUSTER_STATE: EXISTING}})).unwrap();
    let both = json!({ACCEPT_DATASTORE_ANNOTATION: "other", DATASTORE_INITIALIZED_ANNOTATION: "true"});
    for unfinished in [
        remembered(&accepted, &existing),
        remembered(&control_plane(1, &[0], both), &live(&[(0, "other")])),
    ] {
        assert_eq!(unfinished, (true, version(), vec![one()]));
    }
    assert_eq!(
        remembered(&accepted, &live(&[(0, "other")])),
        (false, version(), vec![other])
    );
}

#[test]
fn the_condition_names_member_claim_and_what_to_do() {
    let says = |ncp: &NestedControlPlane, observed: &View| {
        let verdict = health(ncp, &Names::new("acme", "own"), observed);
        (verdict.reason.into_owned(), verdict.message)
    };
    let one = control_plane(1, &[0], json!({}));
    let (reason, message) = says(&one, &live(&[(0, "other")]));
    assert_eq!(reason, "DatastoreLost");
    for words in [
        "acme-etcd-0",
        "tenants/data-acme-etcd-0",
        "had u0",
        "accept-datastore to other",
    ] {
        assert!(message.contains(words), "{words} is not in {message}");
    }
    let three = control_plane(3, &[0, 1, 2], json!({}));
    let (reason, message) = says(&three, &live(&[(0, "u0"), (1, "u1"), (2, "other")]));
    assert_eq!(reason, "MemberLost");
    assert!(message.contains("tenants/data-acme-etcd-2"), "{message}");
    let (reason, message) = says(&three, &live(&[(0, "u0"), (1, "u1"), (2, "u2")]));
    assert_eq!((reason.as_str(), message.as_str()), ("Healthy", ""));
    let mut observed = live(&[(0, "u0"), (1, "u1"), (2, "u2")]);
    observed.datastore.pods.remove(1);
    let (reason, message) = says(&three, &observed);
    assert_eq!(
        (reason.as_str(), message.as_str()),
        ("MemberNotReady", "Waiting for acme-etcd-1 to be ready")
    );
}
