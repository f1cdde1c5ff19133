//! What a KubevirtCluster is to do for its Cluster.

use capn_api::{KubevirtCluster, Reason, cluster_api::Cluster};

/// What is to be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Infrastructure {
    /// The Cluster has its endpoint: nothing is left to do.
    Provisioned,
    /// The control plane has published no endpoint yet.
    WaitingForEndpoint,
}

/// What cannot be done.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what is wrong")]
pub enum ValidateError {
    #[error(
        "control planes in VMs (KubeadmControlPlane) are not supported by this release: use a NestedControlPlane as spec.controlPlaneRef of the Cluster"
    )]
    ControlPlaneInVms,
    #[error(
        "spec.infraClusterSecretRef is not supported by this release: VMs run in the management cluster. Remove the field, unless the infrastructure was created by another provider; it is left as it is"
    )]
    ExternalInfrastructure,
}

impl ValidateError {
    /// One word for programs.
    pub fn reason(self) -> Reason {
        match self {
            Self::ControlPlaneInVms | Self::ExternalInfrastructure => Reason::NotSupported,
        }
    }
}

/// Looks at object and Cluster.
pub fn validate(object: &KubevirtCluster, cluster: &Cluster) -> Result<Infrastructure, ValidateError> {
    if object.spec.infra_cluster_secret_ref.is_some() {
        return Err(ValidateError::ExternalInfrastructure);
    }
    if cluster
        .spec
        .control_plane_ref
        .as_ref()
        .is_some_and(|control_plane| control_plane.kind == "KubeadmControlPlane")
    {
        return Err(ValidateError::ControlPlaneInVms);
    }
    let endpoint = cluster
        .spec
        .control_plane_endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.complete());
    Ok(match endpoint {
        Some(_) => Infrastructure::Provisioned,
        None => Infrastructure::WaitingForEndpoint,
    })
}
