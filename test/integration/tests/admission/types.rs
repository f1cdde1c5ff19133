//! What the schemas admit, the manager can decode: an object that it cannot decode is left alone for
//! ever.

use super::control_plane;
use capn_api::NestedControlPlane;
use capn_integration::{TestEnv, run};
use kube::api::PatchParams;
use serde_json::{Value, json};

/// Checks that each value is refused or can be decoded, and that the first of each field is taken.
async fn decoded(env: &TestEnv, fields: &[(&str, &[Value])]) {
    let params = PatchParams::apply("a-user").force().validation_strict().dry_run();
    let mut wrong = Vec::new();
    for (path, values) in fields {
        for (index, value) in values.iter().enumerate() {
            let mut spec = value.clone();
            for field in path.rsplit('.') {
                spec = match field.strip_suffix("[]") {
                    Some(field) => json!({field: [spec]}),
                    None => json!({field: spec}),
                };
            }
            match env.try_apply(&control_plane(&spec), &params).await {
                Ok(live) => {
                    if let Err(error) = serde_json::from_value::<NestedControlPlane>(live) {
                        wrong.push(format!("{path}: {value} is taken and cannot be decoded: {error}"));
                    }
                }
                Err(why) if index == 0 => wrong.push(format!("{path}: {value} is refused: {why}")),
                Err(_) => {}
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_time_that_is_taken_can_be_decoded() {
    run(async |env| {
        let times = [
            "2026-11-26T08:00:00Z",
            "9999-12-31T23:59:59Z",
            "9999-12-31T23:59:59-23:59",
            "0000-01-01T00:00:00Z",
            "0000-01-01T00:00:00+23:59",
            "2016-12-31T23:59:60Z",
            "2026-11-26T24:00:00Z",
            "2026-11-26T08:00:00.1234567891234Z",
            "2026-11-26t08:00:00z",
            "2026-11-26 08:00:00Z",
            "2026-11-26T08:00:00+99:99",
            "2026-11-26T08:00:00+24:00",
            "2026-11-26T08:00:00",
            "2026-11-26",
            "+12026-11-26T08:00:00Z",
            "",
        ];
        decoded(env, &[("rollout.after", &times.map(Value::from))]).await;
    });
}

#[test]
fn a_duration_that_is_taken_can_be_decoded() {
    run(async |env| {
        let durations = [
            "100h",
            "1h30m10s",
            "10s1h",
            "2562047h",
            "2562048h",
            "99999999999999999999999999h",
            "99999999999999999999999999s",
            "0h",
            "00000000000000000000000000100h",
            "",
        ]
        .map(Value::from);
        decoded(
            env,
            &[
                ("certificates.validity", &durations),
                ("certificates.renewBefore", &durations),
            ],
        )
        .await;
    });
}

#[test]
fn a_number_that_is_taken_can_be_decoded() {
    run(async |env| {
        let numbers = |first: i64| {
            [
                json!(first),
                json!(first as f64),
                json!(1.5),
                json!(2_147_483_647),
                json!(2_147_483_648_i64),
                json!(-2_147_483_649_i64),
                json!(i64::MAX),
                json!(u64::MAX),
                json!(1e30),
                json!("1"),
            ]
        };
        let port = numbers(30_000);
        let one = numbers(1);
        let toleration = |value: &Value| json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": value});
        let spread =
            |value: &Value| json!({"maxSkew": value, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"});
        let container = |value: &Value| json!({"name": "a", "image": "a", "ports": [{"containerPort": value}]});
        decoded(
            env,
            &[
                ("replicas", &one),
                ("datastore.etcd.replicas", &one),
                ("endpoint.port", &port),
                ("podTemplate.tolerations[]", &one.each_ref().map(toleration)),
                ("podTemplate.topologySpreadConstraints[]", &one.each_ref().map(spread)),
                ("podTemplate.containers[]", &port.each_ref().map(container)),
            ],
        )
        .await;
    });
}

#[test]
fn a_quantity_that_is_taken_can_be_decoded() {
    run(async |env| {
        let quantities = [
            "5Gi".into(),
            json!(5),
            json!(5.5),
            "1e400".into(),
            "-1".into(),
            "x".into(),
            "".into(),
        ];
        decoded(
            env,
            &[
                ("datastore.etcd.storage.size", &quantities),
                ("apiServer.resources.requests.cpu", &quantities),
                ("datastore.etcd.resources.limits.memory", &quantities),
            ],
        )
        .await;
    });
}

#[test]
fn nothing_where_something_is_expected_can_be_decoded() {
    run(async |env| {
        let null = |first: Value| [first, Value::Null];
        decoded(
            env,
            &[
                ("endpoint.annotations", &null(json!({"a": "b"}))),
                ("endpoint", &null(json!({"type": "ClusterIP"}))),
                ("endpoint.type", &null(json!("ClusterIP"))),
                ("certificates.certSANs", &null(json!(["a.example.com"]))),
                ("certificates.certSANs[]", &null(json!("a.example.com"))),
                ("imagePullSecrets", &null(json!([{"name": "a"}]))),
                ("imagePullSecrets[]", &null(json!({"name": "a"}))),
                ("addons.coreDNS.enabled", &null(json!(true))),
                ("replicas", &null(json!(1))),
                ("datastore.etcd.replicas", &null(json!(1))),
                ("podTemplate.nodeSelector", &null(json!({"a": "b"}))),
                ("podTemplate.metadata.labels", &null(json!({"a": "b"}))),
                ("apiServer.extraArgs", &null(json!([{"name": "v", "value": "2"}]))),
                (
                    "apiServer.extraArgs[]",
                    &[json!({"name": "v", "value": "2"}), json!({"name": "v", "value": null})],
                ),
                (
                    "controlPlaneEndpoint",
                    &null(json!({"host": "a.example.com", "port": 6443})),
                ),
            ],
        )
        .await;
    });
}
