//! What belongs to Kubernetes itself.

pub mod releases;
