//! Calls to an API server: each with a deadline, an error that names the object, and no write
//! where nothing would change.

mod cause;
mod dependents;
mod status;

pub use capn_core::api_error::{ApiError, Cause};
pub use dependents::Dependents;

use crate::runtime::metrics;
use k8s_openapi::{
    api::core::v1::{Event, Pod},
    serde::{Serialize, de::DeserializeOwned},
};
use kube::{
    Client, Resource, ResourceExt,
    api::{EvictParams, ListParams, ObjectList, Patch, PatchParams},
    core::{DeserializeGuard, Request},
};
use std::{
    collections::HashMap,
    fmt::Debug,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// Longest time that one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Pods of one Node that are read at a time, and how often: more than a kubelet would run.
const PODS_PER_PAGE: u32 = 100;
const MAX_PAGES: usize = 20;

/// Events of one object that are read: the same one is counted up, not made again.
const EVENTS: u32 = 50;

/// Any object that is read and written here.
pub trait Object: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize {}
impl<K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Serialize> Object for K {}

/// `Kind namespace/name`.
pub fn describe<K: Object>(namespace: Option<&str>, name: &str) -> String {
    match namespace {
        Some(namespace) => format!("{} {namespace}/{name}", K::kind(&())),
        None => format!("{} {name}", K::kind(&())),
    }
}

/// Reads and writes under one field manager.
#[derive(Clone)]
pub struct ApiClient {
    client: Client,
    manager: &'static str,
    /// What was last applied to an object, by its name.
    applied: Arc<Mutex<HashMap<String, Applied>>>,
}

/// What was applied, and how the object looked then.
#[derive(Clone, Debug)]
struct Applied {
    intent: u64,
    live: String,
    /// UID of the object that it was applied for.
    owner: String,
}

impl ApiClient {
    /// ApiClient through `client`, whose writes belong to the field manager `manager`.
    pub fn new(client: Client, manager: &'static str) -> Self {
        Self {
            client,
            manager,
            applied: Arc::default(),
        }
    }

    /// The client itself.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Reads an object; None when it is not there.
    pub async fn get<K: Object>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, ApiError> {
        let object = || describe::<K>(namespace, name);
        let request = self.request::<K>(namespace).get(name, &Default::default());
        match self.send::<K, K, _>("get", object, request).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the objects that carry these labels (`key=value,…`).
    pub async fn list<K: Object>(&self, namespace: Option<&str>, labels: &str) -> Result<Vec<K>, ApiError> {
        let object = || describe::<K>(namespace, labels);
        self.list_with(namespace, &ListParams::default().labels(labels), object)
            .await
    }

    /// Reads the newest Events that warn of an object.
    pub async fn warnings_of(&self, namespace: &str, uid: &str) -> Result<Vec<Event>, ApiError> {
        let fields = format!("involvedObject.uid={uid},type=Warning");
        let params = ListParams::default().fields(&fields).limit(EVENTS);
        self.list_with(Some(namespace), &params, || format!("Events of {namespace}"))
            .await
    }

    /// Reads the pods of a Node, in every namespace, page by page. `Err` with a sentence when there
    /// are more than a Node can run.
    pub async fn pods_of_node(&self, node: &str) -> Result<Vec<Pod>, ApiError> {
        let object = || format!("Pods of Node {node}");
        let mut params = ListParams::default()
            .fields(&format!("spec.nodeName={node}"))
            .limit(PODS_PER_PAGE);
        let mut pods = Vec::new();
        for _ in 0..MAX_PAGES {
            let (page, next) = self.page(None, &params, object).await?;
            pods.extend(page);
            match next {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(pods),
            }
        }
        Err(ApiError {
            verb: "list",
            object: object(),
            cause: Cause::Decode("there are more of them than a Node can run".into()),
        })
    }

    async fn list_with<K: Object>(
        &self,
        namespace: Option<&str>,
        params: &ListParams,
        object: impl Fn() -> String,
    ) -> Result<Vec<K>, ApiError> {
        Ok(self.page(namespace, params, object).await?.0)
    }

    /// The items of one page, and the token of the next. An item that cannot be decoded is logged and
    /// left out: it must not stand in the way of the others.
    async fn page<K: Object>(
        &self,
        namespace: Option<&str>,
        params: &ListParams,
        object: impl Fn() -> String,
    ) -> Result<(Vec<K>, Option<String>), ApiError> {
        let request = self.request::<K>(namespace).list(params);
        let list: ObjectList<DeserializeGuard<K>> = self.send::<K, _, _>("list", object, request).await?;
        let next = list.metadata.continue_.filter(|token| !token.is_empty());
        let items = list.items.into_iter().filter_map(crate::runtime::watch::decoded);
        Ok((items.collect(), next))
    }

    /// Asks for the eviction of a pod; false while a PodDisruptionBudget forbids it. Fine when it
    /// is gone already.
    pub async fn evict(&self, pod: &Pod) -> Result<bool, ApiError> {
        let (namespace, name) = (pod.namespace(), pod.name_any());
        let request = self
            .request::<Pod>(namespace.as_deref())
            .evict(&name, &EvictParams::default());
        let reply = self
            .send::<Pod, serde_json::Value, _>("evict", || describe::<Pod>(namespace.as_deref(), &name), request)
            .await;
        match reply {
            Err(error) if error.status().is_some_and(|status| status.code == 429) => Ok(false),
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(true),
        }
    }

    /// Forgets what was applied for an object that goes.
    pub fn forget<K: Object>(&self, owner: &K) {
        let owner = owner.uid().unwrap_or_default();
        self.applied().retain(|_, applied| applied.owner != owner);
    }

    fn applied(&self) -> MutexGuard<'_, HashMap<String, Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Merges fields into an object that is there.
    pub async fn merge_patch<K: Object>(&self, patch: &serde_json::Value, live: &K) -> Result<K, ApiError> {
        let (namespace, name) = (live.namespace(), live.name_any());
        let params = PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        };
        let request = self
            .request::<K>(namespace.as_deref())
            .patch(&name, &params, &Patch::Merge(patch));
        self.send::<K, _, _>("patch", || describe::<K>(namespace.as_deref(), &name), request)
            .await
    }

    fn request<K: Object>(&self, namespace: Option<&str>) -> Request {
        Request::new(K::url_path(&(), namespace))
    }

    async fn send<K: Object, T: DeserializeOwned, E: std::fmt::Display>(
        &self,
        verb: &'static str,
        object: impl Fn() -> String,
        request: Result<http::Request<Vec<u8>>, E>,
    ) -> Result<T, ApiError> {
        let request = request.map_err(|e| undecodable(verb, object(), &e))?;
        let failed = |cause| ApiError {
            verb,
            object: object(),
            cause,
        };
        let started = Instant::now();
        let reply = match tokio::time::timeout(DEADLINE, self.client.request::<T>(request)).await {
            Ok(reply) => reply.map_err(|error| failed(cause::cause(error))),
            Err(_) => Err(failed(Cause::Unreachable("timed out".into()))),
        };
        let result = match reply.as_ref().map_err(|error| &error.cause) {
            Ok(_) => "ok",
            Err(Cause::Api(_) | Cause::NameTaken { .. }) => "refused",
            Err(Cause::Unreachable(_)) => "unreachable",
            Err(Cause::Decode(_)) => "undecodable",
        };
        metrics::observe_call(&K::kind(&()), verb, result, started.elapsed());
        reply
    }
}

fn undecodable(verb: &'static str, object: String, error: &impl std::fmt::Display) -> ApiError {
    ApiError {
        verb,
        object,
        cause: Cause::Decode(error.to_string()),
    }
}
