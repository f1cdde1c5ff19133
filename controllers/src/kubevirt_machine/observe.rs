//! Step 1: reads what a KubevirtMachine refers to and what was made for it. Never writes.

use super::kubevirt::{VirtualMachine, VirtualMachineInstance};
use super::names;
use crate::calls::{CallError, Calls};
use capn_api::{
    KubevirtMachine,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster, Machine},
};
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use tokio::try_join;

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed {
    pub(crate) machine: Option<Machine>,
    pub(crate) cluster: Option<Cluster>,
    /// Bootstrap data, once the Machine names it.
    pub(crate) bootstrap: Option<Secret>,
    /// What was made of it for the VM.
    pub(crate) user_data: Option<Secret>,
    pub(crate) vm: Option<VirtualMachine>,
    pub(crate) vmi: Option<VirtualMachineInstance>,
}

/// Reads everything of a machine.
pub(crate) async fn observe(calls: &Calls, object: &KubevirtMachine) -> Result<Observed, CallError> {
    let namespace = object.namespace();
    let place = names::vm_namespace(object);
    let name = object.name_any();
    let (machine, vm, vmi) = try_join!(
        async {
            match names::owner_machine(object) {
                Some(name) => calls.get::<Machine>(namespace.as_deref(), &name).await,
                None => Ok(None),
            }
        },
        calls.get::<VirtualMachine>(Some(&place), &name),
        calls.get::<VirtualMachineInstance>(Some(&place), &name),
    )?;
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
        async {
            match &cluster_name {
                Some(name) => calls.get::<Cluster>(namespace.as_deref(), name).await,
                None => Ok(None),
            }
        },
        async {
            match &data {
                Some(name) => calls.get::<Secret>(namespace.as_deref(), name).await,
                None => Ok(None),
            }
        },
        async {
            match &user_data {
                Some(name) => calls.get::<Secret>(Some(&place), name).await,
                None => Ok(None),
            }
        },
    )?;
    Ok(Observed {
        machine,
        cluster,
        bootstrap,
        user_data,
        vm,
        vmi,
    })
}
