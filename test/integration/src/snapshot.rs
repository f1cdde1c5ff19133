//! The objects of a tenant without what differs from world to world (UIDs, times, addresses, key
//! material), to compare two worlds that should be the same.

use crate::TestEnv;
use capn_api::{KubevirtCluster, KubevirtMachine, NestedControlPlane};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{
    Resource, ResourceExt,
    api::{DynamicObject, TypeMeta},
};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The objects of the world's namespace, by `Kind/name`.
pub async fn snapshot(env: &TestEnv) -> BTreeMap<String, Value> {
    let services = env.list::<Service>().await;
    let mut names: Vec<(String, String)> = services
        .iter()
        .filter_map(|service| {
            let address = service
                .spec
                .as_ref()?
                .cluster_ip
                .clone()
                .filter(|address| address != "None")?;
            Some((address, format!("(address of {})", service.name_any())))
        })
        .collect();
    names.push((env.namespace.clone(), "(namespace)".into()));
    let instances = dynamic(env, "VirtualMachineInstance").await;
    names.extend(instances.iter().filter_map(uid));
    let control_planes = env.list::<NestedControlPlane>().await;
    let machines = env.list::<KubevirtMachine>().await;
    names.extend(control_planes.iter().filter_map(uid));
    names.extend(machines.iter().filter_map(uid));
    names.extend(env.list::<PersistentVolumeClaim>().await.iter().filter_map(uid));
    // Longest first: one address may begin with another.
    names.sort_by_key(|(text, _)| std::cmp::Reverse(text.len()));
    let mut all = BTreeMap::new();
    add(&mut all, &names, services);
    add(&mut all, &names, env.list::<Deployment>().await);
    add(&mut all, &names, env.list::<StatefulSet>().await);
    add(&mut all, &names, env.list::<PodDisruptionBudget>().await);
    add(&mut all, &names, control_planes);
    add(&mut all, &names, env.list::<KubevirtCluster>().await);
    add(&mut all, &names, machines);
    for object in instances.into_iter().chain(dynamic(env, "VirtualMachine").await) {
        let kind = object.types.clone().unwrap_or_default().kind;
        insert(&mut all, &names, &kind, &object.name_any(), json!(object));
    }
    add(&mut all, &names, env.list::<ConfigMap>().await);
    add(&mut all, &names, env.list::<Secret>().await);
    all
}

/// The UID of an object, and what stands for it.
fn uid<K: ResourceExt>(object: &K) -> Option<(String, String)> {
    Some((object.uid()?, format!("(uid of {})", object.name_any())))
}

fn add<K: Resource<DynamicType = ()> + Serialize>(
    all: &mut BTreeMap<String, Value>,
    names: &[(String, String)],
    objects: Vec<K>,
) {
    for object in objects {
        let value = serde_json::to_value(&object).expect("an object is JSON");
        let name = object.meta().name.as_deref().unwrap_or_default();
        insert(all, names, &K::kind(&()), name, value);
    }
}

fn insert(all: &mut BTreeMap<String, Value>, names: &[(String, String)], kind: &str, name: &str, mut value: Value) {
    clean(&mut value);
    if kind == "Secret"
        && let Some(data) = value["data"].as_object_mut()
    {
        data.values_mut().for_each(|value| *value = json!("(key material)"));
    }
    let mut text = value.to_string();
    for (from, to) in names {
        text = text.replace(from, to);
    }
    all.insert(
        format!("{kind}/{name}"),
        serde_json::from_str(&text).expect("still JSON"),
    );
}

/// Objects of KubeVirt's.
async fn dynamic(env: &TestEnv, kind: &str) -> Vec<DynamicObject> {
    let list = env.kubevirt(kind).list(&Default::default()).await;
    let list = list.unwrap_or_else(|error| panic!("cannot list {kind}: {error}"));
    // Lists leave out what their items are.
    let types = TypeMeta {
        api_version: "kubevirt.io/v1".into(),
        kind: kind.into(),
    };
    let items = list.items.into_iter();
    items
        .map(|object| DynamicObject {
            types: Some(types.clone()),
            ..object
        })
        .collect()
}

/// Fields that say when and by whom, not what.
const NOISE: [&str; 9] = [
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "managedFields",
    "generation",
    "observedGeneration",
    "lastTransitionTime",
    "controlplane.cluster.x-k8s.io/authorities",
    "example.com/touched",
];

fn clean(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, _| !NOISE.contains(&key.as_str()));
            fields.values_mut().for_each(clean);
        }
        Value::Array(items) => items.iter_mut().for_each(clean),
        _ => {}
    }
}

/// Where two snapshots differ, for people; empty when they are the same.
pub fn difference(expected: &BTreeMap<String, Value>, found: &BTreeMap<String, Value>) -> String {
    let mut lines = Vec::new();
    compare("", &json!(expected), &json!(found), &mut lines);
    lines.join("\n")
}

fn compare(path: &str, expected: &Value, found: &Value, lines: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let keys: std::collections::BTreeSet<_> = expected.keys().chain(found.keys()).collect();
            for key in keys {
                let of =
                    |fields: &serde_json::Map<String, Value>| fields.get(key).cloned().unwrap_or(json!("(absent)"));
                compare(&format!("{path}/{key}"), &of(expected), &of(found), lines);
            }
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            for (index, (expected, found)) in expected.iter().zip(found).enumerate() {
                compare(&format!("{path}/{index}"), expected, found, lines);
            }
        }
        _ if expected != found => lines.push(format!("{path}: expected {expected}, found {found}")),
        _ => {}
    }
}
