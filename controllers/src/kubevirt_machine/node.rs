//! The Node of a machine, in the tenant. It is asked for only until Cluster API's core has matched
//! it, and its provider ID is set only where it is empty.

use crate::runtime::api_client::{ApiClient, ApiError};
use crate::workload_cluster::{Visit, WorkloadClusters, from_kubeconfig};
use capn_api::cluster_api::Cluster;
use capn_core::machine::status::Registration;
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::ResourceExt;
use serde_json::json;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Field manager inside tenants.
const MANAGER: &str = "capk-kubevirt-machine";

/// Clients of tenants, by namespace and name of their Clusters.
#[derive(Default)]
pub(crate) struct Nodes(WorkloadClusters<ApiClient>);

/// A tenant that may be called for as long as the visit lasts.
pub(crate) struct Tenant {
    pub(crate) api: ApiClient,
    pub(crate) visit: Visit,
    key: String,
}

impl Nodes {
    /// Looks for the Node of this name, and gives it its provider ID where it has none.
    ///
    /// # Errors
    /// When the kubeconfig Secret cannot be read. What a tenant does not answer is asked again.
    pub(crate) async fn register(
        &self,
        api: &ApiClient,
        cluster: &Cluster,
        name: &str,
        provider_id: &str,
    ) -> Result<Registration, ApiError> {
        let tenant = match self.visit(api, cluster).await? {
            Ok(tenant) => tenant,
            Err(why) => return Ok(Registration::Unknown(why)),
        };
        let asked = register(&tenant.api, name, provider_id);
        let asked = tokio::time::timeout_at(tenant.visit.deadline(), asked).await;
        self.leave(tenant);
        match asked {
            Ok(Ok(registration)) => Ok(registration),
            Ok(Err(error)) => Ok(Registration::Unknown(format!("in the tenant: {error}"))),
            Err(_) => Ok(Registration::Unknown("the tenant's API server answers slowly".into())),
        }
    }

    /// A tenant to call, or why it cannot be called now.
    ///
    /// # Errors
    /// When its kubeconfig Secret cannot be read.
    pub(crate) async fn visit(&self, api: &ApiClient, cluster: &Cluster) -> Result<Result<Tenant, String>, ApiError> {
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
            Ok(visit) => Ok(Tenant { api, visit, key }),
            Err(_) => Err("other tenants are being asked first".into()),
        })
    }

    /// Ends a visit.
    pub(crate) fn leave(&self, tenant: Tenant) {
        self.0.leave(&tenant.key, tenant.visit);
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

async fn register(tenant: &ApiClient, name: &str, provider_id: &str) -> Result<Registration, ApiError> {
    let Some(node) = tenant.get::<Node>(None, name).await? else {
        return Ok(Registration::Waiting);
    };
    let id = node.spec.as_ref().and_then(|spec| spec.provider_id.clone());
    match id.filter(|id| !id.is_empty()) {
        Some(found) if found == provider_id => Ok(Registration::Done),
        Some(found) => Ok(Registration::Conflict { found }),
        None => {
            let patch = json!({"spec": {"providerID": provider_id}});
            tenant.merge_patch(&patch, &node).await?;
            Ok(Registration::Done)
        }
    }
}
