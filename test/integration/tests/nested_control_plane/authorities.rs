//! Certificate authorities that a user brought: used, never overwritten, and named when wrong.

use super::{signed, text};
use capn_api::{NestedControlPlane, cluster_api::Cluster};
use capn_integration::{Manager, TestEnv, run};
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

/// Secrets with a certificate authority.
const AUTHORITIES: [&str; 4] = ["tenant-ca", "tenant-etcd", "tenant-etcd-peer", "tenant-proxy"];

/// A Secret as a user writes it: of Cluster API's type or that of kubectl, without owner.
fn secret(name: &str, type_: &str, (certificate, key): (&str, &str)) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": type_,
        "metadata": {"name": name, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
        "stringData": {"tls.crt": certificate, "tls.key": key},
    })
}

/// Brings authorities, lets the manager work, and checks that they are used as they stand.
async fn used(env: &TestEnv, type_: &str, pair: (&str, &str)) {
    let manager = Manager::start(env).await;
    for name in AUTHORITIES {
        env.apply(&secret(name, type_, pair)).await;
    }
    let mut before = Vec::new();
    for name in AUTHORITIES {
        before.push(env.secret(name).await);
    }
    let mark = env.mark();
    env.tenant().await;
    env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
        .await;
    env.wait_condition("CertificatesValid", "True").await;
    for secret in &before {
        assert_eq!(
            env.secret(&secret.name_any()).await,
            *secret,
            "a user's Secret has changed"
        );
    }
    let touched: Vec<_> = env
        .writes(&manager.user, mark)
        .into_iter()
        .filter(|write| {
            before
                .iter()
                .any(|secret| secret.name_any() == write.name && write.resource == "secrets")
        })
        .collect();
    assert_eq!(touched, [], "a user's Secret was written to");
    for (name, leaf) in [
        ("tenant-apiserver", "apiserver.crt"),
        ("tenant-apiserver", "kubelet-client.crt"),
        ("tenant-apiserver", "front-proxy-client.crt"),
        ("tenant-apiserver-etcd-client", "tls.crt"),
        ("tenant-etcd-member", "server.crt"),
        ("tenant-etcd-member", "peer.crt"),
    ] {
        assert!(
            signed(&text(&env.secret(name).await, leaf), pair.0),
            "{name}/{leaf} was not signed by the user's authority"
        );
    }
}

#[test]
fn an_rsa_authority_with_a_pkcs1_key_is_used_and_never_written_to() {
    run(async |env| used(env, "cluster.x-k8s.io/secret", RSA).await);
}

#[test]
fn an_ec_authority_with_a_sec1_key_is_used_and_never_written_to() {
    run(async |env| used(env, "cluster.x-k8s.io/secret", EC).await);
}

#[test]
fn an_authority_of_type_kubernetes_io_tls_is_used_and_never_written_to() {
    run(async |env| used(env, "kubernetes.io/tls", RSA).await);
}

/// Brings a wrong authority, checks that the user is told, and mends it.
async fn assert_reported_and_recovers(env: &TestEnv, wrong: (&str, &str), words: &[&str]) {
    let manager = Manager::start(env).await;
    env.apply(&secret("tenant-ca", "cluster.x-k8s.io/secret", wrong)).await;
    env.tenant().await;
    let condition = env.wait_condition("CertificatesValid", "False").await;
    for word in [&["tenant-ca"], words].concat() {
        assert!(condition.message.contains(word), "{word:?} is not in {condition:?}");
    }
    env.wait_condition("Available", "False").await;
    env.wait("a Warning event that says so", async || {
        let events = env.list::<Event>().await;
        events.into_iter().find(|event| {
            let note = event.note.as_deref().unwrap_or_default();
            event.type_.as_deref() == Some("Warning") && words.iter().all(|word| note.contains(word))
        })
    })
    .await;
    assert!(
        env.get::<StatefulSet>("tenant-etcd").await.is_none(),
        "started with a wrong authority"
    );
    manager.look_again(env).await;
    assert_eq!(
        text(&env.secret("tenant-ca").await, "tls.key"),
        wrong.1,
        "the wrong authority was overwritten"
    );
    env.apply(&secret("tenant-ca", "cluster.x-k8s.io/secret", EC)).await;
    env.wait_condition("CertificatesValid", "True").await;
    env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
        .await;
}

#[test]
fn an_authority_whose_key_does_not_match_is_told_and_heals_when_mended() {
    run(async |env| assert_reported_and_recovers(env, (RSA.0, EC.1), &["tls.key does not belong to tls.crt"]).await);
}

#[test]
fn an_authority_without_a_key_is_told_and_heals_when_mended() {
    run(async |env| assert_reported_and_recovers(env, (RSA.0, ""), &["tls.key is missing"]).await);
}

#[test]
fn an_authority_that_is_no_certificate_is_told_and_heals_when_mended() {
    run(async |env| {
        assert_reported_and_recovers(
            env,
            ("nonsense", EC.1),
            &["tls.crt does not contain a readable certificate"],
        )
        .await
    });
}

#[test]
fn a_leaf_in_place_of_an_authority_is_told_and_heals_when_mended() {
    run(async |env| {
        let leaf = capn_integration::leaf();
        let leaf = (leaf.certificate.as_str(), leaf.key.as_str());
        assert_reported_and_recovers(env, leaf, &["not a certificate authority"]).await;
    });
}

/// What workers and pods hold of the authorities, and what is made of them.
async fn in_use(env: &TestEnv) -> Value {
    let mut data = Vec::new();
    for name in [
        "tenant-pki",
        "tenant-apiserver",
        "tenant-apiserver-etcd-client",
        "tenant-etcd-member",
        "tenant-controller-manager",
        "tenant-scheduler",
        "tenant-kubeconfig",
    ] {
        data.push(env.secret(name).await.data);
    }
    let templates = (
        env.get::<Deployment>("tenant-apiserver")
            .await
            .unwrap()
            .spec
            .unwrap()
            .template,
        env.get::<StatefulSet>("tenant-etcd")
            .await
            .unwrap()
            .spec
            .unwrap()
            .template,
    );
    json!({"secrets": data, "templates": templates})
}

#[test]
fn a_deleted_authority_comes_back_as_it_was_and_so_does_its_copy() {
    run(async |env| {
        let running = super::running(env, json!({}), json!({})).await;
        let before = in_use(env).await;
        for name in [&AUTHORITIES[..], &["tenant-sa", "tenant-pki"]].concat() {
            let gone = env.secret(name).await;
            env.delete::<Secret>(name).await;
            let back = env
                .wait_for::<Secret>(name, "to be back", |secret| secret.uid() != gone.uid())
                .await;
            assert_eq!(back.data, gone.data, "{name}");
            assert_eq!(back.owner_references(), gone.owner_references(), "{name}");
        }
        running.manager.look_again(env).await;
        assert_eq!(in_use(env).await, before);
        env.wait_condition("CertificatesValid", "True").await;
    });
}

#[test]
fn an_authority_that_is_lost_with_its_copy_is_told_and_not_replaced() {
    run(async |env| {
        let running = super::running(env, json!({}), json!({})).await;
        for name in ["tenant-ca", "tenant-etcd-peer", "tenant-sa"] {
            let before = env.secret(name).await;
            running.manager.kill();
            env.delete::<Secret>("tenant-pki").await;
            env.delete::<Secret>(name).await;
            let manager = Manager::start(env).await;
            let condition = env.wait_condition("CertificatesValid", "False").await;
            assert_eq!(condition.reason, "SecretMissing");
            for word in [name, "Restore the Secret from a backup"] {
                assert!(condition.message.contains(word), "{condition:?}");
            }
            manager.look_again(env).await;
            assert!(
                env.get::<Secret>(name).await.is_none(),
                "a new authority would lock every worker out"
            );
            assert!(
                env.get::<Deployment>("tenant-apiserver").await.is_some(),
                "what works was undone"
            );
            let restored = json!({
                "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret", "data": before.data,
                "metadata": {"name": name, "labels": {"cluster.x-k8s.io/cluster-name": "tenant"}},
            });
            env.apply(&restored).await;
            env.wait_condition("CertificatesValid", "True").await;
            manager.kill();
        }
    });
}

/// Puts another pair into the Secret of an authority that is in use.
async fn replace(env: &TestEnv, name: &str, (certificate, key): (&str, &str)) {
    let data = json!({"stringData": {"tls.crt": certificate, "tls.key": key}});
    env.merge::<Secret>(name, &data).await;
}

#[test]
fn an_authority_that_is_replaced_is_told_and_the_one_in_use_stays_in_use() {
    run(async |env| {
        let running = super::running(env, json!({}), json!({})).await;
        let before = in_use(env).await;
        let (public, key) = capn_integration::key_pair();
        for (name, other, reason) in [
            ("tenant-ca", EC, "AuthorityChanged"),
            ("tenant-etcd", RSA, "AuthorityChanged"),
            ("tenant-sa", (public.as_str(), key.as_str()), "AuthorityChanged"),
            ("tenant-proxy", (RSA.0, EC.1), "SecretInvalid"),
        ] {
            let right = env.secret(name).await;
            replace(env, name, other).await;
            let condition = env.wait_condition("CertificatesValid", "False").await;
            assert_eq!(condition.reason, reason, "{condition:?}");
            assert!(condition.message.contains(name), "{condition:?}");
            env.wait_warning::<NestedControlPlane>("tenant", reason, &[name]).await;
            running.manager.look_again(env).await;
            assert_eq!(in_use(env).await, before, "{name}");
            assert_eq!(text(&env.secret(name).await, "tls.crt"), other.0, "it was written over");
            // Either way leads back.
            if name == "tenant-etcd" {
                env.delete::<Secret>(name).await;
            } else {
                replace(env, name, (&text(&right, "tls.crt"), &text(&right, "tls.key"))).await;
            }
            env.wait_condition("CertificatesValid", "True").await;
            assert_eq!(env.secret(name).await.data, right.data, "{name}");
        }
        assert_eq!(in_use(env).await, before);
    });
}

#[test]
fn an_authority_that_is_replaced_while_its_copy_is_gone_is_not_used() {
    run(async |env| {
        let running = super::running(env, json!({}), json!({})).await;
        let right = env.secret("tenant-ca").await;
        let leaves = env.secret("tenant-apiserver").await.data;
        running.manager.kill();
        env.delete::<Secret>("tenant-pki").await;
        replace(env, "tenant-ca", EC).await;
        let manager = Manager::start(env).await;
        let condition = env.wait_condition("CertificatesValid", "False").await;
        assert_eq!(condition.reason, "AuthorityChanged");
        assert!(
            condition.message.contains("Restore the Secret from a backup"),
            "{condition:?}"
        );
        manager.look_again(env).await;
        assert_eq!(env.secret("tenant-apiserver").await.data, leaves);
        replace(env, "tenant-ca", (&text(&right, "tls.crt"), &text(&right, "tls.key"))).await;
        env.wait_condition("CertificatesValid", "True").await;
    });
}

#[test]
fn further_certificates_of_an_authority_are_trusted_and_the_first_signs() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        let both = format!("{}{}", EC.0, RSA.0);
        env.apply(&secret("tenant-ca", "cluster.x-k8s.io/secret", (&both, EC.1)))
            .await;
        env.tenant().await;
        let copy = env.wait_for::<Secret>("tenant-pki", "to be there", |_| true).await;
        let count = |text: &str| text.matches("BEGIN CERTIFICATE").count();
        assert_eq!(count(&text(&copy, "ca.crt")), 2);
        assert_eq!(count(&text(&copy, "ca-signer.crt")), 1);
        let leaves = env
            .wait_for::<Secret>("tenant-apiserver", "to be there", |_| true)
            .await;
        assert!(signed(&text(&leaves, "apiserver.crt"), EC.0));
        let config = env
            .wait_for::<Secret>("tenant-kubeconfig", "to be there", |_| true)
            .await;
        let config: Value = serde_saphyr::from_str(&text(&config, "value")).unwrap();
        let authority = config["clusters"][0]["cluster"]["certificate-authority-data"].clone();
        let authority: k8s_openapi::ByteString = serde_json::from_value(authority).unwrap();
        assert_eq!(count(&String::from_utf8(authority.0).unwrap()), 2);
    });
}

#[test]
fn a_service_account_key_of_a_user_is_used_and_never_written_to() {
    run(async |env| {
        let (public, key) = capn_integration::key_pair();
        let manager = Manager::start(env).await;
        env.apply(&secret("tenant-sa", "cluster.x-k8s.io/secret", (&public, &key)))
            .await;
        let before = env.secret("tenant-sa").await;
        env.tenant().await;
        env.wait_for::<StatefulSet>("tenant-etcd", "to be there", |_| true)
            .await;
        manager.look_again(env).await;
        assert_eq!(env.secret("tenant-sa").await, before);
    });
}

#[test]
fn authorities_of_a_store_that_has_held_data_are_never_made_anew() {
    run(async |env| {
        let manager = Manager::start(env).await;
        env.cluster(json!({"paused": true})).await;
        env.control_plane(json!({})).await;
        env.wait_condition("Paused", "True").await;
        let uid = env.ncp().await.uid();
        // As after a restore: annotations and volumes are back, status and Secrets are not.
        let used =
            json!({"metadata": {"annotations": {"controlplane.cluster.x-k8s.io/datastore-initialized": "true"}}});
        env.merge::<NestedControlPlane>("tenant", &used).await;
        env.apply(&json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "metadata": {"name": "data-tenant-etcd-0", "labels": {
                "cluster.x-k8s.io/cluster-name": "tenant", "controlplane.cluster.x-k8s.io/component": "etcd",
                "controlplane.cluster.x-k8s.io/control-plane-uid": uid,
            }},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "5Gi"}}},
        }))
        .await;
        env.merge::<Cluster>("tenant", &json!({"spec": {"paused": null}})).await;
        env.wait_warning::<NestedControlPlane>("tenant", "SecretMissing", &["Restore the Secret from a backup"])
            .await;
        manager.look_again(env).await;
        for name in [&AUTHORITIES[..], &["tenant-sa", "tenant-pki"]].concat() {
            assert!(env.get::<Secret>(name).await.is_none(), "{name} was made anew");
        }
    });
}

#[test]
fn certificates_name_every_way_to_the_api_server() {
    run(async |env| {
        let _manager = Manager::start(env).await;
        env.cluster(
            json!({"clusterNetwork": {"services": {"cidrBlocks": ["10.77.0.0/16"]}, "serviceDomain": "example.local"}}),
        )
        .await;
        env.control_plane(json!({"certificates": {"certSANs": ["api.example.com", "192.0.2.7"]}}))
            .await;
        let secret = env
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
            &format!("\"tenant-apiserver.{}.svc\"", env.namespace),
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
