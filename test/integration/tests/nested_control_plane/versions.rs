//! Kubernetes versions: what is refused, and how an upgrade is told.

use super::{pod, running};
use capn_api::NestedControlPlane;
use capn_integration::{Manager, TestEnv, run};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use serde_json::{Value, json};

fn image(deployment: &Deployment) -> String {
    json!(deployment)["spec"]["template"]["spec"]["containers"][0]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn set(env: &TestEnv, version: &str) {
    env.merge::<NestedControlPlane>("tenant", &json!({"spec": {"version": version}}))
        .await;
}

/// Asks a running control plane of v1.35.0 for a version that it must refuse.
async fn refused(env: &TestEnv, version: &str, words: &[&str]) {
    let running = running(env, json!({}), json!({"version": "v1.35.0"})).await;
    let before = image(&env.get("tenant-apiserver").await.unwrap());
    set(env, version).await;
    let why = env
        .wait("it to be called invalid", async || {
            let conditions = env.ncp().await.status.unwrap_or_default().conditions;
            conditions
                .into_iter()
                .find(|c| c.type_ == "Available" && c.reason == "Invalid")
        })
        .await;
    for word in words {
        assert!(why.message.contains(word), "{word:?} is not in {why:?}");
    }
    assert_eq!(json!(why.status), json!("True"), "what works goes on working");
    running.manager.look_again(env).await;
    assert_eq!(image(&env.get("tenant-apiserver").await.unwrap()), before);
    set(env, "v1.35.1").await;
    env.wait_for::<Deployment>("tenant-apiserver", "the new image", |d| image(d).ends_with(":v1.35.1"))
        .await;
}

#[test]
fn a_downgrade_is_refused_and_told_what_to_set() {
    run(async |env| refused(env, "v1.34.9", &["does not support downgrades", "set v1.35.0 or newer"]).await);
}

#[test]
fn a_skipped_minor_is_refused_and_told_the_one_between() {
    run(async |env| refused(env, "v1.37.0", &["set v1.36"]).await);
}

#[test]
fn a_version_that_is_too_old_is_told_the_oldest() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        env.control_plane(json!({"version": "v1.20.0"})).await;
        let available = env.wait_condition("Available", "False").await;
        assert!(
            available.message.contains("set a version from v1.33 to v1.36"),
            "{available:?}"
        );
    });
}

/// MUST: entries of `status.versions` are ordered from the older to the newer, each with replicas.
#[test]
fn the_versions_of_an_upgrade_are_reported_oldest_first_with_their_replicas() {
    run(async |env| {
        let running = running(env, json!({}), json!({"version": "v1.35.9", "replicas": 2})).await;
        let reported = async |versions: Value| {
            env.wait(&format!("{versions} to be reported"), async || {
                let status = env.raw::<NestedControlPlane>("tenant").await["status"].take();
                (status["versions"] == versions && status["version"] == versions[0]["version"]).then_some(())
            })
            .await;
        };
        reported(json!([{"version": "v1.35.9", "replicas": 2}])).await;
        drop(running._kubelet);
        set(env, "v1.35.10").await;
        let deployment = env
            .wait_for::<Deployment>("tenant-apiserver", "the new image", |d| image(d).ends_with(":v1.35.10"))
            .await;
        let ready = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]});
        let owner = ("ReplicaSet", "tenant-apiserver-new");
        pod(env, owner, deployment.spec.unwrap().template, ready).await;
        reported(json!([{"version": "v1.35.9", "replicas": 2}, {"version": "v1.35.10", "replicas": 1}])).await;
    });
}

#[test]
fn after_an_upgrade_the_new_version_is_told_only_once_the_tenant_holds_its_objects() {
    run(async |env| {
        let running = running(env, json!({}), json!({"version": "v1.35.0"})).await;
        let old = running.tenant.objects();
        drop(running.tenant);
        set(env, "v1.36.0").await;
        env.wait("pods of the new version alone", async || {
            let pods = env.list::<Pod>().await;
            let image = |pod: &Pod| json!(pod.spec)["containers"][0]["image"].to_string();
            let (new, old): (Vec<_>, Vec<_>) = pods
                .iter()
                .map(image)
                .filter(|image| image.contains("kube-apiserver"))
                .partition(|image| image.contains("v1.36.0"));
            (!new.is_empty() && old.is_empty()).then_some(())
        })
        .await;
        running.manager.look_again(env).await;
        let status = env.ncp().await.status.unwrap();
        assert_eq!(status.version.as_deref(), Some("v1.35.0"));
        assert!(
            status.versions.iter().all(|version| version.replicas > 0),
            "{:?}",
            status.versions
        );
        let tenant = capn_integration::TenantApiServer::start(env).await;
        env.wait_ncp("the new version alone", |ncp| {
            ncp.status
                .as_ref()
                .is_some_and(|status| status.version.as_deref() == Some("v1.36.0") && status.versions.len() == 1)
        })
        .await;
        let kubeadm = |objects: &std::collections::BTreeMap<String, Value>| {
            objects["/api/v1/namespaces/kube-system/configmaps/kubeadm-config"]["data"].clone()
        };
        assert_ne!(kubeadm(&tenant.objects()), kubeadm(&old));
    });
}
