//! kube-controller-manager and kube-scheduler: one Deployment. It stands apart from the API servers, so
//! that a controller that fails takes no API server off its Service. Its programs reach the API
//! servers through that Service.

use super::pod::{Args, container, extra_volumes, files, joined, mount, mounts, probe, tmp, writable};
use super::workload::{Workload, deployment};
use crate::certificates::{CREDENTIALS, PKI, Program, authority_files, mounted};
use crate::control_plane::{
    addresses::Addresses,
    desired::{DesiredComponent, DesiredControlPlane},
    names::CONTROLLERS,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, PodSpec, Volume},
};
use std::collections::BTreeMap;

/// The server that the kubeconfigs name. The programs read them only when they start.
const SERVER_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/api-server";

pub(super) fn controllers(desired: &DesiredControlPlane, addresses: &Addresses, authorities: &str) -> Deployment {
    let pod = PodSpec {
        containers: vec![controller_manager(desired), scheduler(desired)],
        volumes: Some(volumes(desired)),
        ..PodSpec::default()
    };
    let workload = Workload {
        name: desired.names.controllers(),
        component: CONTROLLERS,
        authorities,
        annotations: BTreeMap::from([(SERVER_ANNOTATION.to_owned(), addresses.service(desired).authority())]),
        pod,
    };
    deployment(desired, workload)
}

fn controller_manager(desired: &DesiredControlPlane) -> Container {
    let mut container = program(
        "kube-controller-manager",
        &desired.controller_manager,
        controller_manager_args(desired),
        10257,
        ("10m", "40Mi"),
    );
    mounts(
        &mut container,
        [
            mount("controller-manager", PKI),
            mount("controller-manager-credentials", CREDENTIALS),
            writable("tmp", "/tmp"),
        ],
    );
    container
}

fn scheduler(desired: &DesiredControlPlane) -> Container {
    let mut container = program(
        "kube-scheduler",
        &desired.scheduler,
        scheduler_args(),
        10259,
        ("5m", "24Mi"),
    );
    mounts(
        &mut container,
        [
            mount("scheduler", PKI),
            mount("scheduler-credentials", CREDENTIALS),
            writable("tmp", "/tmp"),
        ],
    );
    container
}

fn program(name: &str, part: &DesiredComponent, args: Args, port: i32, requests: (&str, &str)) -> Container {
    let mut container = container(name, part, args, requests);
    container.liveness_probe = Some(probe("/healthz", port, "HTTPS", 10, 8));
    container
}

fn volumes(desired: &DesiredControlPlane) -> Vec<Volume> {
    let names = &desired.names;
    let signs = [
        "ca.crt",
        "ca-signer.crt",
        "ca-signer.key",
        "front-proxy-ca.crt",
        "sa.key",
    ];
    let mut volumes = vec![
        files("controller-manager", [authority_files(names, &signs)]),
        files(
            "controller-manager-credentials",
            mounted(Program::ControllerManager, names),
        ),
        files("scheduler", [authority_files(names, &["ca.crt", "front-proxy-ca.crt"])]),
        files("scheduler-credentials", mounted(Program::Scheduler, names)),
        tmp(),
    ];
    volumes.extend(extra_volumes([&desired.controller_manager, &desired.scheduler]));
    volumes
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

fn controller_manager_args(desired: &DesiredControlPlane) -> Args {
    let pki = |file: &str| format!("{PKI}/{file}");
    let kubeconfig = format!("{CREDENTIALS}/kubeconfig");
    Args::default()
        .with("allocate-node-cidrs", "true")
        .with("authentication-kubeconfig", &kubeconfig)
        .with("authorization-kubeconfig", &kubeconfig)
        .with("client-ca-file", pki("ca.crt"))
        .with("cluster-cidr", joined(&desired.network.pods))
        .with("cluster-name", desired.names.cluster())
        .with_unless("cluster-signing-cert-file", pki("ca-signer.crt"), &SIGNERS)
        .with_unless("cluster-signing-key-file", pki("ca-signer.key"), &SIGNERS)
        .with("controllers", "*,bootstrapsigner,tokencleaner")
        .with("kubeconfig", &kubeconfig)
        .electing()
        .with("profiling", "false")
        .with("requestheader-client-ca-file", pki("front-proxy-ca.crt"))
        .with("root-ca-file", pki("ca.crt"))
        .with("service-account-private-key-file", pki("sa.key"))
        .with("service-cluster-ip-range", joined(&desired.network.services))
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
