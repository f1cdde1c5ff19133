//! Where Service `default/kubernetes` of a workload cluster leads.

use super::objects::{WorkloadClusterConfig, in_namespace, labels};
use k8s_openapi::{
    api::{
        core::v1::{EndpointAddress, EndpointPort, EndpointSubset, Endpoints},
        discovery::v1 as discovery,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// Endpoints `default/kubernetes`, which conformance wants beside the slice.
pub(super) fn endpoints(facts: &WorkloadClusterConfig<'_>) -> Endpoints {
    Endpoints {
        metadata: ObjectMeta {
            labels: labels(&[("endpointslice.kubernetes.io/skip-mirror", "true")]),
            ..in_namespace("default", "kubernetes")
        },
        subsets: Some(vec![EndpointSubset {
            addresses: Some(vec![EndpointAddress {
                ip: facts.reached.0.to_string(),
                ..EndpointAddress::default()
            }]),
            ports: Some(vec![EndpointPort {
                name: Some("https".into()),
                port: facts.reached.1,
                protocol: Some("TCP".into()),
                ..EndpointPort::default()
            }]),
            ..EndpointSubset::default()
        }]),
    }
}

pub(super) fn endpoint_slice(facts: &WorkloadClusterConfig<'_>) -> discovery::EndpointSlice {
    let (address, port) = facts.reached;
    discovery::EndpointSlice {
        metadata: ObjectMeta {
            labels: labels(&[("kubernetes.io/service-name", "kubernetes")]),
            ..in_namespace("default", "kubernetes")
        },
        address_type: if address.is_ipv4() { "IPv4" } else { "IPv6" }.into(),
        endpoints: Some(vec![discovery::Endpoint {
            addresses: vec![address.to_string()],
            conditions: Some(discovery::EndpointConditions {
                ready: Some(true),
                ..Default::default()
            }),
            ..discovery::Endpoint::default()
        }]),
        ports: Some(vec![discovery::EndpointPort {
            name: Some("https".into()),
            port: Some(port),
            protocol: Some("TCP".into()),
            ..discovery::EndpointPort::default()
        }]),
    }
}
