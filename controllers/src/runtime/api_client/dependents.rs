//! Writes of the objects that belong to an owner, after the one check whether they do.

use super::{ApiClient, ApiError, Applied, Cause, Object, describe};
use capn_core::ownership::Owner;
use k8s_openapi::serde::Serialize;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The objects of one owner in the management cluster. Nothing that belongs to somebody else is
/// written, adopted or deleted.
#[derive(Clone, Copy)]
pub struct Dependents<'a> {
    api: &'a ApiClient,
    owner: &'a Owner,
}

impl ApiClient {
    /// The dependents of `owner`.
    pub fn dependents<'a>(&'a self, owner: &'a Owner) -> Dependents<'a> {
        Dependents { api: self, owner }
    }

    /// Applies an object whose name is reserved for us by contract, such as those that kubeadm would
    /// write in a workload cluster: there is nobody else whose object it could be.
    pub async fn apply_reserved<K: Object>(&self, wanted: &K) -> Result<K, ApiError> {
        self.apply(wanted, true).await
    }

    /// Creates an object whose name is reserved for us by contract, and leaves it alone where it
    /// exists.
    pub async fn create_reserved<K: Object>(&self, wanted: &K) -> Result<(), ApiError> {
        match self.post(wanted).await {
            Err(error) if !error.is_already_exists() => Err(error),
            _ => Ok(()),
        }
    }

    async fn apply<K: Object>(&self, wanted: &K, force: bool) -> Result<K, ApiError> {
        let (namespace, name) = (wanted.namespace(), wanted.name_any());
        let params = PatchParams {
            force,
            ..PatchParams::apply(self.manager).validation_strict()
        };
        let request = self
            .request::<K>(namespace.as_deref())
            .patch(&name, &params, &Patch::Apply(wanted));
        self.send::<K, _, _>("apply", || describe::<K>(namespace.as_deref(), &name), request)
            .await
    }

    async fn post<K: Object>(&self, wanted: &K) -> Result<K, ApiError> {
        let namespace = wanted.namespace();
        let object = || describe::<K>(namespace.as_deref(), &wanted.name_any());
        let body = serde_json::to_vec(wanted).map_err(|error| super::undecodable("create", object(), &error))?;
        let request = self
            .request::<K>(namespace.as_deref())
            .create(&self.post_params(), body);
        self.send::<K, _, _>("create", object, request).await
    }

    fn post_params(&self) -> PostParams {
        PostParams {
            field_manager: Some(self.manager.to_owned()),
            ..PostParams::default()
        }
    }
}

impl<'a> Dependents<'a> {
    /// The owner.
    pub fn owner(self) -> &'a Owner {
        self.owner
    }

    /// The client that reads.
    pub fn api(self) -> &'a ApiClient {
        self.api
    }

    /// Applies what we want of an object. Sends nothing when the same was applied before and `live`,
    /// the object as it was just read, has not changed since.
    ///
    /// # Errors
    /// [`Cause::NameTaken`] when the object belongs to somebody else.
    pub async fn apply<K: Object>(&self, wanted: &K, live: Option<&K>) -> Result<K, ApiError> {
        let (namespace, name) = (wanted.namespace(), wanted.name_any());
        let key = describe::<K>(namespace.as_deref(), &name);
        let intent = hash(wanted);
        let found = match live {
            Some(_) => None,
            // Dependents are found by label: what is not found may have lost it, or be foreign.
            None => self.api.get::<K>(namespace.as_deref(), &name).await?,
        };
        let live = live.or(found.as_ref());
        if let Some(live) = live {
            self.check("apply", live)?;
            let known = self.api.applied().get(&key).cloned();
            if known.is_some_and(|known| known.intent == intent && known.live == fingerprint(live)) {
                return Ok(live.clone());
            }
        }
        // Force takes fields back from whoever edited our object. Nothing is to be taken from an
        // object that somebody else creates in this moment.
        let mut bound = wanted.clone();
        // With a UID, it is this very object that is written, or none: not one that took its place.
        bound.meta_mut().uid = live.and_then(ResourceExt::uid);
        let reply = match self.api.apply(&bound, live.is_some()).await {
            Err(error) if live.is_none() && error.is_conflict() => return Err(self.name_taken("apply", key)),
            reply => reply?,
        };
        let known = Applied {
            intent,
            live: fingerprint(&reply),
            owner: self.owner.uid().to_owned(),
        };
        self.api.applied().insert(key, known);
        Ok(reply)
    }

    /// Creates an object. If one of ours is there already, that one is returned.
    ///
    /// # Errors
    /// [`Cause::NameTaken`] when the object that is there belongs to somebody else.
    pub async fn create<K: Object>(&self, wanted: &K) -> Result<K, ApiError> {
        let (namespace, name) = (wanted.namespace(), wanted.name_any());
        match self.api.post(wanted).await {
            Err(error) if error.is_already_exists() => {
                let live = self.api.get(namespace.as_deref(), &name).await?.ok_or(error)?;
                self.check("create", &live)?;
                Ok(live)
            }
            other => other,
        }
    }

    /// Replaces `live` by `wanted`, unless somebody changed it meanwhile.
    ///
    /// # Errors
    /// [`Cause::NameTaken`] when `live` belongs to somebody else.
    pub async fn replace<K: Object>(&self, live: &K, mut wanted: K) -> Result<K, ApiError> {
        self.check("update", live)?;
        wanted.meta_mut().resource_version = live.resource_version();
        wanted.meta_mut().uid = live.uid();
        let (namespace, name) = (live.namespace(), live.name_any());
        let object = || describe::<K>(namespace.as_deref(), &name);
        let body = serde_json::to_vec(&wanted).map_err(|error| super::undecodable("update", object(), &error))?;
        let request = self
            .api
            .request::<K>(namespace.as_deref())
            .replace(&name, &self.api.post_params(), body);
        self.api.send::<K, _, _>("update", object, request).await
    }

    /// Deletes this very object, dependents in the background. Fine when it is gone already; leaves
    /// alone what belongs to somebody else.
    pub async fn delete<K: Object>(&self, live: &K) -> Result<(), ApiError> {
        if live.meta().deletion_timestamp.is_some() || !self.owner.owns(live) {
            return Ok(());
        }
        let (namespace, name) = (live.namespace(), live.name_any());
        self.api.applied().remove(&describe::<K>(namespace.as_deref(), &name));
        let params = DeleteParams::background().preconditions(Preconditions {
            uid: live.uid(),
            resource_version: None,
        });
        let request = self.api.request::<K>(namespace.as_deref()).delete(&name, &params);
        let object = || describe::<K>(namespace.as_deref(), &name);
        match self
            .api
            .send::<K, serde_json::Value, _>("delete", object, request)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    fn check<K: Object>(&self, verb: &'static str, live: &K) -> Result<(), ApiError> {
        if self.owner.owns(live) {
            return Ok(());
        }
        let object = describe::<K>(live.namespace().as_deref(), &live.name_any());
        Err(self.name_taken(verb, object))
    }

    fn name_taken(&self, verb: &'static str, object: String) -> ApiError {
        let owner = self.owner.to_string();
        ApiError {
            verb,
            object,
            cause: Cause::NameTaken { owner },
        }
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
