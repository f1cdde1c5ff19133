//! Services and what etcd starts with: what gives addresses, and what pods need to start.

use super::Action;
use super::answers::{Answers, Purpose, Wave};
use super::provision::keep_if_refused;
use crate::control_plane::{desired::Tenant, error::Error, objects, view::View};
use k8s_openapi::api::core::v1::{ConfigMap, Service};
use kube::ResourceExt;

/// The Services of a control plane as they are now.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) api_server: Service,
    pub(super) etcd: Service,
}

pub(super) fn wave(tenant: &Tenant, view: &View) -> Wave {
    let objects::Network {
        api_server,
        etcd,
        etcd_peers,
        etcd_config,
    } = objects::network(tenant);
    let live = &view.services;
    let service = |wanted: Service, live: &Option<Service>| Action::Apply {
        wanted: wanted.into(),
        live: live.clone().map(Into::into),
    };
    let mut wave = vec![
        (Purpose::ApiServerService, service(api_server, &live.api_server)),
        (Purpose::EtcdService, service(etcd, &live.etcd)),
        (Purpose::EtcdPeers, service(etcd_peers, &live.etcd_peers)),
    ];
    wave.extend(config(etcd_config, view.etcd_config.as_ref()).map(|action| (Purpose::EtcdConfig, action)));
    wave
}

/// What a member with an empty volume is told is written over nothing but what was read: a pass that knows
/// less must not tell it to found another cluster.
fn config(wanted: ConfigMap, live: Option<&ConfigMap>) -> Option<Action> {
    let Some(live) = live else {
        return Some(Action::Apply {
            wanted: wanted.into(),
            live: None,
        });
    };
    let mut kept = live.clone();
    kept.labels_mut().extend(wanted.metadata.labels.unwrap_or_default());
    kept.metadata.owner_references = wanted.metadata.owner_references;
    kept.data = wanted.data;
    (kept != *live).then(|| Action::Replace {
        live: live.clone().into(),
        wanted: kept.into(),
    })
}

/// Services that cannot have the address that they had, and the wave that lets them have another. Where
/// workers hold the address of the API server, its Service waits for it instead: with another one it
/// would be of no use.
#[derive(Debug, Default)]
pub(super) struct Found {
    api_server: Option<Service>,
    etcd: Option<Service>,
}

impl Found {
    /// What came of the first wave, and the next one.
    pub(super) fn first(
        answers: &mut Answers,
        tenant: &Tenant,
        view: &View,
        refused: &mut Vec<Error>,
    ) -> Result<(Self, Wave), Error> {
        // Built anew only where a Service is refused.
        let wanted = || objects::network(tenant);
        let (mut found, mut wave) = (Self::default(), Wave::new());
        let anew = |service: Service, node_port| Action::Apply {
            wanted: anywhere(service, node_port).into(),
            live: None,
        };
        let reply = answers.object::<Service>(Purpose::ApiServerService);
        match keep_if_refused(reply, view.services.api_server.as_ref(), refused) {
            Err(error) if error.is_invalid() && tenant.endpoint.given.is_published(&tenant.endpoint) => {
                let api_server = wanted().api_server;
                let endpoint = tenant.endpoint.fixed.iter();
                let endpoint: String = endpoint.map(|at| format!("{}:{}", at.host, at.port)).collect();
                refused.push(Error::EndpointLost(format!(
                    "workers and kubeconfigs hold {endpoint}, which Service {}/{} cannot have again: {error}",
                    tenant.namespace,
                    api_server.name_any(),
                )));
                found.api_server = Some(api_server);
            }
            Err(error) if error.is_invalid() => {
                wave.push((
                    Purpose::ApiServerService,
                    anew(wanted().api_server, tenant.endpoint.node_port),
                ));
            }
            reply => found.api_server = reply?,
        }
        let reply = answers.object::<Service>(Purpose::EtcdService);
        match keep_if_refused(reply, view.services.etcd.as_ref(), refused) {
            Err(error) if error.is_invalid() => wave.push((Purpose::EtcdService, anew(wanted().etcd, None))),
            reply => found.etcd = reply?,
        }
        let reply = answers.object::<Service>(Purpose::EtcdPeers);
        keep_if_refused(reply, view.services.etcd_peers.as_ref(), refused)?;
        answers.done(Purpose::EtcdConfig)?;
        Ok((found, wave))
    }

    /// What came of the second wave. `None` when a Service is still missing.
    pub(super) fn second(mut self, answers: &mut Answers) -> Result<Option<Services>, Error> {
        let (api_server, etcd) = (
            answers.object(Purpose::ApiServerService)?,
            answers.object(Purpose::EtcdService)?,
        );
        self.api_server = self.api_server.or(api_server);
        self.etcd = self.etcd.or(etcd);
        Ok(self
            .api_server
            .zip(self.etcd)
            .map(|(api_server, etcd)| Services { api_server, etcd }))
    }
}

/// The same Service, whatever address it gets, and whatever node port if a user chose none.
fn anywhere(mut service: Service, node_port: Option<i32>) -> Service {
    if let Some(spec) = &mut service.spec {
        spec.cluster_ip = None;
        for port in spec.ports.iter_mut().flatten() {
            port.node_port = node_port;
        }
    }
    service
}
