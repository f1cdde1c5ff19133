//! Step 4: makes the VM and its user data. The VM is made once and never written again: KubeVirt
//! stores its own defaults there, and CSI drivers hot-plug into it.

use crate::runtime::api_client::{ApiClient, ApiError};
use capn_api::{KubevirtMachine, cluster_api::SECRET_TYPE, kubevirt_machine::FINALIZER};
use capn_core::{
    machine::{
        names,
        view::View,
        virtual_machine::{Applied, Objects, Prepared},
    },
    ownership::controller_of,
};
use kube::ResourceExt;
use serde_json::json;
use std::marker::PhantomData;

/// Takes hold of the object before anything is made for it.
pub(crate) async fn ensure_finalizer(api: &ApiClient, object: &KubevirtMachine) -> Result<KubevirtMachine, ApiError> {
    if object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        return Ok(object.clone());
    }
    let finalizers: Vec<_> = object
        .finalizers()
        .iter()
        .map(String::as_str)
        .chain([FINALIZER])
        .collect();
    let patch = json!({"metadata": {"finalizers": finalizers, "resourceVersion": object.resource_version()}});
    api.merge_patch(&patch, object).await
}

/// Makes user data and VM. The VM is never written again. The user data follows the bootstrap data
/// until the guest has run, which the provider ID tells: then neither is made again.
pub(crate) async fn apply(
    api: &ApiClient,
    object: &KubevirtMachine,
    wanted: Objects<Prepared>,
    live: &View,
) -> Result<Objects<Applied>, ApiError> {
    let Objects {
        user_data,
        vm,
        stage: _,
    } = wanted;
    let never_ran = object.spec.provider_id.is_none();
    let owner = names::user_data_owner(object, live.cluster_name.as_deref());
    let written = match (user_data, &live.user_data) {
        (Some(wanted), stored) if never_ran => {
            let secrets = api.dependents(&owner);
            Some(secrets.apply(&wanted, stored.as_ref()).await?)
        }
        (_, stored) => stored.clone(),
    };
    let vm = match (&live.vm, vm) {
        (Some(live), _) => Some(live.clone()),
        (None, Some(vm)) if never_ran => Some(api.dependents(&names::owner(object)).create(&vm).await?),
        (None, _) => None,
    };
    Ok(Objects {
        user_data: written,
        vm,
        stage: PhantomData,
    })
}

/// Records the provider ID and the instance that the guest bootstraps in.
pub(crate) async fn set_provider_id(
    api: &ApiClient,
    object: &KubevirtMachine,
    instance: &str,
) -> Result<KubevirtMachine, ApiError> {
    if object.spec.provider_id.is_some() && object.annotations().contains_key(names::INSTANCE_ANNOTATION) {
        return Ok(object.clone());
    }
    let id = object
        .spec
        .provider_id
        .clone()
        .unwrap_or_else(|| names::provider_id(object));
    let instance = object
        .annotations()
        .get(names::INSTANCE_ANNOTATION)
        .map_or(instance, String::as_str);
    let patch = json!({
        "metadata": {"annotations": {names::INSTANCE_ANNOTATION: instance}},
        "spec": {"providerID": id},
    });
    api.merge_patch(&patch, object).await
}

/// Deletes what was made; returns what is waited for, or None when nothing is left.
pub(crate) async fn delete(api: &ApiClient, object: &KubevirtMachine, live: &View) -> Result<Option<String>, ApiError> {
    // Before the VM, which may be the only one left to know its name.
    if let Some(user_data) = live
        .user_data
        .as_ref()
        .filter(|secret| secret.type_.as_deref() == Some(SECRET_TYPE))
    {
        let owner = names::user_data_owner(object, live.cluster_name.as_deref());
        api.dependents(&owner).delete(user_data).await?;
    }
    let owner = names::owner(object);
    if let Some(vm) = &live.vm {
        api.dependents(&owner).delete(vm).await?;
        return Ok(Some(format!(
            "waiting for VirtualMachine {}/{} to go",
            names::vm_namespace(object),
            vm.name_any()
        )));
    }
    if let Some(vmi) = &live.vmi {
        // One that its VM has left behind is nobody else's to delete.
        if controller_of(vmi).is_none() {
            api.dependents(&owner.indirectly()).delete(vmi).await?;
        }
        return Ok(Some(format!(
            "waiting for VirtualMachineInstance {}/{} to shut down",
            names::vm_namespace(object),
            vmi.name_any()
        )));
    }
    Ok(None)
}
