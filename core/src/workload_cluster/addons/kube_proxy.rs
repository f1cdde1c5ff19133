//! kube-proxy, configured as kubeadm does it, so that `kubeadm join` can read it.

use crate::workload_cluster::bootstrap_rbac::{cluster_role_binding, service_account};
use crate::workload_cluster::kubeadm::config_map;
use crate::workload_cluster::objects::{Objects, WorkloadClusterConfig, in_namespace, labels};
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, DaemonSetSpec, DaemonSetUpdateStrategy},
        core::v1::{
            ConfigMap, ConfigMapVolumeSource, Container, EnvVar, EnvVarSource, HostPathVolumeSource,
            ObjectFieldSelector, PodSpec, PodTemplateSpec, SecurityContext, ServiceAccount, Toleration, Volume,
            VolumeMount,
        },
    },
    apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta},
};
use serde_json::json;

const APP: (&str, &str) = ("k8s-app", "kube-proxy");
const CONFIG: &str = "/var/lib/kube-proxy";
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

pub(in crate::workload_cluster) fn add(objects: &mut Objects, facts: &WorkloadClusterConfig<'_>, image: &str) {
    objects.service_accounts.push(ServiceAccount {
        metadata: in_namespace("kube-system", "kube-proxy"),
        ..ServiceAccount::default()
    });
    let mut binding = cluster_role_binding("kubeadm:node-proxier", "system:node-proxier", ("", ""));
    binding.subjects = Some(vec![service_account("kube-proxy")]);
    objects.cluster_role_bindings.push(binding);
    objects.config_maps.push(config(facts));
    objects.daemon_sets.push(daemon_set(image));
}

fn config(facts: &WorkloadClusterConfig<'_>) -> ConfigMap {
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": "default",
            "cluster": {
                "certificate-authority": format!("{TOKEN}/ca.crt"),
                "server": format!("https://{}", facts.endpoint),
            },
        }],
        "contexts": [{"name": "default", "context": {"cluster": "default", "namespace": "default", "user": "default"}}],
        "current-context": "default",
        "users": [{"name": "default", "user": {"tokenFile": format!("{TOKEN}/token")}}],
    });
    let config = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": format!("{CONFIG}/kubeconfig.conf")},
        "clusterCIDR": facts.pods,
    });
    let data = [
        ("config.conf", crate::yaml(&config)),
        ("kubeconfig.conf", crate::yaml(&kubeconfig)),
    ];
    let mut map = config_map("kube-system", "kube-proxy", &data);
    map.metadata.labels = labels(&[("app", "kube-proxy")]);
    map
}

fn daemon_set(image: &str) -> DaemonSet {
    DaemonSet {
        metadata: ObjectMeta {
            labels: labels(&[APP]),
            ..in_namespace("kube-system", "kube-proxy")
        },
        spec: Some(DaemonSetSpec {
            selector: LabelSelector {
                match_labels: labels(&[APP]),
                ..LabelSelector::default()
            },
            update_strategy: Some(DaemonSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                ..DaemonSetUpdateStrategy::default()
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: labels(&[APP]),
                    ..ObjectMeta::default()
                }),
                spec: Some(PodSpec {
                    containers: vec![container(image)],
                    host_network: Some(true),
                    node_selector: labels(&[("kubernetes.io/os", "linux")]),
                    priority_class_name: Some("system-node-critical".into()),
                    service_account_name: Some("kube-proxy".into()),
                    tolerations: Some(vec![Toleration {
                        operator: Some("Exists".into()),
                        ..Toleration::default()
                    }]),
                    volumes: Some(vec![
                        Volume {
                            name: "config".into(),
                            config_map: Some(ConfigMapVolumeSource {
                                name: "kube-proxy".into(),
                                ..ConfigMapVolumeSource::default()
                            }),
                            ..Volume::default()
                        },
                        host_path("xtables-lock", "/run/xtables.lock", "FileOrCreate"),
                        host_path("lib-modules", "/lib/modules", ""),
                    ]),
                    ..PodSpec::default()
                }),
            },
            ..DaemonSetSpec::default()
        }),
        ..DaemonSet::default()
    }
}

fn container(image: &str) -> Container {
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.into(),
        mount_path: path.into(),
        read_only: Some(read_only),
        ..VolumeMount::default()
    };
    Container {
        name: "kube-proxy".into(),
        image: Some(image.into()),
        image_pull_policy: Some("IfNotPresent".into()),
        command: Some(vec![
            "/usr/local/bin/kube-proxy".into(),
            format!("--config={CONFIG}/config.conf"),
            "--hostname-override=$(NODE_NAME)".into(),
        ]),
        env: Some(vec![EnvVar {
            name: "NODE_NAME".into(),
            value: None,
            value_from: Some(EnvVarSource {
                field_ref: Some(ObjectFieldSelector {
                    api_version: Some("v1".into()),
                    field_path: "spec.nodeName".into(),
                }),
                ..EnvVarSource::default()
            }),
        }]),
        security_context: Some(SecurityContext {
            privileged: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![
            mount("config", CONFIG, true),
            mount("xtables-lock", "/run/xtables.lock", false),
            mount("lib-modules", "/lib/modules", true),
        ]),
        ..Container::default()
    }
}

fn host_path(name: &str, path: &str, type_: &str) -> Volume {
    Volume {
        name: name.into(),
        host_path: Some(HostPathVolumeSource {
            path: path.into(),
            type_: Some(type_.into()),
        }),
        ..Volume::default()
    }
}
