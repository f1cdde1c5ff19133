//! What explains a failure, in a folder: objects, events, logs, the end of the audit log. Secrets
//! are written without their data.

use crate::{TestEnv, paths};
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind};
use std::{fs, path::PathBuf};

const KINDS: [(&str, &str, &str); 18] = [
    ("cluster.x-k8s.io", "v1beta2", "Cluster"),
    ("cluster.x-k8s.io", "v1beta2", "Machine"),
    ("controlplane.cluster.x-k8s.io", "v1alpha1", "NestedControlPlane"),
    (
        "controlplane.cluster.x-k8s.io",
        "v1alpha1",
        "NestedControlPlaneTemplate",
    ),
    ("infrastructure.cluster.x-k8s.io", "v1alpha1", "KubevirtCluster"),
    ("infrastructure.cluster.x-k8s.io", "v1alpha1", "KubevirtMachine"),
    ("infrastructure.cluster.x-k8s.io", "v1alpha1", "KubevirtMachineTemplate"),
    ("kubevirt.io", "v1", "VirtualMachine"),
    ("kubevirt.io", "v1", "VirtualMachineInstance"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("", "v1", "Service"),
    ("", "v1", "Secret"),
    ("", "v1", "Pod"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "ConfigMap"),
    ("events.k8s.io", "v1", "Event"),
];

pub(crate) async fn dump(env: &TestEnv) -> PathBuf {
    let folder = paths::artifacts(&env.test);
    // What an earlier run left would mislead.
    let _ = fs::remove_dir_all(&folder);
    if let Err(error) = fs::create_dir_all(&folder) {
        eprintln!("{} cannot be written: {error}", folder.display());
    }
    let write = |name: String, text: String| {
        if let Err(error) = fs::write(folder.join(&name), text) {
            eprintln!("{name} cannot be written to {}: {error}", folder.display());
        }
    };
    for (group, version, kind) in KINDS {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        let api = Api::<DynamicObject>::namespaced_with(env.client.clone(), &env.namespace, &resource);
        let text = match api.list(&Default::default()).await {
            Ok(list) if list.items.is_empty() => continue,
            Ok(list) => list.items.into_iter().map(yaml).collect::<Vec<_>>().join("---\n"),
            Err(error) => format!("not listed: {error}"),
        };
        write(format!("{kind}.yaml"), text);
    }
    write("audit.log".into(), env.environment.audit.tail(&env.namespace));
    let logs = env.logs.lock().expect("logs").clone();
    for (log, service) in logs.iter().map(|log| (log.clone(), false)).chain([
        (env.environment.folder.join("kube-apiserver.log"), true),
        (env.environment.folder.join("etcd.log"), true),
    ]) {
        let name = log.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let text = fs::read_to_string(&log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        let first = if service { lines.len().saturating_sub(500) } else { 0 };
        write(name, lines[first..].join("\n"));
    }
    folder
}

fn yaml(mut object: DynamicObject) -> String {
    object.metadata.managed_fields = None;
    if let Some(data) = object.data.get_mut("data").and_then(|data| data.as_object_mut())
        && object.types.as_ref().is_some_and(|types| types.kind == "Secret")
    {
        data.values_mut().for_each(|value| *value = "(not written)".into());
    }
    serde_saphyr::to_string(&object).unwrap_or_else(|error| error.to_string())
}
