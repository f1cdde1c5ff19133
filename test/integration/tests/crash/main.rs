//! Managers that die, writes that fail, and two managers at once: a control plane ends in the same
//! objects, under the same authorities.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cut;
mod faults;
mod leader;

use capn_integration::{Kubelet, Manager, TenantApiServer, TestEnv};
use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Secrets whose loss would lock every worker out, or every pod.
const AUTHORITIES: [&str; 5] = [
    "tenant-ca",
    "tenant-etcd",
    "tenant-etcd-peer",
    "tenant-proxy",
    "tenant-sa",
];

type Objects = BTreeMap<String, Value>;
type Authorities = BTreeMap<String, Value>;

async fn authorities(env: &TestEnv) -> Authorities {
    let mut found = Authorities::new();
    for name in AUTHORITIES {
        if let Some(secret) = env.get::<Secret>(name).await {
            found.insert(name.to_owned(), json!(secret.data));
        }
    }
    found
}

fn unchanged(before: &Authorities, after: &Authorities, when: &str) {
    for (name, data) in before {
        assert_eq!(after.get(name), Some(data), "{name} is another one {when}");
    }
}

/// Waits until the control plane is up and the managers have come to rest, and returns all objects.
async fn at_rest(env: &TestEnv, managers: &[&Manager]) -> Objects {
    at_rest_inside(env, managers).await.0
}

/// The same, and the paths of what is then inside the tenant.
async fn at_rest_inside(env: &TestEnv, managers: &[&Manager]) -> (Objects, Vec<String>) {
    let tenant = TenantApiServer::start(env).await;
    let _kubelet = Kubelet::start(env);
    env.wait_up().await;
    let objects = capn_integration::at_rest(env, managers).await;
    (objects, tenant.objects().into_keys().collect())
}

/// The objects of a control plane that nothing has disturbed.
async fn undisturbed(env: &TestEnv) -> Objects {
    undisturbed_inside(env).await.0
}

/// The same, and the paths of what is then inside the tenant.
async fn undisturbed_inside(env: &TestEnv) -> (Objects, Vec<String>) {
    let maker = Manager::start(env).await;
    env.tenant().await;
    let found = at_rest_inside(env, &[&maker]).await;
    assert!(!found.0.is_empty());
    found
}

/// Makes a control plane, and ends its manager and its API server. Its pods go on being played.
async fn abandoned(env: &TestEnv) -> Kubelet {
    let maker = Manager::start(env).await;
    env.tenant().await;
    let kubelet = Kubelet::start(env);
    let _tenant = TenantApiServer::start(env).await;
    env.wait_up().await;
    maker.kill();
    kubelet
}
