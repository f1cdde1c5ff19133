//! The data of a control plane is never replaced by an empty datastore, unless the user asks for it.

use crate::{Running, running};
use capn_api::{NestedControlPlane, condition::find};
use capn_integration::{World, run};
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
async fn in_use(world: &World, members: usize) -> Running {
    let spec = json!({"datastore": {"etcd": {"replicas": members}}});
    let running = running(world, json!({}), spec).await;
    let remembered = |ncp: &NestedControlPlane| {
        let datastore = ncp.status.clone().unwrap_or_default().datastore.unwrap_or_default();
        datastore.initialized && datastore.etcd.unwrap_or_default().members.len() == members
    };
    world.wait_ncp("to remember its members", remembered).await;
    starts_no_member(world).await;
    running
}

/// etcd with an empty volume ends at once.
async fn starts_no_member(world: &World) {
    let config = world
        .wait_for::<ConfigMap>("tenant-etcd", "to start no member", |config| {
            !config.data.as_ref().unwrap()["initial-cluster"].contains("tenant-etcd-0=")
        })
        .await;
    assert_eq!(config.data.unwrap()["initial-cluster-state"], "existing");
}

/// Deletes a member's claim and its pod, as a user by mistake; the StatefulSet's controller makes both
/// anew. Returns the new claim's UID.
async fn loses_its_volume(world: &World, ordinal: u32) -> String {
    let (claim, pod) = (format!("data-tenant-etcd-{ordinal}"), format!("tenant-etcd-{ordinal}"));
    let old = world.get::<PersistentVolumeClaim>(&claim).await.unwrap().uid();
    world.delete::<PersistentVolumeClaim>(&claim).await;
    let now = DeleteParams::default().grace_period(0);
    world.api::<Pod>().delete(&pod, &now).await.unwrap();
    let new = world
        .wait_for::<PersistentVolumeClaim>(&claim, "to be made anew", |claim| claim.uid() != old)
        .await;
    new.uid().unwrap()
}

async fn accept(world: &World, token: &str) {
    let accepted = json!({"metadata": {"annotations": {"controlplane.cluster.x-k8s.io/accept-datastore": token}}});
    world.merge::<NestedControlPlane>("tenant", &accepted).await;
}

pub(super) async fn wait_reason(world: &World, type_: &str, reason: &str, words: &[&str]) -> capn_api::Condition {
    let what = format!("{type_} with reason {reason} and {words:?}");
    let says = |it: &&capn_api::Condition| it.reason == reason && words.iter().all(|word| it.message.contains(word));
    let look = async || {
        let conditions = world.ncp().await.status.unwrap_or_default().conditions;
        find(&conditions, type_).filter(says).cloned()
    };
    world.wait(&what, look).await
}

#[test]
fn a_lost_volume_stops_the_api_servers_until_the_loss_is_accepted() {
    run(async |world| {
        let running = in_use(world, 1).await;
        let new = loses_its_volume(world, 0).await;
        let words = ["data-tenant-etcd-0", "accept-datastore", &new];
        let available = wait_reason(world, "Available", "DatastoreLost", &words).await;
        assert_eq!(json!(available.status), json!("False"));
        world.wait_gone::<Deployment>("tenant-apiserver").await;
        world.wait_gone::<Deployment>("tenant-controllers").await;
        running.manager.look_again(world).await;
        assert!(world.get::<Deployment>("tenant-apiserver").await.is_none());
        starts_no_member(world).await;
        let mark = running.tenant.objects().len();
        accept(world, "another-claim").await;
        running.manager.look_again(world).await;
        assert!(world.get::<Deployment>("tenant-apiserver").await.is_none());
        accept(world, &new).await;
        world.wait_condition("Available", "True").await;
        wait_reason(world, "DatastoreHealthy", "Healthy", &[]).await;
        assert_eq!(running.tenant.objects().len(), mark);
        let settled = |ncp: &NestedControlPlane| {
            let held = |name| ncp.annotations().contains_key(name);
            held(INITIALIZED) && !held("controlplane.cluster.x-k8s.io/accept-datastore")
        };
        world.wait_ncp("to forget the acceptance", settled).await;
        starts_no_member(world).await;
        // The acceptance was for that loss alone.
        loses_its_volume(world, 0).await;
        wait_reason(world, "Available", "DatastoreLost", &[]).await;
    });
}

#[test]
fn a_datastore_that_is_gone_is_told_and_never_replaced_by_an_empty_one() {
    run(async |world| {
        let running = in_use(world, 1).await;
        let set = world.get::<StatefulSet>("tenant-etcd").await.unwrap();
        let paused = |value: Value| json!({"metadata": {"annotations": {"cluster.x-k8s.io/paused": value}}});
        world.merge::<NestedControlPlane>("tenant", &paused(json!(""))).await;
        world.wait_condition("Paused", "True").await;
        world.delete::<StatefulSet>("tenant-etcd").await;
        world.wait_gone::<StatefulSet>("tenant-etcd").await;
        world.delete::<PersistentVolumeClaim>("data-tenant-etcd-0").await;
        world.wait_gone::<PersistentVolumeClaim>("data-tenant-etcd-0").await;
        world.merge::<NestedControlPlane>("tenant", &paused(Value::Null)).await;
        let words = ["restore the claims", "accept-datastore"];
        world
            .wait_warning::<NestedControlPlane>("tenant", "DatastoreLost", &words)
            .await;
        world.wait_gone::<Deployment>("tenant-apiserver").await;
        running.manager.look_again(world).await;
        assert!(world.get::<StatefulSet>("tenant-etcd").await.is_none());
        // As a user does who restores a backup: it is another claim, so it is asked for.
        let mut claim = set.spec.unwrap().volume_claim_templates.unwrap().remove(0);
        claim.metadata.name = Some("data-tenant-etcd-0".into());
        let api: Api<PersistentVolumeClaim> = world.api();
        let restored = api.create(&PostParams::default(), &claim).await.unwrap().uid().unwrap();
        wait_reason(world, "Available", "DatastoreLost", &[&restored]).await;
        accept(world, &restored).await;
        world
            .wait_for::<StatefulSet>("tenant-etcd", "to be there again", |_| true)
            .await;
        world.wait_condition("Available", "True").await;
    });
}

#[test]
fn a_member_of_three_that_lost_its_volume_is_told_while_the_others_serve() {
    run(async |world| {
        let running = in_use(world, 3).await;
        let new = loses_its_volume(world, 1).await;
        let words = ["tenant-etcd-1", "data-tenant-etcd-1", &new];
        wait_reason(world, "DatastoreHealthy", "MemberLost", &words).await;
        world
            .wait_warning::<NestedControlPlane>("tenant", "MemberLost", &["tenant-etcd-1"])
            .await;
        running.manager.look_again(world).await;
        world.wait_condition("Available", "True").await;
        assert!(world.get::<Deployment>("tenant-apiserver").await.is_some());
        // With the second one, there is no quorum; the third still has the data.
        let second = loses_its_volume(world, 2).await;
        wait_reason(world, "DatastoreHealthy", "QuorumLost", &[]).await;
        accept(world, &second).await;
        running.manager.look_again(world).await;
        wait_reason(world, "DatastoreHealthy", "QuorumLost", &[]).await;
        starts_no_member(world).await;
    });
}

#[test]
fn what_a_user_takes_away_costs_no_data() {
    run(async |world| {
        let running = in_use(world, 1).await;
        // The claim's labels, by which it is found.
        let labels = json!({"metadata": {"labels": Value::Null}});
        world
            .merge::<PersistentVolumeClaim>("data-tenant-etcd-0", &labels)
            .await;
        // The annotation, as an update by somebody who does not know it.
        let annotations = json!({"metadata": {"annotations": Value::Null}});
        world.merge::<NestedControlPlane>("tenant", &annotations).await;
        world
            .wait_ncp("to say again that it holds data", |ncp| {
                ncp.annotations().contains_key(INITIALIZED)
            })
            .await;
        // What etcd starts with.
        world.delete::<ConfigMap>("tenant-etcd").await;
        starts_no_member(world).await;
        running.manager.look_again(world).await;
        world.wait_condition("Available", "True").await;
        wait_reason(world, "DatastoreHealthy", "Healthy", &[]).await;
        assert!(world.get::<Deployment>("tenant-apiserver").await.is_some());
    });
}
