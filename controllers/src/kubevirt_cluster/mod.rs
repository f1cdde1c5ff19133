//! KubevirtCluster: the infrastructure of a Cluster. Beside a NestedControlPlane there is nothing
//! to make: the control plane publishes the endpoint, and this object is provisioned once the
//! Cluster has it.

mod status;
#[cfg(test)]
mod tests;
mod validate;

use crate::calls::CallError;
use crate::controller::{Context, Scope, Unfinished, again, owner_cluster, paused, reference, release};
use capn_api::{
    KubevirtCluster,
    cluster_api::{Cluster, MANAGED_BY_ANNOTATION},
    kubevirt_cluster::FINALIZER,
};
use jiff::Timestamp;
use kube::{
    Client, ResourceExt,
    runtime::{
        controller::{Action, Controller},
        events::EventType,
        reflector::ObjectRef,
    },
};
use status::Outcome;
use std::sync::Arc;
use tokio::sync::watch;

/// Name of the controller, and its field manager.
const NAME: &str = "capk-kubevirt-cluster";

/// Runs the controller until shutdown.
pub async fn run(client: Client, scope: Scope, shutdown: watch::Receiver<bool>) {
    let context = Arc::new(Context::new(client.clone(), NAME));
    let controller = Controller::new(scope.api::<KubevirtCluster>(&client), scope.ours());
    let store = controller.store();
    let controller = controller.watches_stream(
        crate::controller::changes::<Cluster>(&scope, &client),
        move |cluster: Cluster| {
            let (namespace, name) = (cluster.namespace(), cluster.name_any());
            let ours = |object: &&Arc<KubevirtCluster>| {
                object.namespace() == namespace && owner_cluster(object.as_ref()).as_deref() == Some(&name)
            };
            store
                .state()
                .iter()
                .filter(ours)
                .map(|o| ObjectRef::from_obj(o.as_ref()))
                .collect::<Vec<_>>()
        },
    );
    crate::controller::run(controller, context, shutdown, reconcile).await;
}

/// One pass over a KubevirtCluster.
async fn reconcile(object: Arc<KubevirtCluster>, ctx: Arc<Context>) -> Result<Action, Unfinished> {
    let now = Timestamp::now();
    let failed = |error: CallError| Unfinished::from(&error);
    let cluster: Option<Cluster> = match owner_cluster(object.as_ref()) {
        Some(name) => ctx
            .calls
            .get(object.namespace().as_deref(), &name)
            .await
            .map_err(failed)?,
        None => None,
    };
    if object.annotations().contains_key(MANAGED_BY_ANNOTATION) && object.metadata.deletion_timestamp.is_none() {
        status::mirror(&ctx.calls, &object).await.map_err(failed)?;
        return Ok(again(None, now, &ObjectRef::from_obj(object.as_ref()).to_string()));
    }
    let outcome = if let Some(why) = paused(object.as_ref(), cluster.as_ref()) {
        Outcome::Paused(why)
    } else if object.metadata.deletion_timestamp.is_some() {
        // Nothing of ours has to be cleaned up; the Go provider took hold of its objects.
        release(&ctx, object.as_ref(), FINALIZER).await.map_err(failed)?;
        return Ok(Action::await_change());
    } else {
        match cluster {
            None => Outcome::NoCluster,
            Some(cluster) => match validate::validate(&object, &cluster) {
                Ok(validate::Infrastructure::Provisioned) => Outcome::Provisioned,
                Ok(validate::Infrastructure::WaitingForEndpoint) => Outcome::WaitingForEndpoint,
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
    ctx.calls.put_status(object.as_ref(), status).await.map_err(failed)?;
    Ok(again(None, now, &ObjectRef::from_obj(object.as_ref()).to_string()))
}
