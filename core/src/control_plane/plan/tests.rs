use super::*;
use crate::api_error::{ApiError, Cause};
use crate::certificates::{IssueReason, Issued};
use crate::control_plane::{
    names::{DATASTORE_INITIALIZED_ANNOTATION, Names, UID_LABEL},
    tests::{cluster, ncp},
    view::View,
};
use crate::datastore::Observed;
use crate::ownership::Owner;
use capn_api::NestedControlPlane;
use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::core::v1::{Pod, Secret},
};
use kube::core::Status;
use serde_json::{Value, json};

/// Waves as they were asked for, each action as one line.
type Waves = Vec<Vec<String>>;

fn line(action: &Action) -> String {
    match action {
        Action::Apply { wanted, .. } => format!("apply {wanted:?}"),
        Action::Create(object) => format!("create {object:?}"),
        Action::Replace { live, .. } => format!("replace {live:?}"),
        Action::Delete(object) => format!("delete {object:?}"),
        Action::Patch(_) => "patch".into(),
        Action::AcquireStartSlot => "acquire a start slot".into(),
        Action::ForgetWorkloadCluster => "forget the workload cluster".into(),
        Action::PrepareWorkloadCluster(_) => "prepare the workload cluster".into(),
    }
    .replace("tenants/acme-", "")
}

/// An answer as an API server gives it.
fn answered(action: Action) -> Reply {
    Ok(match action {
        Action::Apply { wanted, .. } => Answer::Object(match wanted {
            Object::Service(mut service) => {
                if let Some(spec) = &mut service.spec {
                    spec.cluster_ip.get_or_insert("10.100.0.10".into());
                }
                Object::Service(service)
            }
            other => other,
        }),
        Action::Create(object) | Action::Replace { wanted: object, .. } => Answer::Object(object),
        Action::AcquireStartSlot => Answer::StartSlot(true),
        Action::PrepareWorkloadCluster(_) => Answer::Prepared(Ok(Prepared::Whole)),
        Action::Patch(_) | Action::Delete(_) | Action::ForgetWorkloadCluster => Answer::Done,
    })
}

fn names() -> Names {
    Names::new("acme", "0b5c3a3e")
}

/// Runs a pass over a control plane of which this was found.
fn pass(ncp: NestedControlPlane, view: View, answer: impl FnMut(Action) -> Reply) -> (Waves, Outcome) {
    let (waves, done) = whole_pass(ncp, view, answer);
    (waves, done.outcome)
}

fn whole_pass(ncp: NestedControlPlane, view: View, mut answer: impl FnMut(Action) -> Reply) -> (Waves, Done) {
    let owner = Owner::new(&ncp, UID_LABEL);
    let mut pass = Provision::new(ncp, cluster(json!({})), names(), owner, view, Timestamp::UNIX_EPOCH);
    let mut waves = Waves::new();
    loop {
        pass = match pass.next() {
            Next::Do(actions, waiting) => {
                waves.push(actions.iter().map(line).collect());
                waiting.absorb(actions.into_iter().map(&mut answer).collect())
            }
            Next::Done(done) => return (waves, *done),
        };
    }
}

fn plain() -> NestedControlPlane {
    ncp(json!({"version": "v1.36.3"}))
}

fn refused(code: u16) -> Reply {
    let status = Status {
        code,
        reason: if code == 422 { "Invalid" } else { "InternalError" }.into(),
        ..Status::default()
    };
    Err(ApiError {
        verb: "apply",
        object: "x".into(),
        cause: Cause::Api(Box::new(status)),
    })
}

#[test]
fn a_new_control_plane_is_made_wave_by_wave_in_one_pass() {
    let (waves, outcome) = pass(plain(), View::default(), answered);
    let expected: [&[&str]; 7] = [
        &["patch"],
        &[
            "apply Service apiserver",
            "apply Service etcd",
            "apply Service etcd-peer",
            "apply ConfigMap etcd",
            "create Secret ca",
            "create Secret proxy",
            "create Secret etcd",
            "create Secret etcd-peer",
            "create Secret sa",
        ],
        &["create Secret pki"],
        &["acquire a start slot"],
        &[
            "create Secret apiserver",
            "create Secret controller-manager",
            "create Secret scheduler",
            "create Secret kubeconfig",
            "create Secret apiserver-etcd-client",
            "create Secret etcd-member",
        ],
        // API servers wait for etcd, controllers for API servers.
        &["apply StatefulSet etcd"],
        &["patch"],
    ];
    assert_eq!(waves[..7], expected);
    assert!(waves[7][0].starts_with("create ControllerRevision"), "{waves:?}");
    assert!(
        matches!(outcome, Outcome::Applied { ref errors, .. } if errors.is_empty()),
        "{outcome:?}"
    );
}

#[test]
fn without_a_start_slot_nothing_is_started() {
    let (waves, outcome) = pass(plain(), View::default(), |action| match action {
        Action::AcquireStartSlot => Ok(Answer::StartSlot(false)),
        action => answered(action),
    });
    assert!(matches!(outcome, Outcome::WaitingForStartSlot));
    assert!(
        !waves.concat().iter().any(|line| line.contains("StatefulSet")),
        "{waves:?}"
    );
}

#[test]
fn an_api_server_starts_once_its_certificate_can_contain_the_address_of_the_load_balancer() {
    let started = |ingress: Value, host: Value| {
        let endpoint = json!({"type": "LoadBalancer", "host": host});
        let running: Pod = serde_json::from_value(json!({"status": {"phase": "Running"}})).unwrap();
        let mut view = View::default();
        view.datastore.pods = vec![running];
        let ncp = ncp(json!({"version": "v1.36.3", "endpoint": endpoint}));
        let (waves, outcome) = pass(ncp, view, |action| match answered(action) {
            Ok(Answer::Object(Object::Service(mut service))) => {
                service.status = serde_json::from_value(json!({"loadBalancer": {"ingress": ingress}})).unwrap();
                Ok(Answer::Object(Object::Service(service)))
            }
            reply => reply,
        });
        assert!(matches!(outcome, Outcome::Applied { ref errors, .. } if errors.is_empty()));
        let asked = waves.concat();
        assert!(asked.contains(&"apply StatefulSet etcd".into()), "{asked:?}");
        asked.contains(&"apply Deployment apiserver".into())
    };
    assert!(!started(json!([]), json!(null)));
    assert!(started(json!([{"ip": "192.0.2.1"}]), json!(null)));
    assert!(started(json!([{"hostname": "lb.example.com"}]), json!(null)));
    assert!(started(json!([]), json!("api.example.com")));
}

#[test]
fn certificates_that_are_issued_in_place_of_others_are_told_with_the_reason() {
    let mut secrets = Vec::new();
    let (_, done) = whole_pass(plain(), View::default(), |action| {
        if let Action::Create(Object::Secret(secret)) = &action {
            secrets.push(Secret::clone(secret));
        }
        answered(action)
    });
    assert_eq!(done.issued, [], "the first of all are no news");
    secrets.retain(|secret| secret.metadata.name.as_deref() != Some("acme-scheduler"));
    let mut ncp = ncp(json!({"version": "v1.36.3", "certificates": {"certSANs": ["api.example.com"]}}));
    let annotations = ncp.metadata.annotations.get_or_insert_default();
    annotations.insert(DATASTORE_INITIALIZED_ANNOTATION.into(), "true".into());
    let view = View {
        secrets: secrets.into_iter().collect(),
        ..View::default()
    };
    let told = |certificate: &str, reason| Issued {
        certificate: certificate.into(),
        reason,
    };
    let names_changed = told("acme-apiserver/apiserver", IssueReason::NamesChanged);
    let missing = told("acme-scheduler/tls", IssueReason::Missing);
    let (_, done) = whole_pass(ncp.clone(), view.clone(), answered);
    assert_eq!(done.issued, [names_changed.clone(), missing]);
    // What is stored is told, whatever else cannot be written.
    for failing in ["Secret scheduler", "StatefulSet etcd"] {
        let (_, done) = whole_pass(ncp.clone(), view.clone(), |action| match line(&action) {
            asked if asked.ends_with(failing) => refused(500),
            _ => answered(action),
        });
        assert!(done.issued.contains(&names_changed), "{failing}: {:?}", done.issued);
        assert_eq!(done.issued.len(), if failing == "Secret scheduler" { 1 } else { 2 });
    }
}

#[test]
fn a_new_control_plane_ends_its_pass_at_what_fails_and_asks_for_nothing_more() {
    for failing in [
        "Service etcd",
        "Secret ca",
        "Secret pki",
        "Secret scheduler",
        "StatefulSet etcd",
    ] {
        let (waves, outcome) = pass(plain(), View::default(), |action| {
            if line(&action).ends_with(&format!(" {failing}")) {
                return refused(500);
            }
            answered(action)
        });
        assert!(matches!(outcome, Outcome::Failed(_)), "{failing}: {outcome:?}");
        let last = waves.last().unwrap();
        assert!(last.iter().any(|line| line.ends_with(failing)), "{failing}: {last:?}");
    }
}

#[test]
fn a_service_that_cannot_have_the_address_it_had_gets_another() {
    let inputs = json!({
        "spec": {"version": "v1.36.3"}, "clusterNetwork": {},
        "addresses": {"apiServer": "10.100.0.98", "datastore": "10.100.0.99"},
    });
    let revision = json!({"metadata": {"name": "acme-1"}, "revision": 1, "data": inputs});
    for (service, had) in [("apiserver", "10.100.0.98"), ("etcd", "10.100.0.99")] {
        let view = View {
            revisions: vec![serde_json::from_value(revision.clone()).unwrap()],
            ..View::default()
        };
        let mut asked = Vec::new();
        let (waves, outcome) = pass(plain(), view, |action| {
            if let Action::Apply {
                wanted: Object::Service(wanted),
                ..
            } = &action
                && wanted.metadata.name == Some(format!("acme-{service}"))
            {
                asked.push(wanted.spec.as_ref().unwrap().cluster_ip.clone());
                if asked.len() == 1 {
                    return refused(422);
                }
            }
            answered(action)
        });
        assert_eq!(asked, [Some(had.to_owned()), None]);
        assert_eq!(waves[2], [format!("apply Service {service}")]);
        assert!(matches!(outcome, Outcome::Applied { .. }), "{outcome:?}");
    }
}

#[test]
fn a_pass_ends_where_another_manager_has_stored_other_authorities() {
    let (waves, outcome) = pass(plain(), View::default(), |action| match action {
        Action::Create(Object::Secret(mut secret)) if secret.metadata.name.as_deref() == Some("acme-pki") => {
            secret
                .data
                .get_or_insert_default()
                .insert("ca.crt".into(), ByteString(b"other".to_vec()));
            Ok(Answer::Object(Object::Secret(secret)))
        }
        action => answered(action),
    });
    assert!(matches!(outcome, Outcome::Failed(_)), "{outcome:?}");
    assert_eq!(waves.last().unwrap(), &["create Secret pki"]);
}

/// What a deletion asks for, and what it waits for, of a control plane of which this was found.
fn deleted(view: &View, workers: &[&str]) -> (Vec<String>, Option<String>) {
    let workers: Vec<_> = workers.iter().map(|name| (*name).to_owned()).collect();
    let Deletion { actions, waiting, .. } = delete(&plain(), view, &workers);
    (actions.iter().map(line).collect(), waiting)
}

fn found<K: serde::de::DeserializeOwned>(name: &str) -> Option<K> {
    let labels = json!({UID_LABEL: "0b5c3a3e"});
    let owner = json!([{"apiVersion": "x", "kind": "NestedControlPlane", "name": "acme", "uid": "0b5c3a3e", "controller": true}]);
    let metadata =
        json!({"name": name, "namespace": "tenants", "uid": name, "labels": labels, "ownerReferences": owner});
    serde_json::from_value(json!({"metadata": metadata})).ok()
}

#[test]
fn what_is_deleted_waits_for_what_still_needs_it() {
    let pod: Pod = found("pod").unwrap();
    let mut view = View {
        api_server: found("acme-apiserver"),
        controllers: found("acme-controllers"),
        api_server_pods: vec![pod.clone()],
        datastore: Observed {
            stateful_set: found("acme-etcd"),
            service: found("acme-etcd"),
            pods: vec![pod],
            claims: found("data-acme-etcd-0").into_iter().collect(),
            ..Observed::default()
        },
        ..View::default()
    };
    let (asked, waiting) = deleted(&view, &["worker"]);
    assert!(asked.is_empty() && waiting.unwrap().contains("Machine worker"));
    let serving = ["delete Deployment controllers", "delete Deployment apiserver"];
    let (asked, waiting) = deleted(&view, &[]);
    assert_eq!(asked, serving);
    assert!(waiting.unwrap().contains("pods of API server"));
    view.api_server_pods.clear();
    view.api_server = None;
    view.controllers = None;
    let (asked, waiting) = deleted(&view, &[]);
    assert_eq!(asked, ["delete StatefulSet etcd"]);
    assert!(waiting.unwrap().contains("the pods of etcd"));
    view.datastore.pods.clear();
    view.datastore.stateful_set = None;
    let (asked, waiting) = deleted(&view, &[]);
    assert_eq!(asked, ["delete PersistentVolumeClaim tenants/data-acme-etcd-0"]);
    assert!(waiting.unwrap().contains("claim data-acme-etcd-0"));
    // A claim without our label is not ours: nothing waits for it.
    view.datastore.claims[0].metadata.labels = None;
    view.datastore.claims[0].metadata.owner_references = None;
    let (asked, waiting) = deleted(&view, &[]);
    assert_eq!(asked, ["delete Service etcd"]);
    assert!(waiting.unwrap().contains("Service acme-etcd"));
    view.datastore.service = None;
    assert_eq!(deleted(&view, &[]), (Vec::new(), None));
}

#[test]
fn a_control_plane_is_orphaned_only_when_all_owner_references_are_gone() {
    let mut view = View::default();
    view.datastore.stateful_set = found("acme-etcd");
    view.datastore.service = found("acme-etcd");
    if let Some(etcd) = &mut view.datastore.stateful_set {
        etcd.metadata.owner_references = None;
    }
    assert_eq!(deleted(&view, &[]).0, ["delete StatefulSet etcd"]);
    if let Some(service) = &mut view.datastore.service {
        service.metadata.owner_references = None;
    }
    assert_eq!(deleted(&view, &[]), (Vec::new(), None));
}

#[test]
fn an_object_tells_nothing_of_what_it_holds() {
    let secret: Secret =
        serde_json::from_value(json!({"metadata": {"name": "s", "namespace": "n"}, "data": {"tls.key": "c2VjcmV0"}}))
            .unwrap();
    let object = Object::from(secret);
    assert_eq!(format!("{object:?}"), "Secret n/s");
}
