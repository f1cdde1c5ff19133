//! The ConfigMaps by which `kubeadm join` finds its cluster.

use super::objects::{WorkloadClusterConfig, in_namespace};
use crate::pki::{Credentials, Trust, kubeconfig};
use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// kube-public/cluster-info: where the API server is and how to know it, signed for each bootstrap
/// token by the controller manager.
pub(super) fn cluster_info(facts: &WorkloadClusterConfig<'_>) -> ConfigMap {
    let server = format!("https://{}", facts.endpoint);
    let text = kubeconfig("", &server, Trust::Embedded(facts.authority), "", Credentials::None);
    config_map("kube-public", "cluster-info", &[("kubeconfig", text)])
}

/// kube-system/kubeadm-config: kubeadm's ClusterConfiguration, v1beta4.
pub(super) fn kubeadm_config(facts: &WorkloadClusterConfig<'_>) -> ConfigMap {
    let config = json!({
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": facts.cluster,
        "controlPlaneEndpoint": facts.endpoint,
        "imageRepository": facts.image_repository,
        "kubernetesVersion": facts.version,
        "networking": {
            "dnsDomain": facts.domain,
            "podSubnet": facts.pods,
            "serviceSubnet": facts.services,
        },
    });
    yaml_map("kube-system", "kubeadm-config", "ClusterConfiguration", &config)
}

/// kube-system/kubelet-config: only fields that kubelets three minors older know.
pub(super) fn kubelet_config(facts: &WorkloadClusterConfig<'_>) -> ConfigMap {
    let config = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "systemd",
        "clusterDNS": [facts.dns.to_string()],
        "clusterDomain": facts.domain,
        "rotateCertificates": true,
        "staticPodPath": "/etc/kubernetes/manifests",
    });
    yaml_map("kube-system", "kubelet-config", "kubelet", &config)
}

pub(super) fn yaml_map(namespace: &str, name: &str, key: &str, config: &Value) -> ConfigMap {
    config_map(namespace, name, &[(key, crate::yaml(config))])
}

pub(super) fn config_map(namespace: &str, name: &str, data: &[(&str, String)]) -> ConfigMap {
    let data: BTreeMap<_, _> = data
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()))
        .collect();
    ConfigMap {
        metadata: in_namespace(namespace, name),
        data: Some(data),
        ..ConfigMap::default()
    }
}
