//! The bare start: etcd and kube-apiserver as processes, with a tenant's own flags and certificates.

use crate::{
    Failure,
    tenant::{LOOK, Started, Tenants, client, ready, until},
};
use k8s_openapi::api::{
    apps::v1::{Deployment, StatefulSet},
    core::v1::{Container, PodSpec, Secret},
};
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};
use tokio::process::{Child, Command};

/// What a bare start needs.
pub(crate) struct Bare {
    folder: PathBuf,
    etcd: (PathBuf, Vec<String>),
    api_server: (PathBuf, Vec<String>),
    kubeconfig: String,
}

impl Bare {
    /// Takes flags and certificates from a tenant.
    pub(crate) async fn of(
        tenants: &Tenants,
        model: &Started,
        kubernetes: &Path,
        etcd: &Path,
    ) -> Result<Self, Failure> {
        let name = &model.name;
        let folder = std::env::temp_dir().join(format!("capn-bench-{}", std::process::id()));
        tokio::fs::create_dir_all(folder.join("etcd")).await?;
        let secret = tenants.api::<Secret>().get(&format!("{name}-kubeconfig")).await?;
        let text = secret
            .data
            .and_then(|mut data| data.remove("value"))
            .ok_or("no kubeconfig")?;
        let kubeconfig = String::from_utf8(text.0)?;

        let deployment = tenants.api::<Deployment>().get(&format!("{name}-apiserver")).await?;
        let pod = deployment
            .spec
            .and_then(|spec| spec.template.spec)
            .ok_or("a Deployment without pods")?;
        save(tenants, &pod, "api-server", &folder).await?;
        let api_server = pod.containers;
        let set = tenants.api::<StatefulSet>().get(&format!("{name}-etcd")).await?;
        let pod = set
            .spec
            .and_then(|spec| spec.template.spec)
            .ok_or("a StatefulSet without pods")?;
        save(tenants, &pod, "certificates", &folder.join("etcd")).await?;
        Ok(Self {
            api_server: (kubernetes.join("kube-apiserver"), flags(&api_server)),
            etcd: (etcd.join("etcd"), flags(&pod.containers)),
            folder,
            kubeconfig,
        })
    }

    /// Starts both on an empty store, waits for /readyz, ends both.
    pub(crate) async fn start(&self) -> Result<Duration, Failure> {
        let [client_port, peer_port, metrics_port, port] = ports()?;
        let folder = self.folder.to_string_lossy().into_owned();
        let data = self.folder.join("data");
        if tokio::fs::try_exists(&data).await? {
            tokio::fs::remove_dir_all(&data).await?;
        }
        let here = |port: u16| format!("https://127.0.0.1:{port}");
        let etcd = with(
            &self.etcd.1,
            &[
                ("name", "bare".into()),
                ("data-dir", data.to_string_lossy().into_owned()),
                ("listen-client-urls", here(client_port)),
                ("advertise-client-urls", here(client_port)),
                ("listen-peer-urls", here(peer_port)),
                ("initial-advertise-peer-urls", here(peer_port)),
                ("initial-cluster", format!("bare={}", here(peer_port))),
                ("listen-metrics-urls", format!("http://127.0.0.1:{metrics_port}")),
            ],
            "/etc/kubernetes/pki",
            &folder,
        );
        let api_server = with(
            &self.api_server.1,
            &[("etcd-servers", here(client_port)), ("secure-port", port.to_string())],
            "/etc/kubernetes/pki",
            &folder,
        );
        let server = self
            .kubeconfig
            .lines()
            .find_map(|line| line.trim().strip_prefix("server:"))
            .ok_or("no server")?;
        let client = client(&self.kubeconfig.replace(server.trim().trim_matches('"'), &here(port))).await?;
        let begun = Instant::now();
        let _etcd = run(&self.etcd.0, &etcd)?;
        let _api_server = run(&self.api_server.0, &api_server)?;
        until("the bare API server", LOOK, || async {
            Ok(ready(&client).await.then_some(()))
        })
        .await?;
        Ok(begun.elapsed())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        // A folder of certificates of a tenant that is gone; nothing to be done if it stays.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// Writes the files of a pod's volume into a folder.
async fn save(tenants: &Tenants, pod: &PodSpec, volume: &str, folder: &Path) -> Result<(), Failure> {
    let volumes = pod.volumes.iter().flatten();
    let sources = volumes
        .filter(|found| found.name == volume)
        .filter_map(|found| found.projected.as_ref())
        .flat_map(|projected| projected.sources.iter().flatten());
    for from in sources.filter_map(|source| source.secret.as_ref()) {
        let data = tenants.api::<Secret>().get(&from.name).await?.data.unwrap_or_default();
        for item in from.items.iter().flatten() {
            let value = data.get(&item.key).ok_or("a certificate is missing")?;
            tokio::fs::write(folder.join(&item.path), &value.0).await?;
        }
    }
    Ok(())
}

fn flags(containers: &[Container]) -> Vec<String> {
    containers
        .first()
        .and_then(|container| container.args.clone())
        .unwrap_or_default()
}

/// The flags with some replaced, and paths moved.
fn with(flags: &[String], replaced: &[(&str, String)], from: &str, to: &str) -> Vec<String> {
    let replace = |flag: &String| {
        let name = flag.trim_start_matches('-').split('=').next().unwrap_or_default();
        match replaced.iter().find(|(known, _)| *known == name) {
            Some((name, value)) => format!("--{name}={value}"),
            None => flag.replace(from, to),
        }
    };
    flags.iter().map(replace).collect()
}

fn run(program: &Path, flags: &[String]) -> Result<Child, Failure> {
    let mut command = Command::new(program);
    command
        .args(flags)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    // As in the tenant's pods, but for GOMAXPROCS: a bare start may use the whole machine.
    command.env("GOGC", if program.ends_with("etcd") { "50" } else { "100" });
    Ok(command.spawn()?)
}

fn ports() -> Result<[u16; 4], Failure> {
    let listeners: Vec<_> = (0..4)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let ports: Vec<_> = listeners
        .iter()
        .map(|l| l.local_addr().map(|a| a.port()))
        .collect::<Result<_, _>>()?;
    ports.try_into().map_err(|_| "four ports".into())
}
