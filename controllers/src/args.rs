//! Command line of the manager. Flags follow those of Cluster API's own providers.

use crate::runtime::controller::Scope;
use clap::{Parser, ValueEnum};
use std::net::SocketAddr;

/// Runs the controllers of cluster-api-provider-nested.
#[derive(Clone, Debug, Parser)]
#[command(name = "manager", version, about)]
pub struct Args {
    /// Providers whose controllers run: the control plane provider (nested), the infrastructure
    /// provider (kubevirt), or both.
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    pub controllers: Vec<Provider>,

    /// Namespace that is watched; all of them by default.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub namespace: String,

    /// Only objects whose label cluster.x-k8s.io/watch-filter has this value are reconciled.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub watch_filter: String,

    /// Take part in a leader election, so that one of several managers works.
    #[arg(long, num_args = 0..=1, default_missing_value = "true", default_value_t = true, action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// Namespace of the leader election's Lease.
    #[arg(long, env = "POD_NAMESPACE", default_value = "default")]
    pub leader_election_namespace: String,

    /// Where /healthz, /readyz and /metrics are served.
    #[arg(long, default_value = "0.0.0.0:9440")]
    pub health_addr: SocketAddr,

    /// How many control planes may start at the same time. Others wait for a start slot, because a
    /// node that starts many at once starts each of them late. 0 means no limit.
    #[arg(long, default_value_t = 4)]
    pub max_concurrent_starts: u32,

    /// Namespaces in which the KubevirtMachines of another namespace may have their VMs, as
    /// <namespace of the machines>=<namespace of the VMs>. The owner of a namespace can allow it, too: by
    /// the label infrastructure.cluster.x-k8s.io/allow-vms-from=<namespace of the machines>.
    #[arg(long, value_delimiter = ',', value_parser = pair)]
    pub vm_namespaces: Vec<(String, String)>,

    /// What is logged, such as info, debug or controllers=debug.
    #[arg(long, env = "LOG_LEVEL", default_value = "info")]
    pub log_level: String,

    /// How it is logged.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
}

/// One of the two clusterctl providers in this binary.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Provider {
    /// NestedControlPlane.
    Nested,
    /// KubevirtCluster and KubevirtMachine.
    Kubevirt,
}

impl Provider {
    /// Name of the provider's Lease. That of `kubevirt` is the Go provider's, so that the two never
    /// work at the same time.
    pub fn lease(self) -> &'static str {
        match self {
            Self::Nested => "controller-leader-election-capn",
            Self::Kubevirt => "controller-leader-election-capk",
        }
    }
}

/// How logs are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For programs, one JSON object a line.
    Json,
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.is_empty() && !to.is_empty() => Ok((from.to_owned(), to.to_owned())),
        _ => Err("write it like team-a=team-a-vms".to_owned()),
    }
}

impl Args {
    /// What the controllers look at.
    pub fn scope(&self) -> Scope {
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        Scope {
            namespace: given(&self.namespace),
            watch_filter: given(&self.watch_filter),
        }
    }
}
