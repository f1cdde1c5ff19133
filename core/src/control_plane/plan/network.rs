//! What gives addresses: the API server's Service, and what the datastore needs.

use super::answers::{Answers, Purpose, Wave};
use super::writes::{Writes, Written};
use super::{Action, Object};
use crate::control_plane::{desired::DesiredControlPlane, error::Error, objects, view::View};
use crate::datastore;
use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;
use std::net::IpAddr;

/// Where the control plane is reached as it is now.
#[derive(Debug)]
pub(super) struct Network {
    /// The API server's Service.
    pub(super) api_server: Service,
    /// The datastore's address; `None` while it has none.
    pub(super) datastore: Option<IpAddr>,
}

pub(super) fn wave(desired: &DesiredControlPlane, view: &View) -> Wave {
    let service = Action::apply(objects::api_server_service(desired), &view.api_server_service);
    let datastore = datastore::network(desired, view).into_iter().enumerate();
    let datastore = datastore.map(|(at, action)| (Purpose::DatastoreNetwork(at), action));
    [(Purpose::ApiServerService, service)]
        .into_iter()
        .chain(datastore)
        .collect()
}

/// What the first wave has left, while the second lets Services that cannot have the address that they had have
/// another. Where workers hold the address of the API server, its Service waits for it instead: with another one it
/// would be of no use.
#[derive(Debug, Default)]
pub(super) struct Found(Written);

impl Found {
    /// What came of the first wave, and the next one.
    pub(super) fn first(
        writes: Writes,
        answers: &mut Answers,
        desired: &DesiredControlPlane,
        refused: &mut Vec<Error>,
    ) -> Result<(Self, Wave), Error> {
        let (mut found, mut wave) = (Self::default(), Wave::new());
        for (of, action, reply) in writes.replies(answers, refused) {
            let error = match reply {
                Ok(object) => {
                    found.0.extend(object.map(|object| (of, object)));
                    continue;
                }
                Err(error) if !error.is_invalid() => return Err(error.into()),
                Err(error) => error,
            };
            let of_api_server = of == Purpose::ApiServerService;
            if of_api_server && desired.endpoint.given.is_published(&desired.endpoint) {
                let service = objects::api_server_service(desired);
                let endpoint = desired.endpoint.fixed.iter();
                let endpoint: String = endpoint.map(|at| format!("{}:{}", at.host, at.port)).collect();
                refused.push(Error::EndpointLost(format!(
                    "workers and kubeconfigs hold {endpoint}, which Service {}/{} cannot have again: {error}",
                    desired.namespace,
                    service.name_any(),
                )));
                found.0.insert(of, service.into());
                continue;
            }
            let node_port = desired.endpoint.node_port.filter(|_| of_api_server);
            wave.push((of, anywhere(action, node_port).ok_or(error)?));
        }
        Ok((found, wave))
    }

    /// What came of the second wave. `None` when the API server's Service is still missing.
    pub(super) fn second(
        self,
        again: Writes,
        answers: &mut Answers,
        refused: &mut Vec<Error>,
    ) -> Result<Option<Network>, Error> {
        let mut found = self.0;
        found.extend(again.written(answers, refused)?);
        let Some(Object::Service(api_server)) = found.remove(&Purpose::ApiServerService) else {
            return Ok(None);
        };
        Ok(Some(Network {
            api_server: *api_server,
            datastore: datastore::address(found.values()),
        }))
    }
}

/// The same write of a Service that asks for an address or a node port, whatever address it gets, and whatever node
/// port if a user chose none.
fn anywhere(action: Action, node_port: Option<i32>) -> Option<Action> {
    let Action::Apply {
        wanted: Object::Service(mut service),
        ..
    } = action
    else {
        return None;
    };
    let before = service.clone();
    let spec = service.spec.as_mut()?;
    if spec.cluster_ip.as_deref() != Some("None") {
        spec.cluster_ip = None;
    }
    for port in spec.ports.iter_mut().flatten() {
        port.node_port = node_port;
    }
    (service != before).then_some(Action::Apply {
        wanted: Object::Service(service),
        live: None,
    })
}
