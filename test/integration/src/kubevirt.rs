//! Plays KubeVirt: a VirtualMachine that is there has an instance that runs and has an address.
//! Nothing runs.

use crate::TestEnv;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde_json::json;
use std::{collections::BTreeSet, time::Duration};
use tokio::task::JoinHandle;

/// Plays until dropped.
#[derive(Debug)]
pub struct KubeVirt(JoinHandle<()>);

impl Drop for KubeVirt {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl KubeVirt {
    /// Address of every guest.
    pub const ADDRESS: &str = "10.1.2.3";

    /// Plays in the namespace of `env`.
    pub fn start(env: &TestEnv) -> Self {
        let (vms, instances) = (env.kubevirt("VirtualMachine"), env.kubevirt("VirtualMachineInstance"));
        Self(tokio::spawn(async move {
            loop {
                // Others write at the same time; what fails is tried again.
                if let Err(kube::Error::Api(status)) = play(&vms, &instances).await
                    && status.is_invalid()
                {
                    eprintln!("the played KubeVirt is refused: {}", status.message);
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }))
    }

    /// Starts the guest of one VirtualMachine, once.
    pub async fn run(env: &TestEnv, vm: &DynamicObject) {
        let (vms, instances) = (env.kubevirt("VirtualMachine"), env.kubevirt("VirtualMachineInstance"));
        start(&vms, &instances, vm).await.expect("an instance");
    }
}

async fn play(vms: &Api<DynamicObject>, instances: &Api<DynamicObject>) -> kube::Result<()> {
    let (wanted, live) = (
        vms.list(&Default::default()).await?,
        instances.list(&Default::default()).await?,
    );
    let names = |list: &[DynamicObject]| list.iter().map(ResourceExt::name_any).collect::<BTreeSet<_>>();
    let (wanted_names, live_names) = (names(&wanted.items), names(&live.items));
    for vm in wanted.items.iter().filter(|vm| !live_names.contains(&vm.name_any())) {
        start(vms, instances, vm).await?;
    }
    for gone in live_names.difference(&wanted_names) {
        instances.delete(gone, &DeleteParams::default()).await?;
    }
    Ok(())
}

async fn start(vms: &Api<DynamicObject>, instances: &Api<DynamicObject>, vm: &DynamicObject) -> kube::Result<()> {
    let name = vm.name_any();
    let instance = json!({
        "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachineInstance",
        "metadata": {
            "name": name, "labels": vm.data["spec"]["template"]["metadata"]["labels"],
            "ownerReferences": [{
                "apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "name": name, "uid": vm.uid(), "controller": true,
            }],
        },
        "spec": {"domain": {"devices": {}}},
        "status": {"phase": "Running", "interfaces": [
            {"name": "default", "ipAddress": KubeVirt::ADDRESS, "ipAddresses": [KubeVirt::ADDRESS]},
        ]},
    });
    let params = PatchParams::apply("kubevirt").force();
    instances.patch(&name, &params, &Patch::Apply(&instance)).await?;
    let status = json!({"status": {"printableStatus": "Running", "created": true, "ready": true}});
    vms.patch_status(&name, &PatchParams::default(), &Patch::Merge(&status))
        .await?;
    Ok(())
}
