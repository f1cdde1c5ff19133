//! A stand-in for KubeVirt, for the lab and for CI: serves the kubevirt.io API and runs real machines as qemu in pods.

mod admission;
mod api;
#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod behaviour;
mod clock;
mod conditions;
mod crd;
mod domain;
mod events;
mod launch;
mod machine;
mod quantity;
mod retry;
mod vm;
mod vmi;

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use futures::FutureExt;
use kube::Client;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run the controllers and the admission webhooks.
    Run {
        /// Image of the launcher pods.
        #[arg(long, env = "LAUNCHER_IMAGE", default_value = "localhost/capn/vm-launcher:dev")]
        launcher_image: String,
        /// Namespace of the webhooks' Service `virt-api`.
        #[arg(long, env = "POD_NAMESPACE", default_value = "kubevirt")]
        namespace: String,
        /// Port of the webhooks.
        #[arg(long, default_value_t = 8443)]
        port: u16,
    },
    /// Run one machine: what container compute of a launcher pod does.
    Launch,
    /// Print the CRDs.
    Crds,
}

/// Why the program ends.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("no client for the API server")]
    Client(#[source] Box<kube::Error>),
    #[error("cannot configure the client")]
    Config(#[from] kube::config::InferConfigError),
    #[error("cannot serve webhooks")]
    Serve(#[from] std::io::Error),
    #[error("no certificate for the webhooks")]
    Certificate(#[from] admission::certificate::CertificateError),
    #[error("cannot register the webhooks")]
    Register(#[source] Box<kube::Error>),
    #[error("cannot make the CRDs")]
    Schema(#[from] crd::SchemaError),
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info,kube_client::client=error"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let result = match Arguments::parse().task {
        Task::Run {
            launcher_image,
            namespace,
            port,
        } => run(launcher_image, &namespace, port).await,
        Task::Launch => return launch::run().await,
        Task::Crds => crds(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, source = ?std::error::Error::source(&error), "ended");
            ExitCode::FAILURE
        }
    }
}

fn crds() -> Result<(), Error> {
    print!("{}", crd::manifest()?);
    Ok(())
}

/// A node that has just started may not reach the API server yet: a few attempts are quicker than the kubelet's back-off.
async fn register(client: &Client, namespace: &str, ca: &str) -> Result<(), Error> {
    let mut pause = Duration::from_millis(250);
    loop {
        match admission::configuration::apply(client, namespace, ca).await {
            Err(error) if pause < Duration::from_secs(30) => tracing::warn!(%error, "cannot register the webhooks yet"),
            result => return result.map_err(|source| Error::Register(Box::new(source))),
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
}

async fn run(launcher_image: String, namespace: &str, port: u16) -> Result<(), Error> {
    let mut config = kube::Config::infer().await?;
    config.default_retry = false;
    let client = Client::try_from(config).map_err(|source| Error::Client(Box::new(source)))?;
    let (ca, tls) = admission::certificate::serving(namespace)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await?;
    register(&client, namespace, &ca).await?;
    tracing::info!(port, "serving");

    let mut terminate = signal(SignalKind::terminate())?;
    let stop = async move {
        terminate.recv().await;
    }
    .shared();
    let controllers = futures::future::join(
        vm::run(client.clone(), stop.clone()),
        vmi::run(client.clone(), launcher_image, stop.clone()),
    );
    tokio::select! {
        served = admission::serve(listener, tls, client) => served?,
        _ = controllers => {}
    }
    Ok(())
}
