//! The Node of a machine, in the tenant. It is asked for only until Cluster API's core has matched
//! it, and its provider ID is set only where it is empty.

use crate::calls::{CallError, Calls, Cause};
use k8s_openapi::api::core::v1::{Node, Secret};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::json;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// Field manager inside tenants.
const MANAGER: &str = "capk-kubevirt-machine";

/// What is known of a Node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Registration {
    /// It carries the provider ID.
    Done,
    /// It has not registered, or the tenant did not answer.
    Waiting,
    /// It carries another provider ID, which only the kubelet's settings can have given it.
    Conflict { found: String },
}

/// Clients of tenants, by their kubeconfig Secret.
#[derive(Default)]
pub(crate) struct Nodes(Mutex<HashMap<String, (u64, Calls)>>);

impl Nodes {
    /// Looks for the Node of this name, and gives it its provider ID where it has none.
    ///
    /// # Errors
    /// When the kubeconfig Secret cannot be read, or the tenant refuses.
    pub(crate) async fn register(
        &self,
        calls: &Calls,
        namespace: &str,
        cluster: &str,
        name: &str,
        provider_id: &str,
    ) -> Result<Registration, CallError> {
        let Some(tenant) = self.tenant(calls, namespace, cluster).await? else {
            return Ok(Registration::Waiting);
        };
        let node = match tenant.get::<Node>(None, name).await {
            Ok(node) => node,
            // A tenant that does not answer for a moment is asked again.
            Err(CallError {
                cause: Cause::Silent(_),
                ..
            }) => return Ok(Registration::Waiting),
            Err(error) => return Err(error),
        };
        let Some(node) = node else {
            return Ok(Registration::Waiting);
        };
        match node
            .spec
            .as_ref()
            .and_then(|spec| spec.provider_id.clone())
            .filter(|id| !id.is_empty())
        {
            Some(found) if found == provider_id => Ok(Registration::Done),
            Some(found) => Ok(Registration::Conflict { found }),
            None => {
                tenant
                    .merge(&json!({"spec": {"providerID": provider_id}}), &node)
                    .await?;
                Ok(Registration::Done)
            }
        }
    }

    /// Calls to a tenant; None while its kubeconfig Secret is missing or cannot be used.
    ///
    /// # Errors
    /// When the Secret cannot be read.
    pub(crate) async fn tenant(
        &self,
        calls: &Calls,
        namespace: &str,
        cluster: &str,
    ) -> Result<Option<Calls>, CallError> {
        let secret = format!("{cluster}-kubeconfig");
        match calls.get::<Secret>(Some(namespace), &secret).await? {
            Some(secret) => Ok(self.client(&format!("{namespace}/{cluster}"), &secret).await),
            None => Ok(None),
        }
    }

    async fn client(&self, key: &str, secret: &Secret) -> Option<Calls> {
        let text = std::str::from_utf8(&secret.data.as_ref()?.get("value")?.0).ok()?;
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let fingerprint = hasher.finish();
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned();
        if let Some((_, calls)) = known.filter(|(known, _)| *known == fingerprint) {
            return Some(calls);
        }
        let calls = Calls::new(client(text).await?, MANAGER);
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key.to_owned(), (fingerprint, calls.clone()));
        Some(calls)
    }
}

/// A client from what a kubeconfig holds itself. Nothing that it names is run or opened: a person
/// who may write it must not act as this process.
async fn client(text: &str) -> Option<Client> {
    let mut kubeconfig = Kubeconfig::from_yaml(text).ok()?;
    for named in &mut kubeconfig.auth_infos {
        let user = named.auth_info.get_or_insert_default();
        user.exec = None;
        user.auth_provider = None;
        user.token_file = None;
        user.client_certificate = None;
        user.client_key = None;
    }
    for named in &mut kubeconfig.clusters {
        let cluster = named.cluster.get_or_insert_default();
        cluster.certificate_authority = None;
        cluster.proxy_url = None;
    }
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .ok()?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(3));
    config.read_timeout = Some(Duration::from_secs(10));
    config.reset_reader_on_write = true;
    Client::try_from(config).ok()
}
