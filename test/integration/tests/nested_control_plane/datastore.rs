//! The data of a control plane is never replaced by an empty datastore, unless the user asks for it.

use crate::{Running, running};
use capn_api::{NestedControlPlane, condition::find};
use capn_integration::{TestEnv, run};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod},
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

const INITIALIZED: &str = "controlplane.cluster.x-k8s.io/datastore-initialized";

/// A control plane with so many members, all of which are remembered.
async fn in_use(env: &TestEnv, members: usize) -> Running {
    let spec = json!({"datastore": {"etcd": {"replicas": members}}});
    let running = running(env, json!({}), spec).await;
    let remembered = |ncp: &NestedControlPlane| {
        let datastore = ncp.status.clone().unwrap_or_default().datastore.unwrap_or_default();
        datastore.initialized && datastore.etcd.unwrap_or_default().members.len() == members
    };
    env.wait_ncp("to remember its members", remembered).await;
    starts_no_member(env).await;
    running
}

/// etcd with an empty volume ends at once.
async fn starts_no_member(env: &TestEnv) {
    let config = env
        .wait_for::<ConfigMap>("tenant-etcd", "to start no member", |config| {
            !config.data.as_ref().unwrap()["initial-cluster"].contains("tenant-etcd-0=")
        })
        .await;
    assert_eq!(config.data.unwrap()["initial-cluster-state"], "existing");
}

/// Deletes a member's claim and its pod, as a user by mistake; the StatefulSet's controller makes both
/// anew. Returns the new claim's UID.
async fn loses_its_volume(env: &TestEnv, ordinal: u32) -> String {
    let (claim, pod) = (format!("data-tenant-etcd-{ordinal}"), format!("tenant-etcd-{ordinal}"));
    let old = env.get::<PersistentVolumeClaim>(&claim).await.unwrap().uid();
    env.delete::<PersistentVolumeClaim>(&claim).await;
    let now = DeleteParams::default().grace_period(0);
    env.api::<Pod>().delete(&pod, &now).await.unwrap();
    let new = env
        .wait_for::<PersistentVolumeClaim>(&claim, "to be made anew", |claim| claim.uid() != old)
        .await;
    new.uid().unwrap()
}

async fn accept(env: &TestEnv, token: &str) {
    let accepted = json!({"metadata": {"annotations": {"controlplane.cluster.x-k8s.io/accept-datastore": token}}});
    env.merge::<NestedControlPlane>("tenant", &accepted).await;
}

pub(super) async fn wait_reason(env: &TestEnv, type_: &str, reason: &str, words: &[&str]) -> capn_api::Condition {
    let what = format!("{type_} with reason {reason} and {words:?}");
    let says = |it: &&capn_api::Condition| it.reason == reason && words.iter().all(|word| it.message.contains(word));
    let look = async || {
        let conditions = env.ncp().await.status.unwrap_or_default().conditions;
        find(&conditions, type_).filter(says).cloned()
    };
    env.wait(&what, look).await
}

#[test]
fn a_lost_volume_stops_the_api_servers_until_the_loss_is_accepted() {
    run(async |env| {
        let running = in_use(env, 1).await;
        let new = loses_its_volume(env, 0).await;
        let words = ["data-tenant-etcd-0", "accept-datastore", &new];
        let available = wait_reason(env, "Available", "DatastoreLost", &words).await;
        assert_eq!(json!(available.status), json!("False"));
        env.wait_gone::<Deployment>("tenant-apiserver").await;
        env.wait_gone::<Deployment>("tenant-controllers").await;
        running.manager.look_again(env).await;
        assert!(env.get::<Deployment>("tenant-apiserver").await.is_none());
        starts_no_member(env).await;
        let mark = running.tenant.objects().len();
        accept(env, "another-claim").await;
        running.manager.look_again(env).await;
        assert!(env.get::<Deployment>("tenant-apiserver").await.is_none());
        accept(env, &new).await;
        env.wait_condition("Available", "True").await;
        wait_reason(env, "DatastoreHealthy", "Healthy", &[]).await;
        assert_eq!(running.tenant.objects().len(), mark);
        let settled = |ncp: &NestedControlPlane| {
            let held = |name| ncp.annotations().contains_key(name);
            held(INITIALIZED) && !held("controlplane.cluster.x-k8s.io/accept-datastore")
        };
        env.wait_ncp("to forget the acceptance", settled).await;
        starts_no_member(env).await;
        // The acceptance was for that loss alone.
        loses_its_volume(env, 0).await;
        wait_reason(env, "Available", "DatastoreLost", &[]).await;
    });
}

#[test]
fn a_datastore_that_is_gone_is_told_and_never_replaced_by_an_empty_one() {
    run(async |env| {
        let running = in_use(env, 1).await;
        let set = env.get::<StatefulSet>("tenant-etcd").await.unwrap();
        let paused = |value: Value| json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}});
        env.merge::<NestedControlPlane>("tenant", &paused(json!(""))).await;
        env.wait_condition("Paused", "True").await;
        env.delete::<StatefulSet>("tenant-etcd").await;
        env.wait_gone::<StatefulSet>("tenant-etcd").await;
        env.delete::<PersistentVolumeClaim>("data-tenant-etcd-0").await;
        env.wait_gone::<PersistentVolumeClaim>("data-tenant-etcd-0").await;
        env.merge::<NestedControlPlane>("tenant", &paused(Value::Null)).await;
        let words = ["restore the claims", "accept-datastore"];
        env.wait_warning::<NestedControlPlane>("tenant", "DatastoreLost", &words)
            .await;
        env.wait_gone::<Deployment>("tenant-apiserver").await;
        running.manager.look_again(env).await;
        assert!(env.get::<StatefulSet>("tenant-etcd").await.is_none());
        // As a user does who restores a backup: it is another claim, so it is asked for.
        let mut claim = set.spec.unwrap().volume_claim_templates.unwrap().remove(0);
        claim.metadata.name = Some("data-tenant-etcd-0".into());
        let api: Api<PersistentVolumeClaim> = env.api();
        let restored = api.create(&PostParams::default(), &claim).await.unwrap().uid().unwrap();
        wait_reason(env, "Available", "DatastoreLost", &[&restored]).await;
        accept(env, &restored).await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there again", |_| true)
            .await;
        env.wait_condition("Available", "True").await;
    });
}

#[test]
fn a_member_of_three_that_lost_its_volume_is_told_while_the_others_serve() {
    run(async |env| {
        let running = in_use(env, 3).await;
        let new = loses_its_volume(env, 1).await;
        let words = ["tenant-etcd-1", "data-tenant-etcd-1", &new];
        wait_reason(env, "DatastoreHealthy", "MemberLost", &words).await;
        env.wait_warning::<NestedControlPlane>("tenant", "MemberLost", &["tenant-etcd-1"])
            .await;
        running.manager.look_again(env).await;
        env.wait_condition("Available", "True").await;
        assert!(env.get::<Deployment>("tenant-apiserver").await.is_some());
        // With the second one, there is no quorum; the third still has the data.
        let second = loses_its_volume(env, 2).await;
        wait_reason(env, "DatastoreHealthy", "QuorumLost", &[]).await;
        accept(env, &second).await;
        running.manager.look_again(env).await;
        wait_reason(env, "DatastoreHealthy", "QuorumLost", &[]).await;
        starts_no_member(env).await;
    });
}

#[test]
fn what_a_user_takes_away_costs_no_data() {
    run(async |env| {
        let running = in_use(env, 1).await;
        // The claim's labels, by which it is found.
        let labels = json!({"metadata": {"labels": Value::Null}});
        env.merge::<PersistentVolumeClaim>("data-tenant-etcd-0", &labels).await;
        // The annotation, as an update by somebody who does not know it.
        let annotations = json!({"metadata": {"annotations": Value::Null}});
        env.merge::<NestedControlPlane>("tenant", &annotations).await;
        env.wait_ncp("to say again that it holds data", |ncp| {
            ncp.annotations().contains_key(INITIALIZED)
        })
        .await;
        // What etcd starts with.
        env.delete::<ConfigMap>("tenant-etcd").await;
        starts_no_member(env).await;
        running.manager.look_again(env).await;
        env.wait_condition("Available", "True").await;
        wait_reason(env, "DatastoreHealthy", "Healthy", &[]).await;
        assert!(env.get::<Deployment>("tenant-apiserver").await.is_some());
    });
}
