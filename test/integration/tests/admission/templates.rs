//! Templates of a ClusterClass: immutable but for the dry runs by which a topology compares, and
//! without what a topology supplies.

use capn_integration::{TestEnv, run};
use kube::api::PatchParams;
use serde_json::{Value, json};

fn template(kind: &str, spec: Value) -> Value {
    let group = if kind.starts_with("Nested") {
        "controlplane"
    } else {
        "infrastructure"
    };
    json!({
        "apiVersion": format!("{group}.cluster.x-k8s.io/v1alpha1"), "kind": kind,
        "metadata": {"name": "template"}, "spec": {"template": {"spec": spec}},
    })
}

fn kinds() -> [(&'static str, Value, Value); 3] {
    let check = |strategy: &str| json!({"virtualMachineBootstrapCheck": {"checkStrategy": strategy}});
    let service = |type_: &str| json!({"controlPlaneServiceTemplate": {"spec": {"type": type_}}});
    [
        (
            "NestedControlPlaneTemplate",
            json!({"imageRepository": "registry.example.com"}),
            json!({"imageRepository": "other.example.com"}),
        ),
        ("KubevirtClusterTemplate", service("ClusterIP"), service("LoadBalancer")),
        ("KubevirtMachineTemplate", check("none"), check("ssh")),
    ]
}

/// Makes a template and asks for a change until that is refused: a policy holds a moment after it
/// was written.
async fn refused_in_place(env: &TestEnv, kind: &str, before: Value, after: &Value) -> String {
    env.apply(&template(kind, before.clone())).await;
    let params = PatchParams::apply("a-user").force().validation_strict();
    env.wait(&format!("a change of {kind} to be refused"), async || {
        let changed = env.try_apply(&template(kind, after.clone()), &params).await;
        if changed.is_ok() {
            let _ = env.try_apply(&template(kind, before.clone()), &params).await;
        }
        changed.err()
    })
    .await
}

#[test]
fn a_template_cannot_be_changed_and_a_user_is_told_to_make_a_new_one() {
    run(async |env| {
        for (kind, before, after) in kinds() {
            let why = refused_in_place(env, kind, before, &after).await;
            assert!(
                why.contains("is immutable: make a new one under another name"),
                "{kind}: {why}"
            );
        }
    });
}

/// MUST: server-side apply's dry run of the topology controller, and of nobody else.
#[test]
fn a_topology_may_ask_in_a_dry_run_what_a_change_of_a_template_would_be() {
    run(async |env| {
        for (kind, before, after) in kinds() {
            refused_in_place(env, kind, before, &after).await;
            let params = PatchParams::apply("capi-topology").force().dry_run();
            let mut asked = template(kind, after);
            let answer = env.try_apply(&asked, &params).await;
            assert!(answer.is_err(), "{kind}: a user's dry run says what an apply would");
            asked["metadata"]["annotations"] = json!({"topology.cluster.x-k8s.io/dry-run": ""});
            let answer = env.try_apply(&asked, &params).await;
            assert!(answer.is_ok(), "{kind}: {answer:?}");
            let params = PatchParams::apply("capi-topology").force();
            let answer = env.try_apply(&asked, &params).await;
            assert!(answer.is_err(), "{kind}: the annotation alone lets nothing through");
        }
    });
}

#[test]
fn labels_of_a_template_can_be_changed() {
    run(async |env| {
        for (kind, spec, _) in kinds() {
            env.apply(&template(kind, spec.clone())).await;
            let mut labelled = template(kind, spec);
            labelled["metadata"]["labels"] = json!({"a": "b"});
            env.apply(&labelled).await;
        }
    });
}

#[test]
fn a_control_plane_template_has_neither_version_nor_replicas_nor_endpoint() {
    run(async |env| {
        let cases = [
            json!({"version": "v1.36.3"}),
            json!({"replicas": 1}),
            json!({"controlPlaneEndpoint": {"host": "a", "port": 1}}),
        ];
        for spec in cases {
            let field = spec.as_object().unwrap().keys().next().unwrap().clone();
            let why = env.refused(&template("NestedControlPlaneTemplate", spec)).await;
            assert!(why.contains(&field), "{why}");
        }
        env.apply(&template("NestedControlPlaneTemplate", json!({}))).await;
    });
}

/// What a patch of the ClusterClass may still add, such as endpoint.host, is not asked for here.
#[test]
fn what_is_wrong_in_a_control_plane_is_wrong_in_its_template() {
    run(async |env| {
        let cases = [
            (json!({"datastore": {"etcd": {"replicas": 2}}}), "set 1 or 3"),
            (
                json!({"endpoint": {"port": 0}}),
                "endpoint.port must be between 1 and 65535",
            ),
            (
                json!({"apiServer": {"extraVolumes": [{"name": "a", "mountPath": "/a", "hostPath": {"path": "/"}}]}}),
                "hostPath reaches the management cluster's node",
            ),
        ];
        let mut wrong = Vec::new();
        for (spec, words) in cases {
            let params = PatchParams::apply("a-user").force().validation_strict().dry_run();
            match env
                .try_apply(&template("NestedControlPlaneTemplate", spec.clone()), &params)
                .await
            {
                Err(why) if why.contains(words) => {}
                answer => wrong.push(format!("{spec}: {words:?} is not in {answer:?}")),
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}
