//! Workload clusters of machines, as they are called for their Nodes.

use super::{Visit, WorkloadClusters, client::from_kubeconfig};
use crate::runtime::api_client::{ApiClient, ApiError};
use capn_api::cluster_api::Cluster;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Field manager inside workload clusters.
const MANAGER: &str = "capk-kubevirt-machine";

/// Clients of workload clusters, by namespace and name of their Clusters.
#[derive(Default)]
pub(crate) struct Nodes(WorkloadClusters<ApiClient>);

/// A workload cluster that may be called for as long as the visit lasts.
pub(crate) struct Visited {
    pub(crate) api: ApiClient,
    pub(crate) visit: Visit,
    key: String,
}

impl Nodes {
    /// A workload cluster to call, or why it cannot be called now.
    ///
    /// # Errors
    /// When its kubeconfig Secret cannot be read.
    pub(crate) async fn visit(&self, api: &ApiClient, cluster: &Cluster) -> Result<Result<Visited, String>, ApiError> {
        let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
        let secret = format!("{name}-kubeconfig");
        let Some(secret) = api.get::<Secret>(Some(&namespace), &secret).await? else {
            return Ok(Err(format!("waiting for Secret {namespace}/{secret}")));
        };
        let key = format!("{namespace}/{name}");
        let api = match self.client(&key, cluster, &secret).await {
            Ok(api) => api,
            Err(why) => {
                return Ok(Err(format!(
                    "Secret {namespace}/{} cannot be used: {why}",
                    secret.name_any()
                )));
            }
        };
        Ok(match self.0.visit(&key) {
            Ok(visit) => Ok(Visited { api, visit, key }),
            Err(_) => Err("other workload clusters are being asked first".into()),
        })
    }

    /// Ends a visit.
    pub(crate) fn leave(&self, visited: Visited) {
        self.0.leave(&visited.key, visited.visit);
    }

    async fn client(&self, key: &str, cluster: &Cluster, secret: &Secret) -> Result<ApiClient, String> {
        let endpoint = cluster.spec.control_plane_endpoint.as_ref();
        let endpoint = endpoint
            .and_then(|endpoint| endpoint.complete())
            .ok_or("the Cluster has no spec.controlPlaneEndpoint")?;
        let text = secret.data.as_ref().and_then(|data| data.get("value"));
        let text = text.and_then(|value| std::str::from_utf8(&value.0).ok());
        let text = text.ok_or("it has no text under the key value")?;
        let mut hasher = DefaultHasher::new();
        (text, &endpoint.host, endpoint.port).hash(&mut hasher);
        let fingerprint = hasher.finish();
        if let Some(known) = self.0.get(key, fingerprint) {
            return Ok(known);
        }
        let api = ApiClient::new(from_kubeconfig(text, &endpoint).await?, MANAGER);
        self.0.insert(key, fingerprint, api.clone());
        Ok(api)
    }
}
