//! What the API server refuses at `kubectl apply`, with a sentence that says what to write, and
//! what it takes. No manager runs.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod crds;
mod immutable;
mod kubevirt;
mod nested_control_plane;
mod pods;
mod templates;
mod types;

use capn_integration::TestEnv;
use serde_json::{Value, json};

/// A NestedControlPlane with version v1.36.3 and these fields of its spec.
fn control_plane(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1", "kind": "NestedControlPlane",
        "metadata": {"name": "tenant"}, "spec": {"version": "v1.36.3"},
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    object
}

/// Checks that each spec is refused with all of these words; all that are not are named.
async fn refused(env: &TestEnv, cases: &[(Value, &[&str])]) {
    let params = kube::api::PatchParams::apply("a-user")
        .force()
        .validation_strict()
        .dry_run();
    let mut wrong = Vec::new();
    for (spec, words) in cases {
        match env.try_apply(&control_plane(spec), &params).await {
            Ok(_) => wrong.push(format!("{spec} was taken")),
            Err(why) => {
                let missing = words.iter().filter(|word| !why.contains(**word));
                wrong.extend(missing.map(|word| format!("{spec}: {word:?} is not in: {why}")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Checks that each spec is taken.
async fn taken(env: &TestEnv, specs: &[Value]) {
    for spec in specs {
        let params = kube::api::PatchParams::apply("a-user")
            .force()
            .validation_strict()
            .dry_run();
        let answer = env.try_apply(&control_plane(spec), &params).await;
        assert!(answer.is_ok(), "{spec}: {answer:?}");
    }
}
