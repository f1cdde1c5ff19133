//! CoreDNS. Its Corefile and its number of replicas are made once and then the workload cluster's administrators'.

use crate::workload_cluster::bootstrap_rbac::{cluster_role_binding, named, service_account};
use crate::workload_cluster::kubeadm::config_map;
use crate::workload_cluster::objects::{Objects, WorkloadClusterConfig, in_namespace, labels};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{
            Affinity, Capabilities, ConfigMapVolumeSource, Container, ContainerPort, HTTPGetAction, KeyToPath,
            PodAffinityTerm, PodAntiAffinity, PodSpec, PodTemplateSpec, Probe, ResourceRequirements, SecurityContext,
            Service, ServiceAccount, ServicePort, ServiceSpec, Toleration, Volume, VolumeMount,
            WeightedPodAffinityTerm,
        },
        rbac::v1::{ClusterRole, PolicyRule},
    },
    apimachinery::pkg::{
        api::resource::Quantity,
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};
use std::collections::BTreeMap;

const REPLICAS: i32 = 2;
const APP: (&str, &str) = ("k8s-app", "kube-dns");

pub(in crate::workload_cluster) fn add(objects: &mut Objects, facts: &WorkloadClusterConfig<'_>, image: &str) {
    objects.service_accounts.push(ServiceAccount {
        metadata: in_namespace("kube-system", "coredns"),
        ..ServiceAccount::default()
    });
    objects.cluster_roles.push(cluster_role());
    let mut binding = cluster_role_binding("system:coredns", "system:coredns", ("", ""));
    binding.subjects = Some(vec![service_account("coredns")]);
    objects.cluster_role_bindings.push(binding);
    objects.services.push(service(facts));
    objects.create_only_config_maps.push(config_map(
        "kube-system",
        "coredns",
        &[("Corefile", corefile(facts.domain))],
    ));
    objects.create_only_deployments.push(deployment(image, Some(REPLICAS)));
    objects.deployments.push(deployment(image, None));
}

fn corefile(domain: &str) -> String {
    let lines = [
        ".:53 {",
        "    errors",
        "    health {",
        "        lameduck 5s",
        "    }",
        "    ready",
        &format!("    kubernetes {domain} in-addr.arpa ip6.arpa {{"),
        "        pods insecure",
        "        fallthrough in-addr.arpa ip6.arpa",
        "        ttl 30",
        "    }",
        "    prometheus :9153",
        "    forward . /etc/resolv.conf {",
        "        max_concurrent 1000",
        "    }",
        "    cache 30 {",
        &format!("        disable success {domain}"),
        &format!("        disable denial {domain}"),
        "    }",
        "    loop",
        "    reload",
        "    loadbalance",
        "}",
        "",
    ];
    lines.join("\n")
}

fn cluster_role() -> ClusterRole {
    let rule = |group: &str, resources: &[&str]| PolicyRule {
        api_groups: Some(vec![group.into()]),
        resources: Some(resources.iter().map(|resource| (*resource).to_owned()).collect()),
        verbs: vec!["list".into(), "watch".into()],
        ..PolicyRule::default()
    };
    ClusterRole {
        metadata: named("system:coredns"),
        rules: Some(vec![
            rule("", &["namespaces", "pods", "services"]),
            rule("discovery.k8s.io", &["endpointslices"]),
        ]),
        ..ClusterRole::default()
    }
}

fn service(facts: &WorkloadClusterConfig<'_>) -> Service {
    let port = |name: &str, port: i32, protocol: &str| ServicePort {
        name: Some(name.into()),
        port,
        protocol: Some(protocol.into()),
        target_port: Some(IntOrString::Int(port)),
        ..ServicePort::default()
    };
    Service {
        metadata: ObjectMeta {
            labels: labels(&[
                APP,
                ("kubernetes.io/cluster-service", "true"),
                ("kubernetes.io/name", "CoreDNS"),
            ]),
            ..in_namespace("kube-system", "kube-dns")
        },
        spec: Some(ServiceSpec {
            cluster_ip: Some(facts.dns.to_string()),
            ports: Some(vec![
                port("dns", 53, "UDP"),
                port("dns-tcp", 53, "TCP"),
                port("metrics", 9153, "TCP"),
            ]),
            selector: labels(&[APP]),
            ..ServiceSpec::default()
        }),
        ..Service::default()
    }
}

fn deployment(image: &str, replicas: Option<i32>) -> Deployment {
    Deployment {
        metadata: ObjectMeta {
            labels: labels(&[APP]),
            ..in_namespace("kube-system", "coredns")
        },
        spec: Some(DeploymentSpec {
            replicas,
            selector: LabelSelector {
                match_labels: labels(&[APP]),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_unavailable: Some(IntOrString::Int(1)),
                    max_surge: None,
                }),
            }),
            template: PodTemplateSpec {
                metadata: Some(ObjectMeta {
                    labels: labels(&[APP]),
                    ..ObjectMeta::default()
                }),
                spec: Some(pod(image)),
            },
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn pod(image: &str) -> PodSpec {
    let apart = PodAffinityTerm {
        label_selector: Some(LabelSelector {
            match_labels: labels(&[APP]),
            ..LabelSelector::default()
        }),
        topology_key: "kubernetes.io/hostname".into(),
        ..PodAffinityTerm::default()
    };
    PodSpec {
        affinity: Some(Affinity {
            pod_anti_affinity: Some(PodAntiAffinity {
                preferred_during_scheduling_ignored_during_execution: Some(vec![WeightedPodAffinityTerm {
                    weight: 100,
                    pod_affinity_term: apart,
                }]),
                ..PodAntiAffinity::default()
            }),
            ..Affinity::default()
        }),
        containers: vec![container(image)],
        dns_policy: Some("Default".into()),
        node_selector: labels(&[("kubernetes.io/os", "linux")]),
        priority_class_name: Some("system-cluster-critical".into()),
        service_account_name: Some("coredns".into()),
        tolerations: Some(vec![Toleration {
            key: Some("CriticalAddonsOnly".into()),
            operator: Some("Exists".into()),
            ..Toleration::default()
        }]),
        volumes: Some(vec![Volume {
            name: "config".into(),
            config_map: Some(ConfigMapVolumeSource {
                name: "coredns".into(),
                items: Some(vec![KeyToPath {
                    key: "Corefile".into(),
                    path: "Corefile".into(),
                    mode: None,
                }]),
                ..ConfigMapVolumeSource::default()
            }),
            ..Volume::default()
        }]),
        ..PodSpec::default()
    }
}

fn container(image: &str) -> Container {
    let quantity = |pairs: &[(&str, &str)]| -> BTreeMap<String, Quantity> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), Quantity((*value).to_owned())))
            .collect()
    };
    let port = |name: &str, port: i32, protocol: &str| ContainerPort {
        container_port: port,
        name: Some(name.into()),
        protocol: Some(protocol.into()),
        ..ContainerPort::default()
    };
    let probe = |path: &str, port: i32| Probe {
        http_get: Some(HTTPGetAction {
            path: Some(path.into()),
            port: IntOrString::Int(port),
            scheme: Some("HTTP".into()),
            ..HTTPGetAction::default()
        }),
        failure_threshold: Some(5),
        timeout_seconds: Some(5),
        ..Probe::default()
    };
    Container {
        name: "coredns".into(),
        image: Some(image.into()),
        image_pull_policy: Some("IfNotPresent".into()),
        args: Some(vec!["-conf".into(), "/etc/coredns/Corefile".into()]),
        liveness_probe: Some(Probe {
            initial_delay_seconds: Some(60),
            ..probe("/health", 8080)
        }),
        readiness_probe: Some(probe("/ready", 8181)),
        ports: Some(vec![
            port("dns", 53, "UDP"),
            port("dns-tcp", 53, "TCP"),
            port("metrics", 9153, "TCP"),
        ]),
        resources: Some(ResourceRequirements {
            limits: Some(quantity(&[("memory", "170Mi")])),
            requests: Some(quantity(&[("cpu", "100m"), ("memory", "70Mi")])),
            ..ResourceRequirements::default()
        }),
        security_context: Some(SecurityContext {
            allow_privilege_escalation: Some(false),
            capabilities: Some(Capabilities {
                add: Some(vec!["NET_BIND_SERVICE".into()]),
                drop: Some(vec!["ALL".into()]),
            }),
            read_only_root_filesystem: Some(true),
            ..SecurityContext::default()
        }),
        volume_mounts: Some(vec![VolumeMount {
            name: "config".into(),
            mount_path: "/etc/coredns".into(),
            read_only: Some(true),
            ..VolumeMount::default()
        }]),
        ..Container::default()
    }
}
