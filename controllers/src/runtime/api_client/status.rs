//! Writes of a status, which must never replace a newer one.

use super::{ApiClient, ApiError, Object, describe};
use k8s_openapi::serde::Serialize;
use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::object::HasStatus,
};

/// How often a status is written again after somebody wrote to its object meanwhile.
const STATUS_TRIES: u32 = 5;

impl ApiClient {
    /// Applies the whole status of an object where it differs from what it has, and returns it; fine
    /// when the object is gone. What follows from an old status must not replace a newer one: when
    /// somebody wrote to the object since `live` was read, it is read again and `status` asked again.
    pub async fn apply_status<K>(&self, live: &K, status: impl Fn(&K) -> K::Status) -> Result<K::Status, ApiError>
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
    async fn read_again<K: Object>(&self, live: &K) -> Result<Option<K>, ApiError> {
        let (namespace, name) = (live.namespace(), live.name_any());
        let params = ListParams::default().fields(&format!("metadata.name={name}"));
        let object = || describe::<K>(namespace.as_deref(), &name);
        let found: Vec<K> = self.list_with(namespace.as_deref(), &params, object).await?;
        Ok(found.into_iter().find(|found| found.uid() == live.uid()))
    }

    /// Applies these fields as our part of an object's status, whatever else has changed. The caller
    /// compares first.
    pub async fn put_fields_of_status<K: Object>(&self, live: &K, fields: &impl Serialize) -> Result<(), ApiError> {
        self.put_part_of_status(live, None, fields).await
    }

    async fn put_part_of_status<K: Object>(
        &self,
        live: &K,
        version: Option<String>,
        status: &impl Serialize,
    ) -> Result<(), ApiError> {
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
            .send::<K, serde_json::Value, _>("write the status of", object, request)
            .await
        {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}
