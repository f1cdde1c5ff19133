//! KubevirtCluster: the infrastructure of a Cluster. Beside a NestedControlPlane there is nothing
//! to make: the control plane publishes the endpoint, and this object is provisioned once the
//! Cluster has it.

mod mirror;

use crate::runtime::api_client::ApiError;
use crate::runtime::controller::{Context, ReconcileError, Scope, reference, release, requeue_at};
use capn_api::{
    KubevirtCluster,
    cluster_api::{CLUSTER_NAME_LABEL, Cluster, MANAGED_BY_ANNOTATION},
    kubevirt_cluster::FINALIZER,
};
use capn_core::{
    cluster::{
        desired,
        status::{self, Outcome},
    },
    cluster_api::{cluster_owner, paused},
    ownership::Owner,
};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Service;
use kube::{
    Client, ResourceExt,
    runtime::{controller::Action, events::EventType, reflector::ObjectRef},
};
use std::sync::Arc;
use tokio::sync::watch;

/// Name of the controller, and its field manager.
const NAME: &str = "capk-kubevirt-cluster";

/// Label for the UID of a KubevirtCluster on what belongs to it; nothing of this release does.
const UID_LABEL: &str = "capk.cluster.x-k8s.io/kubevirt-cluster-uid";

/// Runs the controller until shutdown.
pub async fn run(client: Client, scope: Scope, shutdown: watch::Receiver<bool>) {
    let context = Arc::new(Context::new(client.clone(), NAME));
    let controller = crate::runtime::watch::controller::<KubevirtCluster>(&scope, &client);
    let store = controller.store();
    let controller = controller.watches_stream(
        crate::runtime::watch::changes::<Cluster>(&scope, &client),
        move |cluster: Cluster| {
            let (namespace, name) = (cluster.namespace(), cluster.name_any());
            let ours = |object: &&Arc<KubevirtCluster>| {
                object.namespace() == namespace
                    && cluster_owner(object.as_ref()).is_some_and(|owner| owner.name == name)
            };
            store
                .state()
                .iter()
                .filter(ours)
                .map(|o| ObjectRef::from_obj(o.as_ref()))
                .collect::<Vec<_>>()
        },
    );
    crate::runtime::controller::run(controller, context, shutdown, reconcile).await;
}

/// Lets go of the object, after what the Go provider made for it; returns what is waited for.
async fn delete(ctx: &Context, object: &KubevirtCluster) -> Result<Option<String>, ApiError> {
    if let Some(reference) = &object.spec.infra_cluster_secret_ref {
        return Ok(Some(format!(
            "infrastructure may be left in the cluster of Secret {}, which this release cannot reach: delete the Service of the control plane there, then remove the finalizer {FINALIZER} from this object",
            reference.name.as_deref().unwrap_or_default()
        )));
    }
    if let Some(owner) = cluster_owner(object) {
        let template = object.spec.control_plane_service_template.as_ref();
        let asked = template.and_then(|template| template.metadata.as_ref()?.namespace.clone());
        // In another namespace, a name and a label prove nothing.
        if asked.is_none_or(|asked| Some(asked) == object.namespace()) {
            let name = format!("{}-lb", owner.name);
            let service: Option<Service> = ctx.api.get(object.namespace().as_deref(), &name).await?;
            if let Some(service) = service.filter(|service| leads_to_machines(service, &owner.name)) {
                let labels = [(CLUSTER_NAME_LABEL.to_owned(), owner.name.clone())].into();
                let owner = Owner::new(object, UID_LABEL).or_labelled(labels);
                ctx.api.dependents(&owner).delete(&service).await?;
            }
        }
    }
    release(ctx, object, FINALIZER).await?;
    Ok(None)
}

/// Whether a Service is the one that the Go provider makes for control planes in VMs.
fn leads_to_machines(service: &Service, cluster: &str) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    selector.is_some_and(|selector| {
        selector.get("cluster.x-k8s.io/role").map(String::as_str) == Some("control-plane")
            && selector.get(CLUSTER_NAME_LABEL).map(String::as_str) == Some(cluster)
    })
}

/// One pass over a KubevirtCluster.
async fn reconcile(object: Arc<KubevirtCluster>, ctx: Arc<Context>) -> Result<Action, ReconcileError> {
    let now = Timestamp::now();
    let failed = |error: ApiError| ReconcileError::from(&error);
    let cluster: Option<Cluster> = match cluster_owner(object.as_ref()) {
        Some(owner) => ctx
            .api
            .get(object.namespace().as_deref(), &owner.name)
            .await
            .map_err(failed)?,
        None => None,
    };
    if object.annotations().contains_key(MANAGED_BY_ANNOTATION) && object.metadata.deletion_timestamp.is_none() {
        mirror::mirror(&ctx.api, &object).await.map_err(failed)?;
        return Ok(requeue_at(None, now, &ObjectRef::from_obj(object.as_ref()).to_string()));
    }
    let outcome = if let Some(why) = paused(object.as_ref(), cluster.as_ref()) {
        Outcome::Paused(why)
    } else if object.metadata.deletion_timestamp.is_some() {
        match delete(&ctx, object.as_ref()).await.map_err(failed)? {
            Some(waiting) => Outcome::Deleting(waiting),
            None => return Ok(Action::await_change()),
        }
    } else {
        match cluster {
            None => Outcome::NoCluster,
            Some(cluster) => match desired::validate(&object, &cluster) {
                Ok(desired::Infrastructure::Provisioned) => Outcome::Provisioned,
                Ok(desired::Infrastructure::WaitingForEndpoint) => Outcome::WaitingForEndpoint,
                Err(error) => Outcome::Failed(error),
            },
        }
    };
    if let Outcome::Failed(error) = &outcome {
        ctx.event(
            &reference(object.as_ref()),
            EventType::Warning,
            error.reason(),
            &error.to_string(),
        )
        .await;
    }
    let status = |object: &KubevirtCluster| status::status(object, &outcome, now);
    ctx.api.apply_status(object.as_ref(), status).await.map_err(failed)?;
    Ok(requeue_at(None, now, &ObjectRef::from_obj(object.as_ref()).to_string()))
}
