//! The instance that a `VirtualMachine` starts. Pure.

use std::collections::BTreeMap;

use kube::Resource;
use kube::api::ObjectMeta;

use crate::api::{
    CONTROLLER_FINALIZER, FOREGROUND_FINALIZER, GENERATION_ANNOTATION, VirtualMachine, VirtualMachineInstance,
    VirtualMachineInstanceSpec,
};
use crate::vm::instance_type;
use crate::vm::status::Failure;

/// Same name; labels and annotations only from the template. Or why there is none.
pub fn instance(vm: &VirtualMachine) -> Result<VirtualMachineInstance, Failure> {
    let vm = &instance_type::expand(vm)?;
    if !vm.spec.data_volume_templates.is_empty() {
        return Err(Failure::no_data_volumes());
    }
    let template = vm.spec.template.metadata.clone().unwrap_or_default();
    let mut annotations: BTreeMap<String, String> = template.annotations.unwrap_or_default();
    annotations.insert(
        GENERATION_ANNOTATION.into(),
        vm.metadata.generation.unwrap_or_default().to_string(),
    );
    annotations.insert("kubevirt.io/latest-observed-api-version".into(), "v1".into());
    annotations.insert("kubevirt.io/storage-observed-api-version".into(), "v1".into());
    let spec = VirtualMachineInstanceSpec {
        fields: vm.spec.template.spec.clone(),
    };
    let mut vmi = VirtualMachineInstance::new(vm.metadata.name.as_deref().unwrap_or_default(), spec);
    vmi.metadata = ObjectMeta {
        name: vm.metadata.name.clone(),
        namespace: vm.metadata.namespace.clone(),
        labels: template.labels,
        annotations: Some(annotations),
        finalizers: Some(vec![CONTROLLER_FINALIZER.into(), FOREGROUND_FINALIZER.into()]),
        owner_references: vm.controller_owner_ref(&()).map(|owner| vec![owner]),
        ..ObjectMeta::default()
    };
    Ok(vmi)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn labels_of_the_machine_itself_stay_behind() {
        let vm: VirtualMachine =
            serde_json::from_value(json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "generation": 2, "labels": {"own": "1"}},
            "spec": {"template": {"metadata": {"labels": {"from": "template"}}, "spec": {"domain": {"x": 1}}}}}))
            .unwrap();
        let vmi = instance(&vm).unwrap();
        assert_eq!(
            vmi.metadata.labels.unwrap().into_iter().collect::<Vec<_>>(),
            [("from".to_owned(), "template".to_owned())]
        );
        assert_eq!(vmi.metadata.annotations.unwrap()[GENERATION_ANNOTATION], "2");
        assert_eq!(vmi.metadata.owner_references.unwrap()[0].uid, "u");
        assert_eq!(vmi.spec.fields["domain"]["x"], 1);
    }
}
