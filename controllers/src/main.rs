//! The manager: starts the controllers of one or both providers and shuts them down.

use capn_controllers::{
    args::{Args, Provider},
    kubevirt_cluster,
    kubevirt_machine::{self, VmNamespaces},
    nested_control_plane,
    runtime::{leader_election, logging, server},
};
use clap::Parser;
use futures::future::{BoxFuture, join_all, try_join_all};
use kube::{Client, Config};
use std::{error::Error, process::ExitCode, time::Duration};
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Longest time between a signal and the end.
const SHUTDOWN: Duration = Duration::from_secs(20);

fn main() -> ExitCode {
    let args = Args::parse();
    logging::init(&args);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build();
    let result = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(args)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<(), Box<dyn Error>> {
    let (stop, stopping) = watch::channel(false);
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(async move {
        tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
        tracing::info!("shutting down");
        let _ = stop.send(true);
        tokio::time::sleep(SHUTDOWN).await;
        tracing::error!("shutdown took too long");
        std::process::exit(1);
    });
    server::serve(args.health_addr).await?;

    let client = client(None).await?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), controllers = ?args.controllers, "manager started");
    // Where one provider ends, so does the process: what starts it again starts both.
    let providers = args.controllers.iter();
    try_join_all(providers.map(|provider| serve(*provider, &args, client.clone(), stopping.clone()))).await?;
    Ok(())
}

/// Runs the controllers of a provider, as leader where that is asked for.
async fn serve(
    provider: Provider,
    args: &Args,
    client: Client,
    stopping: watch::Receiver<bool>,
) -> Result<(), Box<dyn Error>> {
    if !args.leader_elect {
        controllers(provider, args, client, stopping).await;
        return Ok(());
    }
    let lease_client = self::client(Some(Duration::from_secs(5))).await?;
    let mut stopped = stopping.clone();
    let acquired = leader_election::acquire(lease_client, &args.leader_election_namespace, provider.lease());
    let leadership = tokio::select! {
        acquired = acquired => acquired?,
        _ = stopped.wait_for(|stop| *stop) => return Ok(()),
    };
    tracing::info!(lease = provider.lease(), "leading");
    tokio::select! {
        () = controllers(provider, args, client, stopping) => {
            leadership.release().await;
            Ok(())
        }
        () = leadership.keep() => Err(format!("lost the lease {}", provider.lease()).into()),
    }
}

async fn controllers(provider: Provider, args: &Args, client: Client, stopping: watch::Receiver<bool>) {
    let scope = args.scope();
    let running: Vec<BoxFuture<'_, ()>> = match provider {
        Provider::Nested => {
            vec![Box::pin(nested_control_plane::run(
                client,
                scope,
                args.max_concurrent_starts,
                stopping,
            ))]
        }
        Provider::Kubevirt => vec![
            Box::pin(kubevirt_cluster::run(client.clone(), scope.clone(), stopping.clone())),
            Box::pin(kubevirt_machine::run(
                client,
                scope,
                VmNamespaces(args.vm_namespaces.clone()),
                stopping,
            )),
        ],
    };
    join_all(running).await;
}

/// A client for the cluster that this process runs in (or that KUBECONFIG names).
async fn client(read_timeout: Option<Duration>) -> Result<Client, Box<dyn Error>> {
    let mut config = Config::infer().await?;
    // kube's own retries would hold a pass for minutes; ours come with the next pass.
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(5));
    config.read_timeout = read_timeout;
    config.reset_reader_on_write = read_timeout.is_some();
    Ok(Client::try_from(config)?)
}
