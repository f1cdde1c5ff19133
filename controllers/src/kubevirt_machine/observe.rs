//! Reads what a KubevirtMachine refers to and what was made for it. Never writes.

use crate::runtime::api_client::{ApiClient, ApiError, Object};
use capn_api::{
    KubevirtMachine,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster, Machine},
};
use capn_core::cluster_api::cluster_api_owner;
use capn_core::machine::{
    kubevirt::{VirtualMachine, VirtualMachineInstance},
    names,
    view::{View, VmNamespaces},
};
use k8s_openapi::api::core::v1::{Namespace, Secret};
use kube::ResourceExt;
use tokio::try_join;

/// Reads everything of a machine.
pub(crate) async fn observe(
    api: &ApiClient,
    object: &KubevirtMachine,
    allowed: &VmNamespaces,
) -> Result<View, ApiError> {
    let namespace = object.namespace();
    let place = names::vm_namespace(object);
    let name = object.name_any();
    let (machine, vm, vmi, namespace_allowed) = try_join!(
        machine(api, object),
        api.get::<VirtualMachine>(Some(&place), &name),
        api.get::<VirtualMachineInstance>(Some(&place), &name),
        namespace_allowed(api, namespace.as_deref().unwrap_or_default(), &place, allowed),
    )?;
    let owner = names::owner(object);
    let vm = vm.filter(|vm| owner.owns(vm));
    let vmi = vmi.filter(|vmi| owner.clone().indirectly().owns(vmi));
    let cluster_name = machine
        .as_ref()
        .map(|machine| machine.spec.cluster_name.clone())
        .filter(|name| !name.is_empty())
        .or_else(|| object.labels().get(CLUSTER_NAME_LABEL).cloned());
    let data = machine.as_ref().and_then(names::bootstrap_data);
    // Without its Machine, the VM tells the name, or that of the Machine does.
    let user_data = data
        .as_deref()
        .map(names::user_data)
        .or_else(|| vm.as_ref().and_then(names::mounted_user_data))
        .or_else(|| names::owner_machine(object).as_deref().map(names::user_data));
    let (cluster, bootstrap, user_data) = try_join!(
        get::<Cluster>(api, namespace.as_deref(), cluster_name.as_deref()),
        get::<Secret>(api, namespace.as_deref(), data.as_deref()),
        get::<Secret>(api, Some(&place), user_data.as_deref()),
    )?;
    Ok(View {
        machine,
        cluster,
        cluster_name,
        bootstrap,
        user_data,
        vm,
        vmi,
        namespace_allowed,
    })
}

async fn get<K: Object>(api: &ApiClient, namespace: Option<&str>, name: Option<&str>) -> Result<Option<K>, ApiError> {
    match name {
        Some(name) => api.get(namespace, name).await,
        None => Ok(None),
    }
}

/// The Machine that owns the object. An owner reference alone proves nothing: any user may write one.
async fn machine(api: &ApiClient, object: &KubevirtMachine) -> Result<Option<Machine>, ApiError> {
    let Some(owner) = cluster_api_owner(object, "Machine") else {
        return Ok(None);
    };
    let machine: Option<Machine> = api.get(object.namespace().as_deref(), &owner.name).await?;
    Ok(machine.filter(|machine| {
        let reference = &machine.spec.infrastructure_ref;
        machine.uid().as_ref() == Some(&owner.uid)
            && reference.kind == "KubevirtMachine"
            && reference.name == object.name_any()
    }))
}

/// Whether machines of namespace `from` may have VMs in namespace `to`: in their own, or where the
/// manager's flag or a label of the other namespace says so.
async fn namespace_allowed(api: &ApiClient, from: &str, to: &str, allowed: &VmNamespaces) -> Result<bool, ApiError> {
    if from == to || allowed.allow(from, to) {
        return Ok(true);
    }
    let namespace: Option<Namespace> = api.get(None, to).await?;
    Ok(namespace
        .is_some_and(|namespace| namespace.labels().get(names::ALLOW_VMS_LABEL).map(String::as_str) == Some(from)))
}
