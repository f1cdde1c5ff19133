//! Fields of a NestedControlPlane beside those of its pods.

use super::{control_plane, refused, taken};
use capn_api::NestedControlPlane;
use capn_integration::{difference, run};
use serde_json::{Value, json};

#[test]
fn a_version_that_is_no_semantic_version_is_told_how_to_write_it() {
    run(async |env| {
        let versions = ["latest", "v1.36", "1", "v1.36.03", "v1.36.3 ", "vv1.36.3", "v1.36.3-"];
        let cases: Vec<(Value, &[&str])> = versions
            .iter()
            .map(|version| {
                (
                    json!({"version": version}),
                    &["version must be a semantic version: write it like v1.36.3"][..],
                )
            })
            .collect();
        refused(env, &cases).await;
        refused(env, &[(json!({"version": ""}), &["spec.version"])]).await;
    });
}

#[test]
fn a_version_may_lack_its_v_and_carry_a_suffix() {
    run(async |env| {
        let versions = [
            "1.36.3",
            "v1.36.3",
            "v1.36.0-rc.1",
            "v1.36.3+vendor.1",
            "1.36.3-alpha.1+build",
        ];
        taken(env, &versions.map(|version| json!({"version": version}))).await;
    });
}

#[test]
fn a_control_plane_without_version_is_told_that_it_is_missing() {
    run(async |env| {
        let mut object = control_plane(&json!({}));
        object["spec"] = json!({});
        let why = env.refused(&object).await;
        assert!(why.contains("spec.version: Required value"), "{why}");
    });
}

#[test]
fn replicas_below_one_are_told_to_delete_the_cluster_instead() {
    run(async |env| {
        let words: &[&str] = &["replicas must be 1 or more", "delete its Cluster"];
        refused(
            env,
            &[(json!({"replicas": 0}), words), (json!({"replicas": -1}), words)],
        )
        .await;
        taken(
            env,
            &[json!({"replicas": 1}), json!({"replicas": 2}), json!({"replicas": 5})],
        )
        .await;
    });
}

#[test]
fn etcd_takes_one_or_three_members() {
    run(async |env| {
        let etcd = |replicas: i32| json!({"datastore": {"etcd": {"replicas": replicas}}});
        let words: &[&str] = &["datastore.etcd.replicas must be odd", "set 1 or 3"];
        refused(env, &[-1, 0, 2, 4, 5].map(|replicas| (etcd(replicas), words))).await;
        taken(
            env,
            &[
                etcd(1),
                etcd(3),
                json!({"datastore": {"etcd": {}}}),
                json!({"datastore": {}}),
            ],
        )
        .await;
    });
}

#[test]
fn a_node_port_without_a_host_is_told_to_write_one() {
    run(async |env| {
        let words: &[&str] = &[
            "endpoint.type NodePort needs endpoint.host",
            "write the address or name",
        ];
        refused(env, &[(json!({"endpoint": {"type": "NodePort"}}), words)]).await;
        taken(
            env,
            &[
                json!({"endpoint": {"type": "NodePort", "host": "192.0.2.1"}}),
                json!({"endpoint": {"type": "NodePort"}, "controlPlaneEndpoint": {"host": "192.0.2.1", "port": 30443}}),
            ],
        )
        .await;
    });
}

#[test]
fn an_endpoint_port_out_of_range_is_told_the_range() {
    run(async |env| {
        let port = |port: i32| json!({"endpoint": {"port": port}});
        let node = |port: i32| json!({"endpoint": {"type": "NodePort", "host": "node.example.com", "port": port}});
        let any: &[&str] = &["endpoint.port must be between 1 and 65535"];
        let node_words: &[&str] = &["write a number between 30000 and 32767, or leave it out"];
        refused(env, &[(port(0), any), (port(-1), any), (port(65536), any)]).await;
        refused(
            env,
            &[
                (node(6443), node_words),
                (node(29999), node_words),
                (node(32768), node_words),
            ],
        )
        .await;
        let published = |port: i32| json!({"controlPlaneEndpoint": {"host": "192.0.2.1", "port": port}});
        let published_words: &[&str] = &["port must be between 1 and 65535"];
        refused(
            env,
            &[(published(-1), published_words), (published(65536), published_words)],
        )
        .await;
        taken(
            env,
            &[
                port(1),
                port(443),
                port(65535),
                node(30000),
                node(32767),
                published(6443),
            ],
        )
        .await;
    });
}

#[test]
fn an_unknown_endpoint_type_is_told_the_three_that_there_are() {
    run(async |env| {
        let words: &[&str] = &["ClusterIP", "NodePort", "LoadBalancer"];
        refused(env, &[(json!({"endpoint": {"type": "Ingress"}}), words)]).await;
    });
}

#[test]
fn a_host_is_a_name_or_an_address_and_nothing_around_it() {
    run(async |env| {
        let endpoint = |host: &str| json!({"endpoint": {"host": host}});
        let sans = |host: &str| json!({"certificates": {"certSANs": ["ok.example.com", host]}});
        let wrong = [
            "[2001:db8::1]",
            "api.example.com:443",
            "https://a",
            "a b",
            "192.0.2.256",
            "fe80::1%eth0",
            "-a",
        ];
        let words: &[&str] = &["endpoint.host must be a DNS name"];
        refused(env, &wrong.map(|host| (endpoint(host), words))).await;
        refused(env, &[(endpoint("*.example.com"), words)]).await;
        let words: &[&str] = &["certificates.certSANs must be DNS names"];
        refused(env, &wrong.map(|host| (sans(host), words))).await;
        let hosts = [
            "api.example.com",
            "API.Example.com",
            "a",
            "192.0.2.1",
            "2001:db8:0:0:0:0:0:1",
            "FD00::10",
        ];
        taken(env, &hosts.map(endpoint)).await;
        taken(env, &hosts.map(sans)).await;
        taken(env, &[sans("*.example.com")]).await;
    });
}

#[test]
fn flags_that_would_break_a_control_plane_are_refused() {
    run(async |env| {
        let arg = |name: &str, value: &str| json!([{"name": "v", "value": "2"}, {"name": name, "value": value}]);
        let etcd = |name: &str| json!({"datastore": {"etcd": {"extraArgs": arg(name, "x")}}});
        let words: &[&str] = &["the controller keeps the data and the members by them"];
        let names = [
            "name",
            "data-dir",
            "wal-dir",
            "config-file",
            "force-new-cluster",
            "initial-cluster",
            "initial-cluster-state",
            "initial-cluster-token",
            "initial-advertise-peer-urls",
            "discovery",
            "discovery-srv",
        ];
        refused(env, &names.map(|name| (etcd(name), words))).await;
        taken(env, &[etcd("quota-backend-bytes")]).await;
        let anonymous = |value: &str| json!({"apiServer": {"extraArgs": arg("anonymous-auth", value)}});
        let words: &[&str] = &[
            "apiServer.extraArgs cannot turn off anonymous-auth",
            "authentication-config",
        ];
        refused(
            env,
            &["false", "False", "0", "f", ""].map(|value| (anonymous(value), words)),
        )
        .await;
        taken(
            env,
            &[
                anonymous("true"),
                json!({"scheduler": {"extraArgs": arg("anonymous-auth", "false")}}),
            ],
        )
        .await;
    });
}

#[test]
fn an_address_to_advertise_is_no_name() {
    run(async |env| {
        let words: &[&str] = &["endpoint.advertiseAddress must be an IP address"];
        let spec = |address: &str| json!({"endpoint": {"advertiseAddress": address}});
        let names = ["api.example.com", "192.0.2.1:6443", "192.0.2", "[2001:db8::1]"];
        refused(env, &names.map(|name| (spec(name), words))).await;
        taken(env, &[spec("192.0.2.1"), spec("2001:db8::1")]).await;
    });
}

#[test]
fn a_load_balancer_class_needs_a_load_balancer() {
    run(async |env| {
        let words: &[&str] = &["endpoint.loadBalancerClass needs endpoint.type LoadBalancer"];
        let class = |type_: Value| {
            let mut endpoint = json!({"loadBalancerClass": "example.com/lb", "host": "192.0.2.1"});
            if type_ != Value::Null {
                endpoint["type"] = type_;
            }
            json!({"endpoint": endpoint})
        };
        refused(env, &[(class(Value::Null), words), (class(json!("NodePort")), words)]).await;
        taken(env, &[class(json!("LoadBalancer"))]).await;
    });
}

#[test]
fn the_life_of_certificates_is_told_its_bounds() {
    run(async |env| {
        let certificates = |value: Value| json!({"certificates": value});
        let validity: &[&str] = &["certificates.validity must be at least 1h, such as 8760h"];
        let renew: &[&str] = &["certificates.renewBefore must be at most half of certificates.validity"];
        let form: &[&str] = &["spec.certificates.validity"];
        refused(
            env,
            &[
                (certificates(json!({"validity": "59m"})), validity),
                (certificates(json!({"validity": "0h"})), validity),
                (certificates(json!({"validity": "10h", "renewBefore": "10h"})), renew),
                (certificates(json!({"validity": "10h", "renewBefore": "6h"})), renew),
                (certificates(json!({"validity": "10h", "renewBefore": "11h"})), renew),
                (certificates(json!({"validity": "1y"})), form),
                (certificates(json!({"validity": "-10h"})), form),
                (certificates(json!({"validity": ""})), form),
            ],
        )
        .await;
        taken(
            env,
            &[
                certificates(json!({"validity": "1h"})),
                certificates(json!({"validity": "8760h", "renewBefore": "2920h30m"})),
                certificates(json!({"renewBefore": "100h"})),
                certificates(json!({"certSANs": ["api.example.com", "192.0.2.1"]})),
            ],
        )
        .await;
    });
}

#[test]
fn a_renewal_before_the_default_validity_has_begun_is_refused() {
    run(async |env| {
        let words: &[&str] = &["certificates.renewBefore"];
        refused(env, &[(json!({"certificates": {"renewBefore": "8761h"}}), words)]).await;
    });
}

#[test]
fn an_image_repository_with_a_scheme_or_a_trailing_slash_is_told_how_to_write_it() {
    run(async |env| {
        let words: &[&str] = &["imageRepository must be a registry and path without scheme and trailing slash"];
        let repository = |text: &str| json!({"imageRepository": text});
        refused(
            env,
            &[
                (repository("https://registry.example.com/kubernetes"), words),
                (repository("registry.example.com/kubernetes/"), words),
                (repository(""), words),
            ],
        )
        .await;
        taken(
            env,
            &[
                repository("registry.example.com:5000/kubernetes"),
                repository("registry.k8s.io"),
            ],
        )
        .await;
    });
}

#[test]
fn a_field_that_nothing_implements_is_refused() {
    run(async |env| {
        let words: &[&str] = &["replicaCount"];
        refused(
            env,
            &[
                (json!({"replicaCount": 1}), words),
                (json!({"datastore": {"etcd": {"replicaCount": 1}}}), words),
            ],
        )
        .await;
    });
}

#[test]
fn version_alone_is_enough_and_gets_one_replica() {
    run(async |env| {
        let live = env.apply(&control_plane(&json!({}))).await;
        assert_eq!(live["spec"], json!({"version": "v1.36.3", "replicas": 1}));
    });
}

#[test]
fn what_is_stored_survives_our_types_without_loss() {
    run(async |env| {
        let live = env.apply(&control_plane(&everything())).await;
        let typed: NestedControlPlane = serde_json::from_value(live.clone()).unwrap();
        let again = serde_json::to_value(&typed).unwrap();
        let spec = |object: &Value| std::collections::BTreeMap::from([("spec".to_owned(), object["spec"].clone())]);
        assert_eq!(
            difference(&spec(&live), &spec(&again)),
            "",
            "what is read differs from what is stored"
        );
        assert_eq!(
            difference(&spec(&control_plane(&everything())), &spec(&live)),
            "",
            "what is stored differs from what was sent"
        );
    });
}

/// Every field of the spec.
fn everything() -> Value {
    let container = |name: &str| {
        json!({
            "image": format!("registry.example.com/{name}:v1"),
            "resources": {"requests": {"cpu": "100m", "memory": "1Gi"}, "limits": {"memory": "2Gi"}},
            "extraArgs": [{"name": "v", "value": "2"}, {"name": "v", "value": "3"}],
            "extraVolumes": [{"name": "policy", "mountPath": "/etc/kubernetes/policy", "subPath": "a", "readOnly": true,
                "configMap": {"name": "policy", "items": [{"key": "a", "path": "b"}], "optional": true}}],
        })
    };
    json!({
        "version": "v1.36.3",
        "replicas": 3,
        "controlPlaneEndpoint": {"host": "api.example.com", "port": 443},
        "endpoint": {"type": "LoadBalancer", "host": "api.example.com", "port": 443, "annotations": {"a": "b"},
            "loadBalancerClass": "example.com/lb", "advertiseAddress": "2001:db8::1"},
        "datastore": {"etcd": {"replicas": 3, "storage": {"size": "10Gi", "storageClassName": "fast"},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain"},
            "image": "registry.example.com/etcd:v3", "resources": {"requests": {"cpu": "1"}},
            "extraArgs": [{"name": "quota-backend-bytes", "value": "1"}]}},
        "apiServer": container("kube-apiserver"),
        "controllerManager": container("kube-controller-manager"),
        "scheduler": container("kube-scheduler"),
        "addons": {"coreDNS": {"enabled": false, "image": "registry.example.com/coredns:v1"}, "kubeProxy": {"enabled": true}},
        "podTemplate": {
            "metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}},
            "nodeSelector": {"kubernetes.io/os": "linux"},
            "tolerations": [{"key": "k", "operator": "Exists", "effect": "NoSchedule", "tolerationSeconds": 5}],
            "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{
                "labelSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]},
                "topologyKey": "kubernetes.io/hostname"}]}},
            "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
                "labelSelector": {"matchLabels": {"a": "b"}}, "matchLabelKeys": ["pod-template-hash"]}],
            "priorityClassName": "system-cluster-critical",
            "runtimeClassName": "gvisor",
            "containers": [{"name": "agent", "image": "registry.example.com/agent:v1", "args": ["-v"],
                "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
                "ports": [{"containerPort": 9000, "name": "metrics", "protocol": "TCP"}],
                "securityContext": {"runAsUser": 1000, "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]}}}],
        },
        "imageRepository": "registry.example.com/kubernetes",
        "imagePullSecrets": [{"name": "pull"}],
        // kube's Duration writes seconds, whatever it has read.
        "certificates": {"validity": "31536000s", "renewBefore": "10512000s", "certSANs": ["api.example.com"]},
        "rollout": {"after": "2026-01-01T00:00:00Z"},
    })
}
