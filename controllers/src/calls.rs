//! Calls to an API server: each with a deadline, an error that names the object, and no write
//! where nothing would change.

use k8s_openapi::{
    api::core::v1::Pod,
    serde::{Serialize, de::DeserializeOwned},
};
use kube::{
    Client, Resource, ResourceExt,
    api::{DeleteParams, EvictParams, ListParams, ObjectList, Patch, PatchParams, PostParams, Preconditions},
    core::{Request, Status, object::HasStatus},
};
use std::{
    collections::HashMap,
    fmt::Debug,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// Longest time that one call may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often a status is written again after somebody wrote to its object meanwhile.
const STATUS_TRIES: u32 = 5;

/// A call that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {object}: {cause}")]
pub struct CallError {
    /// What was tried.
    pub verb: &'static str,
    /// Kind, namespace and name.
    pub object: String,
    /// Why it failed.
    pub cause: Cause,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// The API server's own words.
    #[error("{}", .0.message)]
    Refused(Box<Status>),
    /// No answer, or none in time.
    #[error("the API server does not answer")]
    Silent(String),
    /// An answer, or an object, that cannot be read or written.
    #[error("the object cannot be read: {0}")]
    Garbled(String),
}

impl CallError {
    /// The API server's status, when it answered.
    pub fn status(&self) -> Option<&Status> {
        match &self.cause {
            Cause::Refused(status) => Some(status),
            Cause::Silent(_) | Cause::Garbled(_) => None,
        }
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        self.status().is_some_and(Status::is_not_found)
    }

    /// Whether the object is there already.
    pub fn is_already_exists(&self) -> bool {
        self.status().is_some_and(Status::is_already_exists)
    }

    /// Whether somebody else wrote first.
    pub fn is_conflict(&self) -> bool {
        self.status().is_some_and(Status::is_conflict)
    }

    /// Whether the caller lacks the right.
    pub fn is_forbidden(&self) -> bool {
        self.status().is_some_and(Status::is_forbidden)
    }

    /// Whether the object itself was refused and will be again.
    pub fn is_invalid(&self) -> bool {
        self.status()
            .is_some_and(|status| status.is_invalid() || status.code == 400)
    }
}

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
pub struct Calls {
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
    owner: Option<String>,
}

impl Calls {
    /// Calls through `client`, whose writes belong to the field manager `manager`.
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
    pub async fn get<K: Object>(&self, namespace: Option<&str>, name: &str) -> Result<Option<K>, CallError> {
        let object = || describe::<K>(namespace, name);
        let request = self.request::<K>(namespace).get(name, &Default::default());
        match self.send::<K, _>("get", object, request).await {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads the objects that carry these labels (`key=value,…`).
    pub async fn list<K: Object>(&self, namespace: Option<&str>, labels: &str) -> Result<Vec<K>, CallError> {
        let object = || describe::<K>(namespace, labels);
        self.list_with(namespace, &ListParams::default().labels(labels), object)
            .await
    }

    /// Reads the pods of a Node, in every namespace.
    pub async fn pods_of_node(&self, node: &str) -> Result<Vec<Pod>, CallError> {
        let params = ListParams::default().fields(&format!("spec.nodeName={node}"));
        self.list_with(None, &params, || format!("Pods of Node {node}")).await
    }

    async fn list_with<K: Object>(
        &self,
        namespace: Option<&str>,
        params: &ListParams,
        object: impl Fn() -> String,
    ) -> Result<Vec<K>, CallError> {
        let request = self.request::<K>(namespace).list(params);
        let list: ObjectList<K> = self.send("list", object, request).await?;
        Ok(list.items)
    }

    /// Asks for the eviction of a pod; false while a PodDisruptionBudget forbids it. Fine when it
    /// is gone already.
    pub async fn evict(&self, pod: &Pod) -> Result<bool, CallError> {
        let (namespace, name) = (pod.namespace(), pod.name_any());
        let request = self
            .request::<Pod>(namespace.as_deref())
            .evict(&name, &EvictParams::default());
        let reply = self
            .send::<serde_json::Value, _>("evict", || describe::<Pod>(namespace.as_deref(), &name), request)
            .await;
        match reply {
            Err(error) if error.status().is_some_and(|status| status.code == 429) => Ok(false),
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(true),
        }
    }

    /// Applies what we want of an object. Sends nothing when the same was applied before and
    /// `live`, the object as it was just read, has not changed since.
    pub async fn put<K: Object>(&self, wanted: &K, live: Option<&K>) -> Result<K, CallError> {
        let (namespace, name) = (wanted.namespace(), wanted.name_any());
        let key = describe::<K>(namespace.as_deref(), &name);
        let intent = hash(wanted);
        if let Some(live) = live {
            let unchanged = self
                .applied()
                .get(&key)
                .is_some_and(|known| known.intent == intent && known.live == fingerprint(live));
            if unchanged {
                return Ok(live.clone());
            }
        }
        let params = PatchParams::apply(self.manager).force().validation_strict();
        let request = self
            .request::<K>(namespace.as_deref())
            .patch(&name, &params, &Patch::Apply(wanted));
        let reply: K = self.send("apply", || key.clone(), request).await?;
        let known = Applied {
            intent,
            live: fingerprint(&reply),
            owner: wanted.owner_references().first().map(|owner| owner.uid.clone()),
        };
        self.applied().insert(key, known);
        Ok(reply)
    }

    /// Forgets what was applied for an object that goes.
    pub fn forget<K: Object>(&self, owner: &K) {
        let owner = owner.uid();
        self.applied().retain(|_, applied| applied.owner != owner);
    }

    fn applied(&self) -> MutexGuard<'_, HashMap<String, Applied>> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies the whole status of an object where it differs from what it has, and returns it; fine
    /// when the object is gone. What follows from an old status must not replace a newer one: when
    /// somebody wrote to the object since `live` was read, it is read again and `status` asked again.
    pub async fn put_status<K>(&self, live: &K, status: impl Fn(&K) -> K::Status) -> Result<K::Status, CallError>
    where
        K: Object + HasStatus,
        K::Status: PartialEq + Serialize,
    {
        let (mut newer, mut tries) = (None, 0);
        loop {
            let live = newer.as_ref().unwrap_or(live);
            let wanted = status(live);
            if live.status() == Some(&wanted) {
                return Ok(wanted);
            }
            match self.put_part_of_status(live, live.resource_version(), &wanted).await {
                Err(error) if error.is_conflict() && tries < STATUS_TRIES => tries += 1,
                other => return other.map(|()| wanted),
            }
            // It is the generation that this pass has seen which the status speaks of.
            let generation = live.meta().generation;
            let Some(mut found) = self.read_again(live).await? else {
                return Ok(wanted);
            };
            found.meta_mut().generation = generation;
            newer = Some(found);
        }
    }

    /// Reads an object of our own kinds again. By list, which their watch needs too.
    async fn read_again<K: Object>(&self, live: &K) -> Result<Option<K>, CallError> {
        let (namespace, name) = (live.namespace(), live.name_any());
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let object = || describe::<K>(namespace.as_deref(), &name);
        let found: Vec<K> = self.list_with(namespace.as_deref(), &params, object).await?;
        Ok(found.into_iter().find(|found| found.uid() == live.uid()))
    }

    /// Applies these fields as our part of an object's status, whatever else has changed. The caller
    /// compares first.
    pub async fn put_fields_of_status<K: Object>(&self, live: &K, fields: &impl Serialize) -> Result<(), CallError> {
        self.put_part_of_status(live, None, fields).await
    }

    async fn put_part_of_status<K: Object>(
        &self,
        live: &K,
        version: Option<String>,
        status: &impl Serialize,
    ) -> Result<(), CallError> {
        let (namespace, name) = (live.namespace(), live.name_any());
        let mut wanted = serde_json::json!({
            "apiVersion": K::api_version(&()),
            "kind": K::kind(&()),
            "metadata": {"name": name, "uid": live.uid()},
            "status": status,
        });
        if let Some(version) = version {
            wanted["metadata"]["resourceVersion"] = version.into();
        }
        let params = PatchParams::apply(self.manager).force().validation_strict();
        let request =
            self.request::<K>(namespace.as_deref())
                .patch_subresource("status", &name, &params, &Patch::Apply(&wanted));
        let object = || describe::<K>(namespace.as_deref(), &name);
        match self
            .send::<serde_json::Value, _>("write the status of", object, request)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    /// Merges fields into an object that is there.
    pub async fn merge<K: Object>(&self, patch: &serde_json::Value, live: &K) -> Result<K, CallError> {
        let (namespace, name) = (live.namespace(), live.name_any());
        let params = PatchParams {
            field_manager: Some(self.manager.to_owned()),
            ..PatchParams::default()
        };
        let request = self
            .request::<K>(namespace.as_deref())
            .patch(&name, &params, &Patch::Merge(patch));
        self.send("patch", || describe::<K>(namespace.as_deref(), &name), request)
            .await
    }

    /// Creates an object. When somebody made it first, theirs is returned and ours is forgotten.
    pub async fn create<K: Object>(&self, wanted: &K) -> Result<K, CallError> {
        let (namespace, name) = (wanted.namespace(), wanted.name_any());
        match self.post(wanted).await {
            Err(error) if error.is_already_exists() => self.get(namespace.as_deref(), &name).await?.ok_or(error),
            other => other,
        }
    }

    async fn post<K: Object>(&self, wanted: &K) -> Result<K, CallError> {
        let namespace = wanted.namespace();
        let object = || describe::<K>(namespace.as_deref(), &wanted.name_any());
        let body = serde_json::to_vec(wanted).map_err(|e| garbled("create", object(), &e))?;
        let params = PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        };
        self.send(
            "create",
            object,
            self.request::<K>(namespace.as_deref()).create(&params, body),
        )
        .await
    }

    /// Replaces an object that has not changed since `wanted` was read (its resourceVersion).
    pub async fn replace<K: Object>(&self, wanted: &K) -> Result<K, CallError> {
        let (namespace, name) = (wanted.namespace(), wanted.name_any());
        let object = || describe::<K>(namespace.as_deref(), &name);
        let body = serde_json::to_vec(wanted).map_err(|e| garbled("update", object(), &e))?;
        let params = PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        };
        self.send(
            "update",
            object,
            self.request::<K>(namespace.as_deref()).replace(&name, &params, body),
        )
        .await
    }

    /// Deletes this very object, dependents in the background; fine when it is gone already.
    pub async fn delete<K: Object>(&self, live: &K) -> Result<(), CallError> {
        if live.meta().deletion_timestamp.is_some() {
            return Ok(());
        }
        let (namespace, name) = (live.namespace(), live.name_any());
        self.applied().remove(&describe::<K>(namespace.as_deref(), &name));
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: live.uid(),
            resource_version: None,
        });
        let request = self.request::<K>(namespace.as_deref()).delete(&name, &params);
        let reply: Result<serde_json::Value, _> = self
            .send("delete", || describe::<K>(namespace.as_deref(), &name), request)
            .await;
        match reply {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn request<K: Object>(&self, namespace: Option<&str>) -> Request {
        Request::new(K::url_path(&(), namespace))
    }

    async fn send<T: DeserializeOwned, E: std::fmt::Display>(
        &self,
        verb: &'static str,
        object: impl Fn() -> String,
        request: Result<http::Request<Vec<u8>>, E>,
    ) -> Result<T, CallError> {
        let request = request.map_err(|e| garbled(verb, object(), &e))?;
        let failed = |cause| CallError {
            verb,
            object: object(),
            cause,
        };
        match tokio::time::timeout(DEADLINE, self.client.request::<T>(request)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(kube::Error::Api(status))) => Err(failed(Cause::Refused(status))),
            Ok(Err(kube::Error::SerdeError(error))) => Err(failed(Cause::Garbled(error.to_string()))),
            Ok(Err(error)) => Err(failed(Cause::Silent(error.to_string()))),
            Err(_) => Err(failed(Cause::Silent("deadline exceeded".into()))),
        }
    }
}

fn garbled(verb: &'static str, object: String, error: &impl std::fmt::Display) -> CallError {
    CallError {
        verb,
        object,
        cause: Cause::Garbled(error.to_string()),
    }
}

fn hash(object: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    serde_json::to_string(object).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// What changes when somebody touches what we apply: the generation where the kind has one, so
/// that its status does not count, and the metadata that we set.
fn fingerprint<K: Object>(live: &K) -> String {
    let meta = live.meta();
    match meta.generation {
        Some(generation) => format!(
            "{:?} {generation} {:?} {:?}",
            meta.uid, meta.labels, meta.owner_references
        ),
        None => format!("{:?} {:?}", meta.uid, meta.resource_version),
    }
}
