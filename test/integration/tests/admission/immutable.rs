//! What cannot be changed once it is there, and what can.

use super::control_plane;
use capn_integration::{TestEnv, run};
use serde_json::{Value, json};

/// Stores `before`, then checks that it cannot become `after` and is told why.
async fn kept(env: &TestEnv, before: Value, after: Value, words: &[&str]) {
    let named = |spec: &Value, number: usize| {
        let mut object = control_plane(spec);
        object["metadata"]["name"] = json!(format!("tenant-{number}"));
        object
    };
    let number = env.list::<capn_api::NestedControlPlane>().await.len();
    env.apply(&named(&before, number)).await;
    let why = env.refused_update(&named(&after, number)).await;
    for word in words {
        assert!(why.contains(word), "{before} to {after}: {word:?} is not in: {why}");
    }
}

#[test]
fn the_endpoint_that_workers_hold_cannot_be_changed() {
    run(async |env| {
        let endpoint = |value: Value| json!({"endpoint": value});
        let new: &str = "create a new cluster to change it";
        let cases = [
            (
                json!({"type": "ClusterIP"}),
                json!({"type": "LoadBalancer"}),
                "endpoint.type cannot be changed",
            ),
            (
                json!({"type": "LoadBalancer"}),
                json!({}),
                "endpoint.type cannot be changed",
            ),
            (
                json!({"host": "a.example.com"}),
                json!({"host": "b.example.com"}),
                "endpoint.host cannot be changed",
            ),
            (
                json!({"host": "a.example.com"}),
                json!({}),
                "endpoint.host cannot be changed",
            ),
            (
                json!({}),
                json!({"host": "a.example.com"}),
                "endpoint.host cannot be changed",
            ),
            (
                json!({"port": 443}),
                json!({"port": 6443}),
                "endpoint.port cannot be changed",
            ),
            (json!({"port": 443}), json!({}), "endpoint.port cannot be changed"),
        ];
        for (before, after, what) in cases {
            kept(env, endpoint(before), endpoint(after), &[what, new]).await;
        }
        let type_ = ["endpoint.type cannot be changed", new];
        kept(env, endpoint(json!({"type": "LoadBalancer"})), json!({}), &type_).await;
    });
}

#[test]
fn leaving_the_endpoint_out_does_not_make_it_changeable_later() {
    run(async |env| {
        let node_port = json!({"endpoint": {"type": "NodePort", "host": "192.0.2.1"}});
        kept(env, json!({}), node_port, &["endpoint", "cannot be changed"]).await;
        let host = json!({"endpoint": {"host": "b.example.com"}});
        kept(env, json!({}), host, &["endpoint", "cannot be changed"]).await;
    });
}

#[test]
fn a_published_endpoint_cannot_be_changed_or_removed() {
    run(async |env| {
        let at = |host: &str, port: i32| json!({"controlPlaneEndpoint": {"host": host, "port": port}});
        let words = [
            "controlPlaneEndpoint cannot be changed once set",
            "create a new cluster to change it",
        ];
        kept(env, at("192.0.2.1", 6443), at("192.0.2.2", 6443), &words).await;
        kept(env, at("192.0.2.1", 6443), at("192.0.2.1", 443), &words).await;
        kept(env, at("192.0.2.1", 6443), json!({}), &words).await;
    });
}

#[test]
fn an_endpoint_that_was_empty_can_be_set() {
    run(async |env| {
        env.apply(&control_plane(
            &json!({"controlPlaneEndpoint": {"host": "", "port": 0}}),
        ))
        .await;
        let live = env
            .apply(&control_plane(
                &json!({"controlPlaneEndpoint": {"host": "192.0.2.1", "port": 6443}}),
            ))
            .await;
        assert_eq!(live["spec"]["controlPlaneEndpoint"]["host"], "192.0.2.1");
    });
}

#[test]
fn members_and_volumes_of_etcd_cannot_be_changed() {
    run(async |env| {
        let etcd = |value: Value| json!({"datastore": {"etcd": value}});
        let sizes = ["datastore.etcd.storage.size cannot be changed"];
        let classes = ["datastore.etcd.storage.storageClassName cannot be changed"];
        let members = ["datastore.etcd.replicas cannot be changed"];
        kept(
            env,
            etcd(json!({"replicas": 1})),
            etcd(json!({"replicas": 3})),
            &members,
        )
        .await;
        kept(env, etcd(json!({"replicas": 3})), etcd(json!({})), &members).await;
        let size = |size: &str| etcd(json!({"storage": {"size": size}}));
        kept(env, size("5Gi"), size("10Gi"), &sizes).await;
        kept(env, size("10Gi"), etcd(json!({})), &sizes).await;
        kept(env, etcd(json!({})), size("10Gi"), &sizes).await;
        kept(env, size("1Gi"), size("1G"), &sizes).await;
        let class = |class: &str| etcd(json!({"storage": {"storageClassName": class}}));
        kept(env, class("a"), class("b"), &classes).await;
        kept(env, class("a"), size("5Gi"), &classes).await;
    });
}

#[test]
fn leaving_the_datastore_out_does_not_make_it_changeable_later() {
    run(async |env| {
        let three = json!({"datastore": {"etcd": {"replicas": 3}}});
        kept(env, json!({}), three.clone(), &["datastore", "cannot be changed"]).await;
        kept(env, three, json!({}), &["datastore", "cannot be changed"]).await;
        let large = json!({"datastore": {"etcd": {"storage": {"size": "10Gi"}}}});
        kept(env, json!({}), large, &["datastore", "cannot be changed"]).await;
    });
}

#[test]
fn what_a_running_control_plane_can_take_over_can_be_changed() {
    run(async |env| {
        let before = json!({"endpoint": {"type": "LoadBalancer"}, "datastore": {"etcd": {"storage": {"size": "5Gi"}}}});
        env.apply(&control_plane(&before)).await;
        let after = json!({
            "version": "v1.36.4", "replicas": 2,
            "endpoint": {"type": "LoadBalancer", "annotations": {"a": "b"}},
            "datastore": {"etcd": {"storage": {"size": "5120Mi"}, "image": "registry.example.com/etcd:v3",
                "podTemplate": {"priorityClassName": "high"},
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"}}},
            "apiServer": {"extraArgs": [{"name": "v", "value": "2"}]},
            "certificates": {"certSANs": ["api.example.com"]},
        });
        env.apply(&control_plane(&after)).await;
    });
}
