//! Where the pods of etcd run.

use super::names::MAX_MEMBERS;
use capn_api::nested_control_plane::{EtcdPodTemplate, PodTemplate};
use k8s_openapi::api::core::v1::TopologySpreadConstraint;

const HOST_NAME: &str = "kubernetes.io/hostname";
const DO_NOT_SCHEDULE: &str = "DoNotSchedule";

/// What etcd's own template leaves out is that of all pods. Unless its own says how members spread, none
/// of them shares a node: with the node two of three would go, and with them the quorum.
pub(super) fn pod_template(all: &PodTemplate, own: Option<EtcdPodTemplate>) -> PodTemplate {
    let own = own.unwrap_or_default();
    let all = all.clone();
    let mut spread = own.topology_spread_constraints;
    if spread.is_empty() {
        spread = all.topology_spread_constraints;
        if !spread.iter().any(keeps_nodes_apart) {
            spread.push(apart());
        }
    }
    let or = |own: Vec<_>, all| if own.is_empty() { all } else { own };
    PodTemplate {
        metadata: own.metadata.or(all.metadata),
        node_selector: if own.node_selector.is_empty() {
            all.node_selector
        } else {
            own.node_selector
        },
        tolerations: or(own.tolerations, all.tolerations),
        affinity: own.affinity.or(all.affinity),
        topology_spread_constraints: spread,
        priority_class_name: own.priority_class_name.or(all.priority_class_name),
        runtime_class_name: own.runtime_class_name.or(all.runtime_class_name),
        containers: Vec::new(),
    }
}

fn keeps_nodes_apart(constraint: &TopologySpreadConstraint) -> bool {
    constraint.topology_key == HOST_NAME && constraint.when_unsatisfiable == DO_NOT_SCHEDULE
}

/// Also for a single member: scaling must not replace a pod.
fn apart() -> TopologySpreadConstraint {
    TopologySpreadConstraint {
        max_skew: 1,
        // With fewer nodes, the least used one counts as empty, and no node takes a second member.
        min_domains: Some(MAX_MEMBERS),
        topology_key: HOST_NAME.into(),
        when_unsatisfiable: DO_NOT_SCHEDULE.into(),
        ..TopologySpreadConstraint::default()
    }
}
