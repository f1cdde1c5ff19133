//! Certificate authorities that a person brought: used, never overwritten, and named when wrong.

use super::{signed, text};
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use capn_integration::{Manager, World, run};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::Secret,
    events::v1::Event,
};
use kube::ResourceExt;
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

const RSA: (&str, &str) = (include_str!("../data/rsa.crt"), include_str!("../data/rsa-pkcs1.key"));
const EC: (&str, &str) = (include_str!("../data/ec.crt"), include_str!("../data/ec-sec1.key"));

/// A Secret as a person writes it: of Cluster API's type or that of kubectl, without owner.
fn secret(name: &str, type_: &str, (certificate, key): (&str, &str)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": type_,
        "metadata": {"name": name, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    })
}

/// Brings authorities, lets the manager work, and checks that they are used as they stand.
async fn used(world: &World, type_: &str, pair: (&str, &str)) {
    let manager = Manager::start(world).await;
    for name in ["tenant-ca", "tenant-etcd", "tenant-proxy"] {
        world.apply(&secret(name, type_, pair)).await;
    }
    let before = [
        world.secret("tenant-ca").await,
        world.secret("tenant-etcd").await,
        world.secret("tenant-proxy").await,
    ];
    let mark = world.mark();
    world.tenant().await;
    world
        .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
        .await;
    world.wait_condition("CertificatesValid", "True").await;
    for secret in &before {
        assert_eq!(
            world.secret(&secret.name_any()).await,
            *secret,
            "a person's Secret has changed"
        );
    }
    let touched: Vec<_> = world
        .writes(&manager.user, mark)
        .into_iter()
        .filter(|write| {
            before
                .iter()
                .any(|secret| secret.name_any() == write.name && write.resource == "secrets")
        })
        .collect();
    assert_eq!(touched, [], "a person's Secret was written to");
    let leaves = world.secret("tenant-apiserver").await;
    for leaf in [
        "apiserver.crt",
        "kubelet-client.crt",
        "etcd-client.crt",
        "front-proxy-client.crt",
    ] {
        assert!(
            signed(&text(&leaves, leaf), pair.0),
            "{leaf} was not signed by the person's authority"
        );
    }
}

#[test]
fn an_rsa_authority_with_a_pkcs1_key_is_used_and_never_written_to() {
    run(async |world| used(world, "cluster.x-k8s.io/secret", RSA).await);
}

#[test]
fn an_ec_authority_with_a_sec1_key_is_used_and_never_written_to() {
    run(async |world| used(world, "cluster.x-k8s.io/secret", EC).await);
}

#[test]
fn an_authority_of_type_kubernetes_io_tls_is_used_and_never_written_to() {
    run(async |world| used(world, "kubernetes.io/tls", RSA).await);
}

/// Brings a wrong authority, checks that the person is told, and mends it.
async fn told_and_healed(world: &World, wrong: (&str, &str), words: &[&str]) {
    let manager = Manager::start(world).await;
    world
        .apply(&secret("tenant-ca", "cluster.x-k8s.io/secret", wrong))
        .await;
    world.tenant().await;
    let condition = world.wait_condition("CertificatesValid", "False").await;
    for word in [&["tenant-ca"], words].concat() {
        assert!(condition.message.contains(word), "{word:?} is not in {condition:?}");
    }
    world.wait_condition("Available", "False").await;
    world
        .wait("a Warning event that says so", async || {
            let events = world.list::<Event>().await;
            events.into_iter().find(|event| {
                let note = event.note.as_deref().unwrap_or_default();
                event.type_.as_deref() == Some("Warning") && words.iter().all(|word| note.contains(word))
            })
        })
        .await;
    assert!(
        world.get::<StatefulSet>("tenant-etcd").await.is_none(),
        "started with a wrong authority"
    );
    manager.look_again(world).await;
    assert_eq!(
        text(&world.secret("tenant-ca").await, "tls.key"),
        wrong.1,
        "the wrong authority was overwritten"
    );
    world.apply(&secret("tenant-ca", "cluster.x-k8s.io/secret", EC)).await;
    world.wait_condition("CertificatesValid", "True").await;
    world
        .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
        .await;
}

#[test]
fn an_authority_whose_key_does_not_match_is_told_and_heals_when_mended() {
    run(async |world| told_and_healed(world, (RSA.0, EC.1), &["tls.key does not belong to tls.crt"]).await);
}

#[test]
fn an_authority_without_a_key_is_told_and_heals_when_mended() {
    run(async |world| told_and_healed(world, (RSA.0, ""), &["tls.key is missing"]).await);
}

#[test]
fn an_authority_that_is_no_certificate_is_told_and_heals_when_mended() {
    run(async |world| told_and_healed(world, ("nonsense", EC.1), &["tls.crt holds no readable certificate"]).await);
}

#[test]
fn a_leaf_in_place_of_an_authority_is_told_and_heals_when_mended() {
    run(async |world| {
        let leaf = capn_integration::leaf();
        let leaf = (leaf.certificate.as_str(), leaf.key.as_str());
        told_and_healed(world, leaf, &["no certificate authority"]).await;
    });
}

#[test]
fn an_authority_that_is_lost_after_the_start_is_told_and_not_replaced() {
    run(async |world| {
        let running = super::running(world, json!({}), json!({})).await;
        let before = world.secret("tenant-ca").await;
        world.delete::<Secret>("tenant-ca").await;
        let condition = world.wait_condition("CertificatesValid", "False").await;
        assert!(condition.message.contains("restore it from a backup"), "{condition:?}");
        running.manager.look_again(world).await;
        assert!(
            world.get::<Secret>("tenant-ca").await.is_none(),
            "a new authority would lock every worker out"
        );
        assert!(
            world.get::<Deployment>("tenant-control-plane").await.is_some(),
            "what works was undone"
        );
        let restored = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret", "data": before.data,
            "metadata": {"name": "tenant-ca", "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        });
        world.apply(&restored).await;
        world.wait_condition("CertificatesValid", "True").await;
    });
}

#[test]
fn a_service_account_key_of_a_person_is_used_and_never_written_to() {
    run(async |world| {
        let (public, key) = capn_integration::key_pair();
        let manager = Manager::start(world).await;
        world
            .apply(&secret("tenant-sa", "cluster.x-k8s.io/secret", (&public, &key)))
            .await;
        let before = world.secret("tenant-sa").await;
        world.tenant().await;
        world
            .wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        manager.look_again(world).await;
        assert_eq!(world.secret("tenant-sa").await, before);
    });
}

#[test]
fn authorities_of_a_store_that_has_held_data_are_never_made_anew() {
    run(async |world| {
        let manager = Manager::start(world).await;
        world.cluster(json!({"paused": true})).await;
        world.control_plane(json!({})).await;
        world.wait_condition("Paused", "True").await;
        let uid = world.ncp().await.uid();
        // As after a restore: annotations and volumes are back, status and Secrets are not.
        let used =
            json!({"metadata": {"annotations": {"controlplane.cluster.x-k8s.io/datastore-initialized": "true"}}});
        world.merge::<NestedControlPlane>("tenant", &used).await;
        world
            .apply(&json!({
                "apiVersion": "v1", "kind": "PersistentVolumeClaim",
                "metadata": {"name": "data-tenant-etcd-0", "labels": {
                    "cluster.x-k8s.io/cluster-name": "tenant", "controlplane.cluster.x-k8s.io/component": "etcd",
                    "controlplane.cluster.x-k8s.io/control-plane-uid": uid,
                }},
                "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
            }))
            .await;
        world
            .merge::<Cluster>("tenant", &json!({"spec": {"paused": null}}))
            .await;
        world
            .wait_warning::<NestedControlPlane>("tenant", "SecretMissing", &["restore it from a backup"])
            .await;
        manager.look_again(world).await;
        for name in ["tenant-ca", "tenant-etcd", "tenant-proxy", "tenant-sa"] {
            assert!(world.get::<Secret>(name).await.is_none(), "{name} was made anew");
        }
    });
}

#[test]
fn certificates_name_every_way_to_the_api_server() {
    run(async |world| {
        let _manager = Manager::start(world).await;
        world.cluster(json!({"clusterNetwork": {"services": {"cidrBlocks": ["10.77.0.0/16"]}, "serviceDomain": "example.local"}})).await;
        world
            .control_plane(json!({"certificates": {"certSANs": ["api.example.com", "192.0.2.7"]}}))
            .await;
        let secret = world
            .wait_for::<Secret>("tenant-apiserver", "to be there", |_| true)
            .await;
        let der = CertificateDer::from_pem_slice(text(&secret, "apiserver.crt").as_bytes())
            .unwrap()
            .to_vec();
        let (_, x509) = X509Certificate::from_der(&der).unwrap();
        let names = format!(
            "{:?}",
            x509.subject_alternative_name().unwrap().unwrap().value.general_names
        );
        for name in [
            "\"api.example.com\"",
            "\"kubernetes\"",
            "\"kubernetes.default.svc\"",
            "\"kubernetes.default.svc.example.local\"",
            "\"localhost\"",
            &format!("\"tenant-apiserver.{}.svc\"", world.namespace),
        ] {
            assert!(names.contains(name), "{name} is not in {names}");
        }
        for address in ["10.77.0.1", "192.0.2.7", "127.0.0.1"] {
            let octets = address.parse::<std::net::Ipv4Addr>().unwrap().octets();
            let found = x509
                .subject_alternative_name()
                .unwrap()
                .unwrap()
                .value
                .general_names
                .iter()
                .any(|name| matches!(name, x509_parser::extensions::GeneralName::IPAddress(ip) if *ip == octets));
            assert!(found, "{address} is not in {names}");
        }
    });
}
