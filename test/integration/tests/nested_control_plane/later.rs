//! What can only be seen once a control plane is on its way. The test says what a StatefulSet's
//! controller, a scheduler or a kubelet would; a condition and an event tell a user what to do,
//! and it heals when that is done.

use super::datastore::wait_reason;
use super::{place_etcd, pod, prepare_etcd, running, running_of};
use capn_api::NestedControlPlane;
use capn_integration::{Kubelet, Manager, Object, TestEnv, run};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Event, PersistentVolumeClaim, Pod, Service},
};
use kube::{
    ResourceExt,
    api::{DeleteParams, PostParams},
};
use serde_json::{Value, json};

/// Checks that condition and event say all of these words.
async fn assert_reported(env: &TestEnv, reason: &str, words: &[&str]) {
    let available = env
        .wait(&format!("Available=False with reason {reason}"), async || {
            let conditions = env.ncp().await.status.unwrap_or_default().conditions;
            conditions
                .into_iter()
                .find(|c| c.type_ == "Available" && c.reason == reason)
        })
        .await;
    assert_eq!(json!(available.status), json!("False"));
    for word in words {
        assert!(available.message.contains(word), "{word:?} is not in {available:?}");
    }
    env.wait_warning::<NestedControlPlane>("tenant", reason, words).await;
}

/// Makes etcd's claim, as the StatefulSet's controller does. It waits for a volume.
async fn claim(env: &TestEnv) -> String {
    let set = env
        .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
        .await;
    let mut claim = set.spec.unwrap().volume_claim_templates.unwrap().remove(0);
    let name = format!("{}-tenant-etcd-0", claim.name_any());
    claim.metadata.name = Some(name.clone());
    let api = env.api::<PersistentVolumeClaim>();
    api.create(&PostParams::default(), &claim).await.unwrap();
    name
}

/// A control plane whose API server's pod has this status, and then one without it.
async fn api_server_told_and_healed(env: &TestEnv, status: Value, reason: &str, words: &[&str]) {
    let manager = Manager::start(env).await;
    env.tenant().await;
    prepare_etcd(env, 0).await;
    let deployment = env
        .wait_for::<Deployment>("tenant-apiserver", "to be there", |_| true)
        .await;
    let owner = ("ReplicaSet", "tenant-apiserver-5d4f");
    pod(env, owner, deployment.spec.unwrap().template, status).await;
    assert_reported(env, reason, words).await;
    assert_recovers(env, manager).await;
}

/// New pods come up without the trouble.
async fn assert_recovers(env: &TestEnv, manager: Manager) {
    for pod in env.list::<Pod>().await {
        let now = DeleteParams::default().grace_period(0);
        env.api::<Pod>().delete(&pod.name_any(), &now).await.unwrap();
    }
    let running = running_of(env, manager).await;
    running.manager.assert_runs();
}

#[test]
fn a_cluster_without_a_default_storage_class_is_told_and_heals_when_the_claim_is_bound() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        let claim = claim(env).await;
        assert_reported(
            env,
            "NoStorageClass",
            &[&claim, "no default StorageClass", "mark one as default"],
        )
        .await;
        env.merge_status::<PersistentVolumeClaim>(&claim, &json!({"phase": "Bound"}))
            .await;
        env.wait_ncp("to name the claim no longer", |ncp| {
            let status = ncp.status.clone().unwrap_or_default();
            status.conditions.iter().all(|c| c.reason != "NoStorageClass")
        })
        .await;
        assert_recovers(env, manager).await;
    });
}

#[test]
fn a_storage_class_that_is_not_there_is_told_by_name_and_heals_when_the_claim_is_bound() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        let storage = json!({"etcd": {"storage": {"storageClassName": "fast"}}});
        env.control_plane(json!({"datastore": storage})).await;
        let claim = claim(env).await;
        assert_reported(
            env,
            "NoStorageClass",
            &[&claim, "there is no StorageClass \"fast\"", "create it"],
        )
        .await;
        env.merge_status::<PersistentVolumeClaim>(&claim, &json!({"phase": "Bound"}))
            .await;
        assert_recovers(env, manager).await;
    });
}

#[test]
fn an_image_that_does_not_exist_is_told_by_name_and_heals_when_it_can_be_pulled() {
    run(async |env| {
        let image = "registry.example.com/kube-apiserver:v1.36.3";
        let waiting = json!({"waiting": {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}});
        let status = json!({"phase": "Pending", "containerStatuses": [{
            "name": "kube-apiserver", "image": image, "imageID": "", "ready": false, "restartCount": 0, "state": waiting,
        }]});
        let words = ["kube-apiserver", image, "cannot be pulled", "correct its name"];
        api_server_told_and_healed(env, status, "ImagePullFailed", &words).await;
    });
}

#[test]
fn an_api_server_that_refuses_its_flags_is_told_in_its_own_words_and_heals_when_they_are_mended() {
    run(async |env| {
        let why = "Error: unknown flag: --no-such-flag";
        let ended = json!({"terminated": {"exitCode": 1, "reason": "Error", "message": format!("{why}\nUsage:\n")}});
        let status = json!({"phase": "Pending", "containerStatuses": [{
            "name": "kube-apiserver", "image": "kube-apiserver", "imageID": "", "ready": false, "restartCount": 3,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
            "lastState": ended,
        }]});
        let words = ["kube-apiserver", "ends with code 1", why];
        api_server_told_and_healed(env, status, "CrashLoopBackOff", &words).await;
    });
}

#[test]
fn a_container_that_cannot_be_made_is_told_and_heals_when_it_can() {
    run(async |env| {
        let why = "container has runAsNonRoot and image will run as root";
        let waiting = json!({"waiting": {"reason": "CreateContainerConfigError", "message": why}});
        let status = json!({"phase": "Pending", "containerStatuses": [{
            "name": "kube-apiserver", "image": "kube-apiserver", "imageID": "", "ready": false, "restartCount": 0,
            "state": waiting,
        }]});
        let words = ["kube-apiserver", why];
        api_server_told_and_healed(env, status, "ContainerNotCreated", &words).await;
    });
}

#[test]
fn pods_that_no_node_has_room_for_are_told_and_heal_when_one_has() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        let set = env
            .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        let why = "0/3 nodes are available: 3 Insufficient memory.";
        let status = json!({"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why},
        ]});
        let owner = ("StatefulSet", "tenant-etcd");
        pod(env, owner, set.spec.unwrap().template, status).await;
        // A scheduler may fail at first, because it does not know the claim yet.
        manager.look_again(env).await;
        assert_eq!(env.wait_condition("Available", "False").await.reason, "Starting");
        let words = ["StatefulSet tenant-etcd", "cannot be placed", why];
        assert_reported(env, "Unschedulable", &words).await;
        assert_recovers(env, manager).await;
    });
}

#[test]
fn an_api_server_starts_only_when_most_of_its_store_has_its_volumes() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.cluster(json!({})).await;
        let members = json!({"datastore": {"etcd": {"replicas": 3}}});
        env.control_plane(members).await;
        prepare_etcd(env, 0).await;
        place_etcd(env, 1).await;
        manager.look_again(env).await;
        assert!(env.get::<Deployment>("tenant-apiserver").await.is_none());
        env.wait_condition("ScalingUp", "True").await;
        prepare_etcd(env, 2).await;
        env.wait_for::<Deployment>("tenant-apiserver", "to be there", |_| true)
            .await;
    });
}

#[test]
fn a_trouble_is_told_once_and_then_nothing_is_written() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        claim(env).await;
        assert_reported(env, "NoStorageClass", &[]).await;
        manager.look_again(env).await;
        let mark = env.mark();
        manager.look_again(env).await;
        assert_eq!(env.all_writes(&manager.user, mark), []);
    });
}

/// Warns of an object as its controller or the kubelet does.
async fn warn<K: Object>(env: &TestEnv, name: &str, reason: &str, message: &str) {
    let about = env.get::<K>(name).await.unwrap();
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": format!("{name}.warning"), "namespace": env.namespace},
        "type": "Warning", "reason": reason, "message": message, "lastTimestamp": "2026-11-26T10:00:00Z",
        "involvedObject": {"kind": K::kind(&()), "name": name, "namespace": env.namespace, "uid": about.uid()},
    });
    let event: Event = serde_json::from_value(event).unwrap();
    env.api::<Event>().create(&PostParams::default(), &event).await.unwrap();
}

#[test]
fn members_of_etcd_that_a_quota_refuses_are_told_and_it_heals_when_there_is_room() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        let message = "create Pod tenant-etcd-0 in StatefulSet tenant-etcd failed error: pods \"tenant-etcd-0\" is forbidden: exceeded quota: small";
        warn::<StatefulSet>(env, "tenant-etcd", "FailedCreate", message).await;
        assert_reported(
            env,
            "FailedCreate",
            &["StatefulSet tenant-etcd", "exceeded quota: small"],
        )
        .await;
        assert_recovers(env, manager).await;
    });
}

#[test]
fn pods_that_a_limit_range_refuses_are_told_and_it_heals_when_they_are_taken() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        prepare_etcd(env, 0).await;
        env.wait_for::<Deployment>("tenant-apiserver", "to be there", |_| true)
            .await;
        let failure = |status: &str| {
            json!({"conditions": [{"type": "ReplicaFailure", "status": status, "reason": "FailedCreate",
                "message": "pods \"x\" is forbidden: minimum cpu usage per Container is 50m"}]})
        };
        env.merge_status::<Deployment>("tenant-apiserver", &failure("True"))
            .await;
        assert_reported(
            env,
            "FailedCreate",
            &["Deployment tenant-apiserver", "minimum cpu usage"],
        )
        .await;
        env.merge_status::<Deployment>("tenant-apiserver", &failure("False"))
            .await;
        assert_recovers(env, manager).await;
    });
}

#[test]
fn a_volume_that_is_not_there_is_told_by_name_and_heals_when_it_is() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.tenant().await;
        prepare_etcd(env, 0).await;
        let deployment = env
            .wait_for::<Deployment>("tenant-apiserver", "to be there", |_| true)
            .await;
        let mut template = deployment.spec.unwrap().template;
        template.spec.as_mut().unwrap().node_name = Some("played".into());
        let owner = ("ReplicaSet", "tenant-apiserver-5d4f");
        pod(env, owner, template, json!({"phase": "Pending"})).await;
        let message = "MountVolume.SetUp failed for volume \"audit\" : configmap \"audit\" not found";
        warn::<Pod>(env, "tenant-apiserver-5d4f-0", "FailedMount", message).await;
        assert_reported(
            env,
            "ContainerNotCreated",
            &["Deployment tenant-apiserver", "configmap \"audit\" not found"],
        )
        .await;
        assert_recovers(env, manager).await;
    });
}

#[test]
fn a_controller_manager_that_fails_is_told_and_takes_no_api_server_off_its_service() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        drop(running._kubelet);
        let component = |pod: &Pod| pod.labels()["controlplane.cluster.x-k8s.io/component"].clone();
        let pods = env.list::<Pod>().await;
        let controllers = pods.iter().find(|pod| component(pod) == "controllers").unwrap();
        let service = env.get::<Service>("tenant-apiserver").await.unwrap().spec.unwrap();
        let selects = |pod: &Pod| {
            service
                .selector
                .iter()
                .flatten()
                .all(|(key, value)| pod.labels().get(key) == Some(value))
        };
        let selected: Vec<_> = pods.iter().filter(|pod| selects(pod)).map(component).collect();
        assert_eq!(selected, ["apiserver"]);
        let ended = json!({"terminated": {"exitCode": 1, "message": "Error: unknown flag: --nonsense"}});
        let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [{
            "name": "kube-controller-manager", "image": "i", "imageID": "", "ready": false, "restartCount": 3, "state": ended,
        }]});
        env.merge_status::<Pod>(&controllers.name_any(), &status).await;
        let none_ready = json!({"readyReplicas": 0, "availableReplicas": 0});
        env.merge_status::<Deployment>("tenant-controllers", &none_ready).await;
        let words = [
            "kube-controller-manager",
            "Deployment tenant-controllers",
            "unknown flag: --nonsense",
        ];
        let (type_, reason) = ("ControlPlaneComponentsHealthy", "CrashLoopBackOff");
        let told = wait_reason(env, type_, reason, &words).await;
        assert_eq!(json!(told.status), json!("False"));
        env.wait_warning::<NestedControlPlane>("tenant", reason, &words).await;
        env.wait_condition("Available", "True").await;
        let _kubelet = Kubelet::start(env);
        env.delete::<Pod>(&controllers.name_any()).await;
        env.wait_up().await;
    });
}
