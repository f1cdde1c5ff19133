use super::*;
use crate::api_error::{ApiError, Cause as ApiCause};
use crate::control_plane::tests;
use capn_api::{Condition, ConditionStatus, condition::find};
use serde_json::{Value, json};

fn now() -> Timestamp {
    "2026-11-21T00:00:00Z".parse().unwrap()
}

/// A control plane that has served, with these numbers in its status.
fn served() -> NestedControlPlane {
    let mut ncp = tests::ncp(json!({"version": "v1.36.3", "replicas": 2}));
    ncp.status = serde_json::from_value(json!({
        "initialization": {"controlPlaneInitialized": true}, "replicas": 2, "readyReplicas": 2, "availableReplicas": 2,
        "upToDateReplicas": 2, "version": "v1.36.3",
        "conditions": [
            condition("Available", "True", "Available"), condition("CertificatesValid", "True", "Valid"),
            condition("RollingOut", "False", "NotRollingOut"),
        ],
    }))
    .unwrap();
    ncp
}

fn condition(type_: &str, status: &str, reason: &str) -> Value {
    json!({"type": type_, "status": status, "reason": reason, "message": "", "lastTransitionTime": "2026-11-01T00:00:00Z"})
}

fn silent() -> ApiError {
    ApiError {
        verb: "list",
        object: "Secrets".into(),
        cause: ApiCause::Unreachable("timed out".into()),
    }
}

fn told(ncp: &NestedControlPlane, observed: Option<&View>, outcome: &Outcome) -> NestedControlPlaneStatus {
    status(ncp, Some(&Names::new("acme", "own")), observed, outcome, now())
}

fn of(status: &NestedControlPlaneStatus, type_: &str) -> Condition {
    find(&status.conditions, type_).unwrap().clone()
}

/// A Deployment whose rollout has come this far.
fn deployment(updated: i32, replicas: i32, ready: i32) -> Deployment {
    serde_json::from_value(json!({
        "metadata": {"name": "acme-apiserver", "generation": 2},
        "spec": {"replicas": 2, "selector": {}, "template": {}},
        "status": {"observedGeneration": 2, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready,
            "availableReplicas": ready},
    }))
    .unwrap()
}

fn crashing() -> View {
    let pod = json!({"metadata": {"name": "new"}, "status": {"initContainerStatuses": [{
        "name": "kube-apiserver", "image": "i", "imageID": "", "ready": false, "restartCount": 3,
        "state": {"terminated": {"exitCode": 1, "message": "Error: unknown flag: --nonsense"}},
    }]}});
    View {
        api_server_pods: vec![serde_json::from_value(pod).unwrap()],
        ..View::default()
    }
}

fn applied(api_server: Deployment, errors: Vec<Error>) -> Outcome {
    Outcome::Applied {
        api_server: Some(Box::new(api_server)),
        published: true,
        next_check: Timestamp::MAX,
        prepared: true,
        errors,
    }
}

#[test]
fn what_could_not_be_read_is_as_it_was() {
    let ncp = served();
    for outcome in [
        Outcome::Failed(Error::Observe(silent())),
        Outcome::Paused("the Cluster is paused"),
    ] {
        let status = told(&ncp, None, &outcome);
        let numbers = (
            status.replicas,
            status.ready_replicas,
            status.available_replicas,
            status.up_to_date_replicas,
        );
        assert_eq!(numbers, (2, 2, 2, 2), "{outcome:?}");
        assert_eq!(of(&status, "Available").status, ConditionStatus::True, "{outcome:?}");
        assert_eq!(of(&status, "RollingOut").reason, "NotRollingOut", "{outcome:?}");
    }
}

#[test]
fn a_rollout_that_cannot_finish_tells_the_cause_while_what_serves_is_available() {
    let outcome = applied(deployment(1, 3, 2), Vec::new());
    let stuck = told(&served(), Some(&crashing()), &outcome);
    let rolling = of(&stuck, "RollingOut");
    assert_eq!(
        (rolling.status, rolling.reason.as_str()),
        (ConditionStatus::True, "RollingOut")
    );
    assert!(
        rolling.message.contains("unknown flag: --nonsense"),
        "{}",
        rolling.message
    );
    assert_eq!(of(&stuck, "Available").status, ConditionStatus::True);
    let moving = told(&served(), Some(&View::default()), &outcome);
    assert_eq!(
        of(&moving, "RollingOut").message,
        "Replacing pods that run an outdated spec"
    );
}

#[test]
fn replicas_that_are_refused_are_told_while_scaling_up() {
    let mut deployment = deployment(1, 1, 1);
    let failure = json!([{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}]);
    deployment.status.as_mut().unwrap().conditions = serde_json::from_value(failure).unwrap();
    let observed = View {
        api_server: Some(deployment.clone()),
        ..View::default()
    };
    let scaling = of(
        &told(&served(), Some(&observed), &applied(deployment, Vec::new())),
        "ScalingUp",
    );
    assert_eq!(scaling.status, ConditionStatus::True);
    assert!(scaling.message.contains("exceeded quota: small"), "{}", scaling.message);
}

#[test]
fn an_outage_is_never_available_and_anything_else_that_fails_beside_pods_that_serve_is() {
    for (error, holds, reason) in [
        (
            Error::DatastoreLost("gone".into()),
            ConditionStatus::False,
            "DatastoreLost",
        ),
        (
            Error::EndpointLost("taken".into()),
            ConditionStatus::False,
            "EndpointLost",
        ),
        (Error::Apply(silent()), ConditionStatus::True, "WriteFailed"),
    ] {
        let available = of(
            &told(&served(), None, &applied(deployment(2, 2, 2), vec![error])),
            "Available",
        );
        assert_eq!((available.status, available.reason.as_str()), (holds, reason));
    }
}

#[test]
fn certificates_are_told_from_what_is_stored_whatever_else_failed() {
    use crate::pki::{Authority, LeafSpec};
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let authority = Authority::read(&Authority::generate("kubernetes", start).unwrap()).unwrap();
    let stored = |days: i64| {
        let life = jiff::SignedDuration::from_hours(days * 24);
        let pair = LeafSpec::client("system:kube-scheduler", None)
            .issue(&authority, life, start)
            .unwrap();
        let secret = json!({"metadata": {"name": "acme-scheduler", "namespace": "tenants"}});
        let mut secret: k8s_openapi::api::core::v1::Secret = serde_json::from_value(secret).unwrap();
        secret.data = Some(
            [(
                "tls.crt".to_owned(),
                k8s_openapi::ByteString(pair.certificate.into_bytes()),
            )]
            .into(),
        );
        View {
            secrets: [secret].into_iter().collect(),
            ..View::default()
        }
    };
    let failed = Outcome::Failed(Error::Apply(silent()));
    let expired = of(&told(&served(), Some(&stored(30)), &failed), "CertificatesValid");
    assert_eq!(
        (expired.status, expired.reason.as_str()),
        (ConditionStatus::False, "Expired")
    );
    assert!(
        expired.message.contains("tenants/acme-scheduler expired at 2026-01-31"),
        "{}",
        expired.message
    );
    let valid = of(&told(&served(), Some(&stored(365)), &failed), "CertificatesValid");
    assert_eq!((valid.status, valid.reason.as_str()), (ConditionStatus::True, "Valid"));
}

#[test]
fn components_are_healthy_only_when_both_deployments_serve() {
    let controllers = |ready| {
        let mut controllers = deployment(1, 1, ready);
        controllers.metadata.name = Some("acme-controllers".into());
        Some(controllers)
    };
    let healthy = |observed: &View, ready| {
        let status = told(&served(), Some(observed), &applied(deployment(2, 2, ready), Vec::new()));
        let components = of(&status, "ControlPlaneComponentsHealthy");
        (components.status, components.reason, of(&status, "Available").status)
    };
    let (yes, no) = (ConditionStatus::True, ConditionStatus::False);
    let with = |controllers| View {
        controllers,
        ..View::default()
    };
    let cases = [
        (with(controllers(1)), 2, yes, "Healthy", yes),
        (with(controllers(0)), 2, no, "ControllersNotReady", yes),
        (with(None), 2, no, "ControllersNotReady", yes),
        (with(controllers(1)), 0, no, "APIServerNotReady", no),
    ];
    for (observed, ready, holds, reason, available) in cases {
        assert_eq!(
            healthy(&observed, ready),
            (holds, reason.to_owned(), available),
            "{reason}"
        );
    }
    let mut failing = with(controllers(0));
    failing.controllers_pods = crashing().api_server_pods;
    assert_eq!(healthy(&failing, 2), (no, "CrashLoopBackOff".to_owned(), yes));
}

#[test]
fn pods_of_the_template_before_are_not_up_to_date() {
    let found = deployment(2, 2, 2);
    let mut changed = found.clone();
    changed.metadata.generation = Some(3);
    let mut scaled = changed.clone();
    if let Some(spec) = &mut changed.spec {
        spec.template.metadata = Some(Default::default());
    }
    let observed = |found: &Deployment| View {
        api_server: Some(found.clone()),
        ..View::default()
    };
    let up_to_date = |ncp: &NestedControlPlane, found: &Deployment, now: &Deployment| {
        told(ncp, Some(&observed(found)), &applied(now.clone(), Vec::new())).up_to_date_replicas
    };
    let mut ncp = served();
    assert_eq!(up_to_date(&ncp, &found, &scaled), 2, "the template is the same");
    assert_eq!(up_to_date(&ncp, &found, &changed), 0);
    // The next pass finds the new template, and its controller has not looked at it yet.
    if let Some(status) = &mut ncp.status {
        status.up_to_date_replicas = 0;
    }
    assert_eq!(up_to_date(&ncp, &changed, &changed), 0);
    if let Some(status) = &mut scaled.status {
        (status.observed_generation, status.updated_replicas) = (Some(3), Some(1));
    }
    assert_eq!(up_to_date(&ncp, &scaled, &scaled), 1);
}
