//! MUST of Cluster API's control plane contract: special consideration for private keys, and what
//! holds for the kubeconfig Secret and its certificate.

use super::{running, signed, text};
use capn_api::NestedControlPlane;
use capn_integration::{Manager, Pair, TestEnv, old_client, run};
use k8s_openapi::{
    ByteString,
    api::{
        apps::v1::{Deployment, StatefulSet},
        core::v1::{ConfigMap, Pod, Secret, Service},
        events::v1::Event,
    },
};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Client certificate and key inside the kubeconfig, PEM.
fn credentials(secret: &Secret) -> (String, String) {
    let config: Value = serde_saphyr::from_str(&text(secret, "value")).unwrap();
    let pem = |field: &str| {
        let data: ByteString = serde_json::from_value(config["users"][0]["user"][field].clone()).unwrap();
        String::from_utf8(data.0).unwrap()
    };
    (pem("client-certificate-data"), pem("client-key-data"))
}

/// Seconds that a certificate is good for.
fn life(certificate: &str) -> i64 {
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap().to_vec();
    let (_, x509) = X509Certificate::from_der(&der).unwrap();
    x509.validity().not_after.timestamp() - x509.validity().not_before.timestamp()
}

/// A line of each private key, as PEM has it and as it is inside a Secret or a kubeconfig.
async fn keys(env: &TestEnv) -> Vec<String> {
    let mut all = Vec::new();
    for secret in env.list::<Secret>().await {
        let mut pems: Vec<_> = secret
            .data
            .iter()
            .flatten()
            .filter_map(|(_, value)| String::from_utf8(value.0.clone()).ok())
            .filter(|text| text.contains("PRIVATE KEY-----"))
            .collect();
        if secret.metadata.name.as_deref() == Some("tenant-kubeconfig") {
            pems.push(credentials(&secret).1);
        }
        for pem in pems {
            let encoded = json!(ByteString(pem.clone().into_bytes()));
            all.push(encoded.as_str().unwrap().trim_end_matches('=').to_owned());
            all.push(pem.lines().nth(1).expect("PEM has lines").to_owned());
        }
    }
    all
}

#[test]
fn private_keys_are_in_secrets_and_nowhere_else() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let keys = keys(env).await;
        assert!(keys.len() > 20, "only {} keys are known", keys.len() / 2);
        let places = [
            ("the NestedControlPlane", json!(env.ncp().await).to_string()),
            ("Deployments", json!(env.list::<Deployment>().await).to_string()),
            ("StatefulSets", json!(env.list::<StatefulSet>().await).to_string()),
            ("Pods", json!(env.list::<Pod>().await).to_string()),
            ("Services", json!(env.list::<Service>().await).to_string()),
            ("ConfigMaps", json!(env.list::<ConfigMap>().await).to_string()),
            ("Events", json!(env.list::<Event>().await).to_string()),
            ("the tenant", json!(running.tenant.objects()).to_string()),
            ("the manager's log", running.manager.log()),
        ];
        for (place, text) in places {
            for key in &keys {
                assert!(!text.contains(key.as_str()), "a private key is in {place}");
            }
        }
    });
}

/// Which component is given which private key, as `component Secret/key`.
fn keys_of(pod: &Pod) -> Vec<String> {
    let spec = json!(pod.spec);
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let containers = list(&spec["containers"]);
    let mut found = Vec::new();
    for volume in list(&spec["volumes"]) {
        let mounts = |container: &&Value| {
            list(&container["volumeMounts"])
                .iter()
                .any(|mount| mount["name"] == volume["name"])
        };
        for source in list(&volume["projected"]["sources"]) {
            for item in list(&source["secret"]["items"]) {
                let key = item["key"].as_str().unwrap();
                if key.ends_with(".key") {
                    let secret = source["secret"]["name"].as_str().unwrap();
                    let users = containers.iter().filter(mounts);
                    found.extend(users.map(|user| format!("{} {secret}/{key}", user["name"].as_str().unwrap())));
                }
            }
        }
        assert!(volume["secret"].is_null(), "a whole Secret is mounted: {volume}");
    }
    found
}

#[test]
fn each_component_is_given_the_private_keys_that_it_uses_and_no_other() {
    run(async |env| {
        let _running = running(env, json!({}), json!({})).await;
        let mut found: Vec<_> = env.list::<Pod>().await.iter().flat_map(keys_of).collect();
        found.sort();
        assert_eq!(
            found,
            [
                "etcd tenant-etcd-member/peer.key",
                "etcd tenant-etcd-member/server.key",
                "kube-apiserver tenant-apiserver-etcd-client/tls.key",
                "kube-apiserver tenant-apiserver/apiserver.key",
                "kube-apiserver tenant-apiserver/front-proxy-client.key",
                "kube-apiserver tenant-apiserver/kubelet-client.key",
                "kube-apiserver tenant-pki/sa.key",
                "kube-controller-manager tenant-controller-manager/tls.key",
                "kube-controller-manager tenant-pki/ca-signer.key",
                "kube-controller-manager tenant-pki/sa.key",
                "kube-scheduler tenant-scheduler/tls.key",
            ]
        );
    });
}

/// "This secret MUST not be shared with other users or applications."
#[test]
fn the_kubeconfig_secret_of_cluster_api_is_mounted_by_no_pod() {
    run(async |env| {
        let _running = running(env, json!({}), json!({})).await;
        let key = credentials(&env.secret("tenant-kubeconfig").await).1;
        for secret in env.list::<Secret>().await {
            let data = secret.data.unwrap_or_default();
            let shared = data.values().any(|value| value.0 == key.as_bytes());
            assert!(!shared, "{:?} holds the administrator's key too", secret.metadata.name);
        }
        let pods = env.list::<Pod>().await;
        assert_eq!(pods.len(), 3);
        for pod in pods {
            let spec = json!(pod.spec).to_string();
            assert!(spec.contains("\"secret\""), "no Secret is mounted at all: {spec}");
            assert!(!spec.contains("tenant-kubeconfig"), "{spec}");
        }
    });
}

/// "The client certificate MUST be kept with a reasonably short expiration period."
#[test]
fn the_client_certificate_of_the_kubeconfig_lives_a_year_unless_a_user_says_less() {
    run(async |env| {
        let day = 24 * 60 * 60;
        for (spec, longest) in [
            (json!({}), 366 * day),
            (json!({"certificates": {"validity": "48h"}}), 3 * day),
        ] {
            let env = env.sibling().await;
            let _manager = Manager::start(&env).await;
            env.cluster(json!({})).await;
            env.control_plane(spec).await;
            let secret = env
                .wait_for::<Secret>("tenant-kubeconfig", "to be there", |_| true)
                .await;
            let life = life(&credentials(&secret).0);
            assert!(life > day && life <= longest, "{life} s");
        }
    });
}

/// "... and periodically regenerated to keep a valid set of credentials available."
#[test]
fn a_client_certificate_of_the_kubeconfig_that_nears_its_end_is_regenerated() {
    run(async |env| {
        let running = running(env, json!({}), json!({})).await;
        let ca = env.secret("tenant-ca").await;
        let ca = Pair {
            certificate: text(&ca, "tls.crt"),
            key: text(&ca, "tls.key"),
        };
        let far = stored(env, &ca, 3650).await;
        running.manager.look_again(env).await;
        assert_eq!(credentials(&env.secret("tenant-kubeconfig").await).0, far);
        let near = stored(env, &ca, 2).await;
        env.wait_for::<Secret>("tenant-kubeconfig", "another certificate", |secret| {
            credentials(secret).0 != near
        })
        .await;
        let secret = env.secret("tenant-kubeconfig").await;
        let new = credentials(&secret).0;
        assert!(life(&new) > 300 * 24 * 60 * 60);
        assert!(signed(&new, &ca.certificate), "another authority signed it");
        let assert_reported = async |words: &[&str]| {
            let reason = "CertificateReissued";
            env.wait_event::<NestedControlPlane>("tenant", "Normal", reason, words)
                .await;
        };
        assert_reported(&["due for renewal): tenant-kubeconfig/tls"]).await;
        env.delete::<Secret>("tenant-scheduler").await;
        assert_reported(&["missing or unreadable): tenant-scheduler/tls"]).await;
    });
}

/// Stores an administrator's certificate that began long ago and ends in so many days.
async fn stored(env: &TestEnv, ca: &Pair, days: i64) -> String {
    let old = old_client(ca, "kubernetes-admin", "system:masters", days);
    let mut config: Value = serde_saphyr::from_str(&text(&env.secret("tenant-kubeconfig").await, "value")).unwrap();
    let user = &mut config["users"][0]["user"];
    user["client-certificate-data"] = json!(ByteString(old.certificate.clone().into_bytes()));
    user["client-key-data"] = json!(ByteString(old.key.into_bytes()));
    let value = ByteString(config.to_string().into_bytes());
    env.merge::<Secret>("tenant-kubeconfig", &json!({"data": {"value": value}}))
        .await;
    old.certificate
}
