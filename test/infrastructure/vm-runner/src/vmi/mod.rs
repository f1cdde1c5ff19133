//! `VirtualMachineInstance` → launcher pod: observe, decide, apply, status.

pub mod decide;
pub mod domain;
pub mod observe;
pub mod pod;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::api::{Api, DeleteParams, ListParams, LogParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::json;

use crate::api::{
    CONTROLLER_FINALIZER, CREATED_BY_LABEL, FOREGROUND_FINALIZER, NODE_LABEL, Phase, VirtualMachineInstance,
    VirtualMachineInstanceStatus,
};
use crate::clock;
use crate::events::{Events, Told};
use crate::machine::Machine;
use crate::retry::Attempts;
use crate::vm::{conflicts, ignore_missing, replace, words};
use crate::vmi::decide::{Act, Facts};
use crate::vmi::observe::{GATE, Launcher};

/// What every pass needs.
pub struct Context {
    client: Client,
    events: Events,
    launcher_image: String,
    attempts: Attempts<VirtualMachineInstance>,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("cannot {0}")]
    Call(&'static str, #[source] Box<kube::Error>),
    /// The spec cannot be read, or an object cannot become JSON.
    #[error("cannot read or write JSON")]
    Json(#[from] serde_json::Error),
    /// The pod cannot be made; told in the status, retried.
    #[error("no pod: {0}")]
    NoPod(String),
    /// The launcher's log does not have the guest's interface yet.
    #[error("the launcher has not told its interface")]
    Untold,
}

fn call(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Call(what, Box::new(source))
}

/// Runs until the shutdown future ends.
pub async fn run(client: Client, launcher_image: String, shutdown: impl Future<Output = ()> + Send + Sync + 'static) {
    let context = Arc::new(Context {
        client: client.clone(),
        events: Events::new(client.clone()),
        launcher_image,
        attempts: Attempts::default(),
    });
    let pods = watcher::Config::default().labels("kubevirt.io=virt-launcher");
    Controller::new(
        Api::<VirtualMachineInstance>::all(client.clone()),
        watcher::Config::default(),
    )
    .owns(Api::<Pod>::all(client), pods)
    .with_config(Config::default().concurrency(8))
    .graceful_shutdown_on(shutdown)
    .run(reconcile, on_error, context)
    .for_each(|_| std::future::ready(()))
    .await;
}

async fn reconcile(vmi: Arc<VirtualMachineInstance>, context: Arc<Context>) -> Result<Action, Error> {
    pass(&vmi, &context).await?;
    context.attempts.forget(&vmi);
    Ok(Action::requeue(Duration::from_secs(3600)))
}

#[allow(clippy::needless_pass_by_value)] // the signature that kube's runtime asks for
fn on_error(vmi: Arc<VirtualMachineInstance>, error: &Error, context: Arc<Context>) -> Action {
    if let Error::Call(_, source) = error
        && conflicts(source)
    {
        // Our cache was behind: the event that brings it up to date is on its way.
        return Action::requeue(Duration::from_millis(100));
    }
    let again = context.attempts.next(&vmi);
    tracing::warn!(vmi = %vmi.name_any(), %error, source = words(error), retry = ?again, "pass failed");
    Action::requeue(again)
}

async fn pass(vmi: &VirtualMachineInstance, context: &Context) -> Result<(), Error> {
    let namespace = vmi.namespace().unwrap_or_default();
    let vmis: Api<VirtualMachineInstance> = Api::namespaced(context.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let machine = Machine::read(&vmi.spec.fields)?;

    // Observe: the pods are read anew, for a pod is only ever made once.
    let selector = format!("{CREATED_BY_LABEL}={}", vmi.uid().unwrap_or_default());
    let found = pods
        .list(&ListParams::default().labels(&selector))
        .await
        .map_err(call("list pods"))?
        .items;
    let found = found
        .into_iter()
        .max_by_key(|pod| pod.metadata.creation_timestamp.clone());
    let launcher = found.as_ref().map(observe::launcher);
    let pod_name = found.map(|pod| pod.name_any()).unwrap_or_default();
    let before = vmi.status.clone().unwrap_or_default();
    let guest = match &launcher {
        Some(launcher)
            if launcher.domain_runs && !before.interfaces.iter().any(|interface| interface.mac.is_some()) =>
        {
            let options = LogParams {
                container: Some("compute".into()),
                limit_bytes: Some(65536),
                ..LogParams::default()
            };
            let log = pods
                .logs(&pod_name, &options)
                .await
                .map_err(call("read the launcher's log"))?;
            Some(observe::guest_interface(&log).ok_or(Error::Untold)?)
        }
        _ => None,
    };

    // Decide.
    let facts = Facts {
        vmi,
        machine: &machine,
        launcher: launcher.as_ref(),
        guest: guest.as_ref(),
        now: clock::now(),
    };
    let (act, mut after) = decide::decide(&facts);

    // Apply what goes before the status.
    let mut failure = None;
    let missing = match act {
        Act::CreatePod => missing_claim(&context.client, &namespace, &machine).await?,
        _ => None,
    };
    match act {
        Act::CreatePod if missing.is_some() => {
            failure = missing.map(|claim| decide::claim_missing(&mut after, &namespace, &claim, clock::now()));
        }
        Act::CreatePod => match create(vmi, &machine, context, &pods).await? {
            Ok(created) => {
                context.events.tell(vmi, &Told::pod_created(&created.name_any())).await;
                let launcher = observe::launcher(&created);
                after = decide::decide(&Facts {
                    launcher: Some(&launcher),
                    ..facts
                })
                .1;
            }
            Err(message) => {
                context.events.tell(vmi, &Told::pod_failed(&message)).await;
                decide::pod_refused(&mut after, &message, clock::now());
                failure = Some(message);
            }
        },
        Act::OpenGate => open_gate(&pods, &pod_name).await?,
        Act::DeletePod | Act::Release | Act::Nothing => {}
    }

    // Status; the instance has no status subresource: labels and finalizers go the same way.
    write(&vmis, vmi, launcher.as_ref(), act, &before, &after).await?;
    follow(&pods, &pod_name, launcher.as_ref(), &before, &after).await?;
    if act == Act::DeletePod {
        ignore_missing(pods.delete(&pod_name, &DeleteParams::default()).await).map_err(call("delete the pod"))?;
        context.events.tell(vmi, &Told::pod_deleted(&pod_name)).await;
    }
    failure.map_or(Ok(()), |message| Err(Error::NoPod(message)))
}

/// The first claim of the machine that is not there.
async fn missing_claim(client: &Client, namespace: &str, machine: &Machine) -> Result<Option<String>, Error> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), namespace);
    for name in machine.claims() {
        if claims
            .get_metadata_opt(name)
            .await
            .map_err(call("read a claim"))?
            .is_none()
        {
            return Ok(Some(name.to_owned()));
        }
    }
    Ok(None)
}

async fn create(
    vmi: &VirtualMachineInstance,
    machine: &Machine,
    context: &Context,
    pods: &Api<Pod>,
) -> Result<Result<Pod, String>, Error> {
    let pod = match pod::pod(vmi, machine, &context.launcher_image) {
        Ok(pod) => pod,
        Err(error) => return Ok(Err(error.to_string())),
    };
    match pods.create(&PostParams::default(), &pod).await {
        Ok(created) => Ok(Ok(created)),
        Err(kube::Error::Api(refused)) if (400..500).contains(&refused.code) => Ok(Err(pod::refused(&refused.message))),
        Err(source) => Err(call("create the pod")(source)),
    }
}

async fn open_gate(pods: &Api<Pod>, name: &str) -> Result<(), Error> {
    let condition = json!({"type": GATE, "status": "True", "lastProbeTime": null, "lastTransitionTime": clock::now(),
        "reason": "NotPaused", "message": "the virtual machine is not paused"});
    let patch = Patch::Strategic(json!({"status": {"conditions": [condition]}}));
    ignore_missing(pods.patch_status(name, &PatchParams::default(), &patch).await)
        .map_err(call("set the readiness gate"))?;
    Ok(())
}

async fn write(
    vmis: &Api<VirtualMachineInstance>,
    vmi: &VirtualMachineInstance,
    launcher: Option<&Launcher>,
    act: Act,
    before: &VirtualMachineInstanceStatus,
    after: &VirtualMachineInstanceStatus,
) -> Result<(), Error> {
    let mut fields = Vec::new();
    let node = launcher
        .and_then(|launcher| launcher.node.as_deref())
        .filter(|_| matches!(after.phase, Some(Phase::Scheduled | Phase::Running)));
    if let Some(node) = node.filter(|node| vmi.labels().get(NODE_LABEL).map(String::as_str) != Some(node)) {
        let mut labels = vmi.labels().clone();
        labels.insert(NODE_LABEL.into(), node.into());
        fields.push(("/metadata/labels", json!(labels)));
    }
    if before != after {
        fields.push(("/status", serde_json::to_value(after)?));
    }
    let ours = |finalizer: &str| finalizer == CONTROLLER_FINALIZER || finalizer == FOREGROUND_FINALIZER;
    if act == Act::Release && vmi.finalizers().iter().any(|finalizer| ours(finalizer)) {
        let rest: Vec<&String> = vmi.finalizers().iter().filter(|finalizer| !ours(finalizer)).collect();
        fields.push(("/metadata/finalizers", json!(rest)));
    }
    if fields.is_empty() {
        return Ok(());
    }
    let patch = replace(vmi.metadata.resource_version.as_ref(), fields)?;
    let written = vmis.patch(&vmi.name_any(), &PatchParams::default(), &patch).await;
    ignore_missing(written).map_err(call("write the instance"))?;
    Ok(())
}

/// The node's label follows on the pod.
async fn follow(
    pods: &Api<Pod>,
    name: &str,
    launcher: Option<&Launcher>,
    before: &VirtualMachineInstanceStatus,
    after: &VirtualMachineInstanceStatus,
) -> Result<(), Error> {
    let Some(node) = launcher.and_then(|launcher| launcher.node.as_ref()) else {
        return Ok(());
    };
    if after.phase == Some(Phase::Scheduled) && before.phase != Some(Phase::Scheduled) {
        let patch = Patch::Merge(json!({"metadata": {"labels": {NODE_LABEL: node}}}));
        ignore_missing(pods.patch(name, &PatchParams::default(), &patch).await).map_err(call("label the pod"))?;
    }
    Ok(())
}
