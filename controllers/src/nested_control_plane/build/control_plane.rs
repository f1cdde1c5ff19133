//! API server, controller manager and scheduler: one pod, loopback between them.

use super::metadata;
use super::pod::{Args, container, extra_volumes, files, list, mount, net_bind_service, probe, restricted, template};
use crate::nested_control_plane::{
    addresses::Addresses,
    keys::{CREDENTIALS, PKI},
    names::{API_SERVER_PORT, CONTROL_PLANE, ETCD_CLIENT_PORT, ROLLOUT_ANNOTATION, VERSION_ANNOTATION},
    validate::{Part, Tenant},
    versions,
};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::{Container, ContainerPort, EmptyDirVolumeSource, PodSpec, Volume, VolumeMount},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use std::{collections::BTreeMap, net::IpAddr};

/// Stands for the authorities that the pods read only when they start.
pub(super) const AUTHORITIES_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/authorities";

/// Names of the volumes that are not a person's.
pub(crate) const OWN_VOLUMES: [&str; 6] = [
    "api-server",
    "controller-manager",
    "controller-manager-credentials",
    "scheduler",
    "scheduler-credentials",
    "tmp",
];

/// How long an API server that is to end goes on to serve: until nobody is led to it any more.
const SHUTDOWN_DELAY: &str = "5s";

pub(super) fn deployment(tenant: &Tenant, addresses: &Addresses, authorities: &str) -> Deployment {
    let names = &tenant.names;
    let labels = names.component(CONTROL_PLANE);
    let mut annotations = BTreeMap::from([
        (VERSION_ANNOTATION.to_owned(), versions::display(&tenant.version)),
        (AUTHORITIES_ANNOTATION.to_owned(), authorities.to_owned()),
    ]);
    annotations.extend(
        tenant
            .rollout_after
            .map(|after| (ROLLOUT_ANNOTATION.to_owned(), after.to_string())),
    );
    let pod = PodSpec {
        // A sidecar: the others start when it answers, instead of giving up and being backed off.
        init_containers: Some(vec![api_server(tenant, addresses)]),
        containers: containers(tenant),
        volumes: Some(volumes(tenant)),
        termination_grace_period_seconds: Some(30),
        ..PodSpec::default()
    };
    Deployment {
        metadata: metadata(tenant, names.control_plane(), labels.clone()),
        spec: Some(DeploymentSpec {
            replicas: Some(tenant.replicas),
            selector: LabelSelector {
                match_labels: Some(labels),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(2),
            template: template(tenant, CONTROL_PLANE, annotations, pod),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}

fn api_server(tenant: &Tenant, addresses: &Addresses) -> Container {
    let part = &tenant.api_server;
    let mut container = container(
        "kube-apiserver",
        part,
        api_server_args(tenant, addresses),
        ("40m", "224Mi"),
    );
    container.restart_policy = Some("Always".into());
    container.ports = Some(vec![ContainerPort {
        name: Some("https".into()),
        container_port: API_SERVER_PORT,
        protocol: Some("TCP".into()),
        ..ContainerPort::default()
    }]);
    container.startup_probe = Some(probe("/readyz", API_SERVER_PORT, "HTTPS", 1, 600));
    container.liveness_probe = Some(probe("/livez", API_SERVER_PORT, "HTTPS", 10, 8));
    container.readiness_probe = Some(probe("/readyz", API_SERVER_PORT, "HTTPS", 5, 3));
    if let Some(context) = &mut container.security_context {
        context.capabilities = Some(net_bind_service());
    }
    mounts(&mut container, [mount("api-server", PKI), writable("tmp", "/tmp")]);
    container
}

fn containers(tenant: &Tenant) -> Vec<Container> {
    let mut manager = component(
        "kube-controller-manager",
        &tenant.controller_manager,
        controller_manager_args(tenant),
        10257,
        ("10m", "40Mi"),
    );
    mounts(
        &mut manager,
        [
            mount("controller-manager", PKI),
            mount("controller-manager-credentials", CREDENTIALS),
            writable("tmp", "/tmp"),
        ],
    );
    let mut scheduler = component(
        "kube-scheduler",
        &tenant.scheduler,
        scheduler_args(),
        10259,
        ("5m", "24Mi"),
    );
    mounts(
        &mut scheduler,
        [
            mount("scheduler", PKI),
            mount("scheduler-credentials", CREDENTIALS),
            writable("tmp", "/tmp"),
        ],
    );
    let extra = tenant
        .pod_template
        .containers
        .iter()
        .cloned()
        .map(|container| Container {
            security_context: Some(restricted(container.security_context)),
            ..container
        });
    [manager, scheduler].into_iter().chain(extra).collect()
}

fn component(name: &str, part: &Part, args: Args, port: i32, requests: (&str, &str)) -> Container {
    let mut container = container(name, part, args, requests);
    container.liveness_probe = Some(probe("/healthz", port, "HTTPS", 10, 8));
    container
}

/// Our mounts before a person's, so that the golden files read in that order.
fn mounts(container: &mut Container, ours: impl IntoIterator<Item = VolumeMount>) {
    let given = container.volume_mounts.take().unwrap_or_default();
    container.volume_mounts = list(ours.into_iter().chain(given).collect());
}

fn writable(volume: &str, path: &str) -> VolumeMount {
    VolumeMount {
        name: volume.into(),
        mount_path: path.into(),
        ..VolumeMount::default()
    }
}

fn volumes(tenant: &Tenant) -> Vec<Volume> {
    let names = &tenant.names;
    let pair: &[(&str, &str)] = &[
        ("tls.crt", "tls.crt"),
        ("tls.key", "tls.key"),
        ("kubeconfig", "kubeconfig"),
    ];
    let pki = |files: &'static [(&'static str, &'static str)]| (names.pki(), files);
    let mut volumes = vec![
        files(
            "api-server",
            &[
                pki(&[
                    ("ca.crt", "ca.crt"),
                    ("etcd-ca.crt", "etcd-ca.crt"),
                    ("front-proxy-ca.crt", "front-proxy-ca.crt"),
                    ("sa.pub", "sa.pub"),
                    ("sa.key", "sa.key"),
                ]),
                (
                    names.api_server_certificates(),
                    &[
                        ("apiserver.crt", "apiserver.crt"),
                        ("apiserver.key", "apiserver.key"),
                        ("front-proxy-client.crt", "front-proxy-client.crt"),
                        ("front-proxy-client.key", "front-proxy-client.key"),
                        ("kubelet-client.crt", "kubelet-client.crt"),
                        ("kubelet-client.key", "kubelet-client.key"),
                    ],
                ),
                (
                    names.etcd_client(),
                    &[("tls.crt", "etcd-client.crt"), ("tls.key", "etcd-client.key")],
                ),
            ],
        ),
        files(
            "controller-manager",
            &[pki(&[
                ("ca.crt", "ca.crt"),
                ("ca-signer.crt", "ca-signer.crt"),
                ("ca-signer.key", "ca-signer.key"),
                ("front-proxy-ca.crt", "front-proxy-ca.crt"),
                ("sa.key", "sa.key"),
            ])],
        ),
        files("controller-manager-credentials", &[(names.controller_manager(), pair)]),
        files(
            "scheduler",
            &[pki(&[
                ("ca.crt", "ca.crt"),
                ("front-proxy-ca.crt", "front-proxy-ca.crt"),
            ])],
        ),
        files("scheduler-credentials", &[(names.scheduler(), pair)]),
        Volume {
            name: "tmp".into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        },
    ];
    volumes.extend(extra_volumes([
        &tenant.api_server,
        &tenant.controller_manager,
        &tenant.scheduler,
    ]));
    volumes
}

fn api_server_args(tenant: &Tenant, addresses: &Addresses) -> Args {
    let pki = |file: &str| format!("{PKI}/{file}");
    let issuer = format!("https://kubernetes.default.svc.{}", tenant.network.domain);
    Args::default()
        .with("allow-privileged", "true")
        .with_unless("anonymous-auth", "true", &["authentication-config"])
        .with_unless("authorization-mode", "Node,RBAC", &["authorization-config"])
        .with("client-ca-file", pki("ca.crt"))
        .with("enable-admission-plugins", "NodeRestriction")
        .with("enable-bootstrap-token-auth", "true")
        // Its own reconciler can publish only a pod's address; we publish what workers reach.
        .with("endpoint-reconciler-type", "none")
        .with("etcd-cafile", pki("etcd-ca.crt"))
        .with("etcd-certfile", pki("etcd-client.crt"))
        .with("etcd-keyfile", pki("etcd-client.key"))
        .with(
            "etcd-servers",
            format!("https://{}:{ETCD_CLIENT_PORT}", bracketed(addresses.etcd)),
        )
        .with("kubelet-client-certificate", pki("kubelet-client.crt"))
        .with("kubelet-client-key", pki("kubelet-client.key"))
        .with("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname")
        .with("profiling", "false")
        .with("proxy-client-cert-file", pki("front-proxy-client.crt"))
        .with("proxy-client-key-file", pki("front-proxy-client.key"))
        .with("requestheader-allowed-names", "front-proxy-client")
        .with("requestheader-client-ca-file", pki("front-proxy-ca.crt"))
        .with("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .with("requestheader-group-headers", "X-Remote-Group")
        .with("requestheader-username-headers", "X-Remote-User")
        .with("secure-port", API_SERVER_PORT.to_string())
        .with("service-account-issuer", issuer)
        .with("service-account-key-file", pki("sa.pub"))
        .with("service-account-signing-key-file", pki("sa.key"))
        .with("service-cluster-ip-range", joined(&tenant.network.services))
        .with("shutdown-delay-duration", SHUTDOWN_DELAY)
        .with("tls-cert-file", pki("apiserver.crt"))
        .with("tls-private-key-file", pki("apiserver.key"))
}

/// A signer of its own for one kind of certificate; the controller manager takes either these or one
/// for all.
const SIGNERS: [&str; 8] = [
    "cluster-signing-kube-apiserver-client-cert-file",
    "cluster-signing-kube-apiserver-client-key-file",
    "cluster-signing-kubelet-client-cert-file",
    "cluster-signing-kubelet-client-key-file",
    "cluster-signing-kubelet-serving-cert-file",
    "cluster-signing-kubelet-serving-key-file",
    "cluster-signing-legacy-unknown-cert-file",
    "cluster-signing-legacy-unknown-key-file",
];

fn controller_manager_args(tenant: &Tenant) -> Args {
    let pki = |file: &str| format!("{PKI}/{file}");
    let kubeconfig = format!("{CREDENTIALS}/kubeconfig");
    Args::default()
        .with("allocate-node-cidrs", "true")
        .with("authentication-kubeconfig", &kubeconfig)
        .with("authorization-kubeconfig", &kubeconfig)
        .with("client-ca-file", pki("ca.crt"))
        .with("cluster-cidr", joined(&tenant.network.pods))
        .with("cluster-name", tenant.names.cluster())
        .with_unless("cluster-signing-cert-file", pki("ca-signer.crt"), &SIGNERS)
        .with_unless("cluster-signing-key-file", pki("ca-signer.key"), &SIGNERS)
        .with("controllers", "*,bootstrapsigner,tokencleaner")
        .with("kubeconfig", &kubeconfig)
        .electing()
        .with("profiling", "false")
        .with("requestheader-client-ca-file", pki("front-proxy-ca.crt"))
        .with("root-ca-file", pki("ca.crt"))
        .with("service-account-private-key-file", pki("sa.key"))
        .with("service-cluster-ip-range", joined(&tenant.network.services))
        .with("use-service-account-credentials", "true")
}

fn scheduler_args() -> Args {
    let kubeconfig = format!("{CREDENTIALS}/kubeconfig");
    Args::default()
        .with("authentication-kubeconfig", &kubeconfig)
        .with("authorization-kubeconfig", &kubeconfig)
        .with("client-ca-file", format!("{PKI}/ca.crt"))
        .with("kubeconfig", &kubeconfig)
        .electing()
        .with("profiling", "false")
        .with("requestheader-client-ca-file", format!("{PKI}/front-proxy-ca.crt"))
}

fn joined(networks: &[ipnet::IpNet]) -> String {
    networks.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn bracketed(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    }
}
