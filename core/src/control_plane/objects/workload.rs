//! What the Deployments of a control plane share.

use super::metadata;
use super::pod::template;
use crate::control_plane::{
    desired::DesiredControlPlane,
    names::{ROLLOUT_ANNOTATION, VERSION_ANNOTATION},
};
use crate::kubernetes::releases;
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        core::v1::PodSpec,
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use std::collections::BTreeMap;

/// Stands for the authorities that the pods read only when they start.
pub(crate) const AUTHORITIES_ANNOTATION: &str = "controlplane.cluster.x-k8s.io/authorities";

/// What is particular to a Deployment.
pub(super) struct Workload<'a> {
    pub(super) name: String,
    pub(super) component: &'static str,
    /// Value of [`AUTHORITIES_ANNOTATION`].
    pub(super) authorities: &'a str,
    /// Further annotations of the pods.
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) pod: PodSpec,
}

/// A Deployment whose pods are replaced one by one, each after its successor is ready.
pub(super) fn deployment(desired: &DesiredControlPlane, workload: Workload<'_>) -> Deployment {
    let labels = desired.names.component(workload.component);
    let mut annotations = workload.annotations;
    annotations.extend([
        (VERSION_ANNOTATION.to_owned(), releases::display(&desired.version)),
        (AUTHORITIES_ANNOTATION.to_owned(), workload.authorities.to_owned()),
    ]);
    let rollout = desired.rollout_after;
    annotations.extend(rollout.map(|after| (ROLLOUT_ANNOTATION.to_owned(), after.to_string())));
    Deployment {
        metadata: metadata(desired, workload.name, labels.clone()),
        spec: Some(DeploymentSpec {
            replicas: Some(desired.replicas),
            selector: LabelSelector {
                match_labels: Some(labels.clone()),
                ..LabelSelector::default()
            },
            strategy: Some(DeploymentStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(RollingUpdateDeployment {
                    max_surge: Some(IntOrString::Int(1)),
                    max_unavailable: Some(IntOrString::Int(0)),
                }),
            }),
            revision_history_limit: Some(2),
            template: template(desired, &desired.pod_template, labels, annotations, workload.pod),
            ..DeploymentSpec::default()
        }),
        ..Deployment::default()
    }
}
