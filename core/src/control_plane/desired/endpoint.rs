//! How the API server is published, and what its Services had before.

use super::{ValidateError, host};
use crate::host::Host;
use capn_api::{
    NestedControlPlane,
    cluster_api::Cluster,
    common::ApiEndpoint,
    nested_control_plane::{DEFAULT_PORT, EndpointType},
};
use k8s_openapi::api::core::v1::Service;
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, net::IpAddr};

/// How the API server is published.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint {
    /// Type of the Service.
    pub type_: EndpointType,
    /// Host that a user chose.
    pub host: Option<Host>,
    /// Port of the Service.
    pub service_port: i32,
    /// Node port that a user chose.
    pub node_port: Option<i32>,
    /// Annotations of the Service.
    pub annotations: BTreeMap<String, String>,
    /// Class of the load balancer.
    pub load_balancer_class: Option<String>,
    /// Where pods and nodes of the workload cluster reach the API server, if a user said so.
    pub advertise_address: Option<IpAddr>,
    /// What workers hold already, or a user's own endpoint: it wins over everything.
    pub fixed: Option<ApiEndpoint>,
    /// What Services that have to be made anew had before.
    pub given: Given,
}

/// What the management cluster gave to the Services. It is stored, and asked for again when a Service
/// has to be made anew: workers, kubeconfigs and pods hold it.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Given {
    /// Cluster IP of the API server's Service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_server: Option<IpAddr>,
    /// Node port of the API server's Service, with type NodePort.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_port: Option<i32>,
    /// Where API servers reach the datastore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datastore: Option<IpAddr>,
}

impl Given {
    /// What these Services have.
    pub fn to(endpoint: &Endpoint, api_server: Option<&Service>, datastore: Option<IpAddr>) -> Self {
        let by_port = endpoint.type_ == EndpointType::NodePort;
        Self {
            api_server: api_server.and_then(cluster_ip),
            node_port: api_server.and_then(node_port).filter(|_| by_port),
            datastore,
        }
    }

    /// What to ask for, when these Services are there.
    pub fn missing(self, api_server: Option<&Service>, datastore: Option<&Service>) -> Self {
        Self {
            api_server: self.api_server.filter(|_| api_server.is_none()),
            node_port: self.node_port.filter(|_| api_server.is_none()),
            datastore: self.datastore.filter(|_| datastore.is_none()),
        }
    }

    /// Whether workers hold the address or the port of the API server's Service.
    pub fn is_published(self, endpoint: &Endpoint) -> bool {
        let Some(fixed) = &endpoint.fixed else { return false };
        let host = fixed.host.parse::<Host>().ok().and_then(|host| host.address());
        (host.is_some() && self.api_server == host)
            || (endpoint.type_ == EndpointType::NodePort && self.node_port == Some(fixed.port))
    }
}

/// Cluster IP of a Service.
pub fn cluster_ip(service: &Service) -> Option<IpAddr> {
    service.spec.as_ref()?.cluster_ip.as_deref()?.parse().ok()
}

/// Node port of a Service.
pub fn node_port(service: &Service) -> Option<i32> {
    service.spec.as_ref()?.ports.as_ref()?.first()?.node_port
}

pub(super) fn endpoint(ncp: &NestedControlPlane, cluster: &Cluster) -> Result<Endpoint, ValidateError> {
    let given = ncp.spec.endpoint.clone().unwrap_or_default();
    let users = cluster
        .spec
        .control_plane_endpoint
        .as_ref()
        .and_then(|endpoint| endpoint.complete());
    let fixed = users.or_else(|| ncp.spec.control_plane_endpoint.clone().filter(ApiEndpoint::is_valid));
    let asked = given
        .port
        .or(cluster.spec.cluster_network.api_server_port)
        .unwrap_or(DEFAULT_PORT);
    let node_port = (given.type_ == EndpointType::NodePort).then_some(given.port).flatten();
    Ok(Endpoint {
        type_: given.type_,
        host: given.host.map(|name| host("spec.endpoint.host", &name)).transpose()?,
        service_port: match (given.type_, &fixed) {
            (EndpointType::NodePort, _) => DEFAULT_PORT,
            (_, Some(fixed)) => fixed.port,
            (_, None) => asked,
        },
        node_port,
        annotations: given.annotations,
        load_balancer_class: given.load_balancer_class,
        advertise_address: given.advertise_address.and_then(|address| address.parse().ok()),
        fixed,
        given: Given::default(),
    })
}
