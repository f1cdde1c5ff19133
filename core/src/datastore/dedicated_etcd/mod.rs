//! An etcd of the control plane's own: a StatefulSet of one or three members.

pub mod certificates;
pub mod data;
pub mod desired;
pub mod health;
pub mod names;
pub mod objects;
pub mod observed;
mod placement;
pub mod teardown;
mod workload;
