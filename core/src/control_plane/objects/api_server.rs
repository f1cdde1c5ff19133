//! kube-apiserver: its Deployment, with the containers that users add to it.

use super::pod::{
    Args, container, extra_volumes, files, joined, mount, mounts, net_bind_service, probe, restricted, tmp, writable,
};
use super::workload::{Workload, deployment};
use crate::certificates::{PKI, Program, api_server_flags, authority_files, mounted};
use crate::control_plane::{
    addresses::Addresses,
    desired::DesiredControlPlane,
    names::{API_SERVER, API_SERVER_PORT},
};
use crate::datastore;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Container, ContainerPort, PodSpec, Volume},
};
use std::collections::BTreeMap;

/// How long an API server that is to end goes on to serve: until nobody is led to it any more.
const SHUTDOWN_DELAY: &str = "5s";

pub(super) fn api_server(desired: &DesiredControlPlane, addresses: &Addresses, authorities: &str) -> Deployment {
    let extra = desired.pod_template.containers.iter().cloned();
    let extra = extra.map(|container| Container {
        security_context: Some(restricted(container.security_context)),
        ..container
    });
    let pod = PodSpec {
        containers: [program(desired, addresses)].into_iter().chain(extra).collect(),
        volumes: Some(volumes(desired)),
        termination_grace_period_seconds: Some(30),
        ..PodSpec::default()
    };
    let workload = Workload {
        name: desired.names.api_server(),
        component: API_SERVER,
        authorities,
        annotations: BTreeMap::new(),
        pod,
    };
    deployment(desired, workload)
}

fn program(desired: &DesiredControlPlane, addresses: &Addresses) -> Container {
    let part = &desired.api_server;
    let mut container = container("kube-apiserver", part, args(desired, addresses), ("40m", "224Mi"));
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

fn volumes(desired: &DesiredControlPlane) -> Vec<Volume> {
    let trusted = authority_files(
        &desired.names,
        &[
            "ca.crt",
            datastore::TRUSTED_BY_API_SERVER,
            "front-proxy-ca.crt",
            "sa.pub",
            "sa.key",
        ],
    );
    let sources = [trusted].into_iter().chain(mounted(Program::ApiServer, &desired.names));
    let mut volumes = vec![files("api-server", sources), tmp()];
    volumes.extend(extra_volumes([&desired.api_server]));
    volumes
}

fn args(desired: &DesiredControlPlane, addresses: &Addresses) -> Args {
    let pki = |file: &str| format!("{PKI}/{file}");
    let issuer = format!("https://kubernetes.default.svc.{}", desired.network.domain);
    let args = Args::default()
        .with("allow-privileged", "true")
        .with_unless("anonymous-auth", "true", &["authentication-config"])
        .with_unless("authorization-mode", "Node,RBAC", &["authorization-config"])
        .with("client-ca-file", pki("ca.crt"))
        .with("enable-admission-plugins", "NodeRestriction")
        .with("enable-bootstrap-token-auth", "true")
        // Its own reconciler can publish only a pod's address; we publish what workers reach.
        .with("endpoint-reconciler-type", "none")
        .with("kubelet-preferred-address-types", "InternalIP,ExternalIP,Hostname")
        .with("profiling", "false")
        .with("requestheader-allowed-names", "front-proxy-client")
        .with("requestheader-client-ca-file", pki("front-proxy-ca.crt"))
        .with("requestheader-extra-headers-prefix", "X-Remote-Extra-")
        .with("requestheader-group-headers", "X-Remote-Group")
        .with("requestheader-username-headers", "X-Remote-User")
        .with("secure-port", API_SERVER_PORT.to_string())
        .with("service-account-issuer", issuer)
        .with("service-account-key-file", pki("sa.pub"))
        .with("service-account-signing-key-file", pki("sa.key"))
        .with("service-cluster-ip-range", joined(&desired.network.services))
        .with("shutdown-delay-duration", SHUTDOWN_DELAY);
    api_server_flags(PKI)
        .chain(datastore::api_server_flags(addresses))
        .fold(args, |args, (flag, file)| args.with(flag, file))
        .sorted()
}
