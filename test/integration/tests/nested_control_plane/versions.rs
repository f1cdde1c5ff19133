//! Kubernetes versions: what is refused, and how an upgrade is told.

use super::running;
use capn_api::NestedControlPlane;
use capn_integration::{Manager, World, run};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

fn image(deployment: &Deployment) -> String {
    json!(deployment)["spec"]["template"]["spec"]["initContainers"][0]["image"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

async fn set(world: &World, version: &str) {
    world
        .merge::<NestedControlPlane>("tenant", &json!({"spec": {"version": version}}))
        .await;
}

/// Asks a running control plane of v1.35.0 for a version that it must refuse.
async fn refused(world: &World, version: &str, words: &[&str]) {
    let running = running(world, json!({}), json!({"version": "v1.35.0"})).await;
    let before = image(&world.get("tenant-control-plane").await.unwrap());
    set(world, version).await;
    let why = world
        .wait("it to be called invalid", async || {
            let conditions = world.ncp().await.status.unwrap_or_default().conditions;
            conditions
                .into_iter()
                .find(|c| c.type_ == "Available" && c.reason == "Invalid")
        })
        .await;
    for word in words {
        assert!(why.message.contains(word), "{word:?} is not in {why:?}");
    }
    assert_eq!(json!(why.status), json!("True"), "what works goes on working");
    running.manager.look_again(world).await;
    assert_eq!(image(&world.get("tenant-control-plane").await.unwrap()), before);
    set(world, "v1.35.1").await;
    world
        .wait_for::<Deployment>("tenant-control-plane", "the new image", |d| {
            image(d).ends_with(":v1.35.1")
        })
        .await;
}

#[test]
fn a_downgrade_is_refused_and_told_what_to_set() {
    run(async |world| refused(world, "v1.34.9", &["no downgrade", "set v1.35.0 or newer"]).await);
}

#[test]
fn a_skipped_minor_is_refused_and_told_the_one_between() {
    run(async |world| refused(world, "v1.37.0", &["set v1.36"]).await);
}

#[test]
fn a_version_that_is_too_old_is_told_the_oldest() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.cluster(json!({})).await;
        world.control_plane(json!({"version": "v1.20.0"})).await;
        let available = world.wait_condition("Available", "False").await;
        assert!(
            available.message.contains("versions from v1.33 on are supported"),
            "{available:?}"
        );
    });
}

/// MUST: entries of `status.versions` are ordered from the older to the newer.
#[test]
fn after_an_upgrade_the_old_version_is_gone_only_once_the_tenant_holds_objects_of_the_new() {
    run(async |world| {
        let running = running(world, json!({}), json!({"version": "v1.35.0"})).await;
        let old = running.tenant.objects();
        drop(running.tenant);
        set(world, "v1.36.0").await;
        let both = world
            .wait_ncp("both versions", |ncp| {
                ncp.status.as_ref().is_some_and(|status| status.versions.len() == 2)
            })
            .await
            .status
            .unwrap();
        let versions: Vec<_> = both.versions.iter().map(|version| version.version.as_str()).collect();
        assert_eq!(versions, ["v1.35.0", "v1.36.0"], "oldest first");
        assert_eq!(both.version.as_deref(), Some("v1.35.0"));
        let tenant = capn_integration::TenantApiServer::start(world).await;
        world
            .wait_ncp("the new version alone", |ncp| {
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
