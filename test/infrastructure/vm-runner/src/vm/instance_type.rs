//! Instance types: the general-purpose series of KubeVirt's common-instancetypes, so that machines that name one run. Pure.
//!
//! In: a machine. Out: the machine with the CPU and memory of its instance type, or why there is none. Preferences are accepted
//! and have no effect.

use serde_json::{Value, json};

use crate::api::VirtualMachine;
use crate::vm::status::Failure;

/// Name, vCPUs, memory.
const KNOWN: [(&str, u32, &str); 9] = [
    ("u1.nano", 1, "512Mi"),
    ("u1.micro", 1, "1Gi"),
    ("u1.small", 1, "2Gi"),
    ("u1.medium", 1, "4Gi"),
    ("u1.2xmedium", 2, "4Gi"),
    ("u1.large", 2, "8Gi"),
    ("u1.xlarge", 4, "16Gi"),
    ("u1.2xlarge", 8, "32Gi"),
    ("u1.4xlarge", 16, "64Gi"),
];
const CLUSTER_KINDS: [&str; 3] = [
    "",
    "virtualmachineclusterinstancetype",
    "virtualmachineclusterinstancetypes",
];
const NAMESPACED_KINDS: [&str; 2] = ["virtualmachineinstancetype", "virtualmachineinstancetypes"];

/// The machine as its instance type completes it.
pub fn expand(vm: &VirtualMachine) -> Result<VirtualMachine, Failure> {
    let mut expanded = vm.clone();
    let Some(matcher) = vm.spec.rest.get("instancetype").filter(|matcher| matcher.is_object()) else {
        return Ok(expanded);
    };
    let text = |key: &str| matcher.get(key).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("kind").to_lowercase(), text("name"));
    let plural = if CLUSTER_KINDS.contains(&kind.as_str()) {
        "virtualmachineclusterinstancetypes"
    } else if NAMESPACED_KINDS.contains(&kind.as_str()) {
        "virtualmachineinstancetypes"
    } else {
        let message = format!("got unexpected kind in InstancetypeMatcher: {}", text("kind"));
        return Err(Failure::no_instance_type(message));
    };
    let known = KNOWN
        .iter()
        .find(|(known, ..)| *known == name && plural.contains("cluster"));
    let Some((_, cpus, memory)) = known else {
        let message = format!("{plural}.instancetype.kubevirt.io \"{name}\" not found");
        return Err(Failure::no_instance_type(message));
    };
    let domain = expanded.spec.template.spec.entry("domain").or_insert_with(|| json!({}));
    domain["cpu"]["sockets"] = json!(cpus);
    domain["memory"]["guest"] = json!(memory);
    Ok(expanded)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn expanded(matcher: Value) -> Result<VirtualMachine, Failure> {
        let vm = json!({"apiVersion": "kubevirt.io/v1", "kind": "VirtualMachine", "metadata": {"name": "a"},
            "spec": {"instancetype": matcher, "template": {"spec": {"domain": {"devices": {}}}}}});
        expand(&serde_json::from_value(vm).unwrap())
    }

    #[test]
    fn a_known_instance_type_decides_cpu_and_memory() {
        let vm = expanded(json!({"name": "u1.large"})).unwrap();
        let domain = &vm.spec.template.spec["domain"];
        assert_eq!(
            (&domain["cpu"]["sockets"], &domain["memory"]["guest"]),
            (&json!(2), &json!("8Gi"))
        );
        assert_eq!(
            expanded(Value::Null).unwrap().spec.template.spec["domain"],
            json!({"devices": {}})
        );
    }

    #[test]
    fn an_unknown_one_is_a_failure() {
        let failure = expanded(json!({"name": "x9.huge"})).unwrap_err();
        assert_eq!(failure.reason, "FailedFindInstancetype");
        assert!(failure.message.contains("\"x9.huge\" not found"), "{}", failure.message);
        assert!(expanded(json!({"name": "u1.large", "kind": "VirtualMachineInstancetype"})).is_err());
    }
}
