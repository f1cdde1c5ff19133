//! Ground for integration tests: a kube-apiserver on etcd without nodes, the manager as a process,
//! and stand-ins for what is missing there (workload controllers, kubelets, tenants' API servers).
//!
//! A test is a function that calls [`run`]. It gets a [`TestEnv`]: a namespace of its own in an
//! environment that all tests of a binary share. When it fails, what explains it is written to a
//! folder that the panic names.

// A harness that cannot go on panics: that is how a test fails.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod audit;
mod certificates;
mod dump;
mod environment;
mod kubelet;
mod kubevirt;
mod manager;
mod paths;
mod process;
mod proxy;
mod shipped;
mod snapshot;
mod tenant;
mod test_env;
mod tls;
mod trial;

pub use audit::{Mark, Write};
pub use certificates::{Pair, key_pair, leaf, old_client};
pub use environment::Environment;
pub use kubelet::Kubelet;
pub use kubevirt::KubeVirt;
pub use manager::{Manager, Options};
pub use proxy::{Fault, FaultyProxy};
pub use snapshot::{difference, snapshot};
pub use tenant::{Manner, Mishap, TenantApiServer};
pub use test_env::{Object, TestEnv, run, run_without};
pub use trial::{at_rest, each_write};
