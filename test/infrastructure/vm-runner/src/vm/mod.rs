//! `VirtualMachine` → `VirtualMachineInstance`: observe, decide, apply, status.

pub mod build;
pub mod instance_type;
pub mod status;
pub mod strategy;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::api::{CONTROLLER_FINALIZER, VirtualMachine, VirtualMachineInstance, VirtualMachineStatus};
use crate::clock;
use crate::events::{Events, Told};
use crate::retry::Attempts;
use crate::vm::status::{Facts, Failure};
use crate::vm::strategy::{Step, Strategy};

/// What every pass needs.
pub struct Context {
    client: Client,
    events: Events,
    attempts: Attempts<VirtualMachine>,
}

/// Why a pass failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call to the API server failed.
    #[error("cannot {0}")]
    Call(&'static str, #[source] Box<kube::Error>),
    /// An object cannot become JSON.
    #[error("cannot serialize")]
    Serialize(#[from] serde_json::Error),
    /// The instance was refused; told in the status, retried.
    #[error("the instance was refused")]
    Refused,
}

fn call(what: &'static str) -> impl Fn(kube::Error) -> Error {
    move |source| Error::Call(what, Box::new(source))
}

/// Runs until the shutdown future ends.
pub async fn run(client: Client, shutdown: impl Future<Output = ()> + Send + Sync + 'static) {
    let config = watcher::Config::default();
    let context = Arc::new(Context {
        client: client.clone(),
        events: Events::new(client.clone()),
        attempts: Attempts::default(),
    });
    Controller::new(Api::<VirtualMachine>::all(client.clone()), config.clone())
        .owns(Api::<VirtualMachineInstance>::all(client), config)
        .with_config(Config::default().concurrency(8))
        .graceful_shutdown_on(shutdown)
        .run(reconcile, on_error, context)
        .for_each(|_| std::future::ready(()))
        .await;
}

async fn reconcile(vm: Arc<VirtualMachine>, context: Arc<Context>) -> Result<Action, Error> {
    let action = pass(&vm, &context).await?;
    context.attempts.forget(&vm);
    Ok(action)
}

#[allow(clippy::needless_pass_by_value)] // the signature that kube's runtime asks for
fn on_error(vm: Arc<VirtualMachine>, error: &Error, context: Arc<Context>) -> Action {
    if let Error::Call(_, source) = error
        && conflicts(source)
    {
        // Our cache was behind: the event that brings it up to date is on its way.
        return Action::requeue(Duration::from_millis(100));
    }
    let again = context.attempts.next(&vm);
    tracing::warn!(vm = %vm.name_any(), %error, source = words(error), retry = ?again, "pass failed");
    Action::requeue(again)
}

async fn pass(vm: &VirtualMachine, context: &Context) -> Result<Action, Error> {
    let client = &context.client;
    let namespace = vm.namespace().unwrap_or_default();
    let vms: Api<VirtualMachine> = Api::namespaced(client.clone(), &namespace);
    let vmis: Api<VirtualMachineInstance> = Api::namespaced(client.clone(), &namespace);

    // Observe: of an instance with our name only the one that is ours.
    let mut vmi = vmis
        .get_opt(&vm.name_any())
        .await
        .map_err(call("read the instance"))?
        .filter(|vmi| {
            vmi.owner_references()
                .iter()
                .any(|owner| Some(&owner.uid) == vm.metadata.uid.as_ref())
        });
    let now = clock::now();
    let before = vm.status.clone().unwrap_or_default();

    if vm.metadata.deletion_timestamp.is_some() {
        return finalize(vm, vmi.as_ref(), &vms, &vmis).await;
    }
    if !vm
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == CONTROLLER_FINALIZER)
    {
        let mut finalizers = vm.finalizers().to_vec();
        finalizers.push(CONTROLLER_FINALIZER.into());
        let patch = json!({"metadata": {"resourceVersion": vm.metadata.resource_version, "finalizers": finalizers}});
        vms.patch(&vm.name_any(), &PatchParams::default(), &Patch::Merge(patch))
            .await
            .map_err(call("add the finalizer"))?;
        return Ok(Action::await_change()); // the write itself brings the next pass
    }

    // Decide.
    let strategy = Strategy::of(vm.spec.running, vm.spec.run_strategy.as_deref());
    let mut noted = before.clone();
    let step = strategy.map_or(Step::Rest, |strategy| {
        strategy::step(strategy, &mut noted, vmi.as_ref(), now)
    });

    // Apply.
    let mut failure = None;
    let mut again = None;
    match step {
        Step::Start => match build::instance(vm) {
            Err(why) => failure = Some(why),
            Ok(instance) => match vmis.create(&PostParams::default(), &instance).await {
                Ok(created) => {
                    context
                        .events
                        .tell(vm, &Told::instance_created(&created.name_any()))
                        .await;
                    vmi = Some(created);
                }
                Err(kube::Error::Api(refused)) if refused.code != 409 && (400..500).contains(&refused.code) => {
                    failure = Some(Failure::refused(&refused.message));
                }
                Err(source) => return Err(call("create the instance")(source)),
            },
        },
        Step::Wait(wait) => again = Some(wait),
        Step::Stop | Step::Rest => {}
    }

    // Status, before a deletion: what it remembers (a queued start) must outlive the instance.
    let refused = failure.is_some();
    if let Some(failure) = &failure {
        let told = Told::instance_failed(failure.reason, &failure.message);
        context.events.tell(vm, &told).await;
    }
    let after = status::status(
        &Facts {
            vm,
            strategy,
            vmi: vmi.as_ref(),
            failure,
            now,
        },
        noted,
    );
    write(&vms, vm, &before, &after).await?;
    if let (Step::Stop, Some(vmi)) = (step, &vmi) {
        delete(&vmis, vmi).await?;
        context.events.tell(vm, &Told::instance_deleted(&vmi.name_any())).await;
    }
    match (refused, again) {
        (true, _) => Err(Error::Refused),
        (false, Some(wait)) => Ok(Action::requeue(wait)),
        (false, None) => Ok(Action::requeue(Duration::from_secs(3600))),
    }
}

async fn finalize(
    vm: &VirtualMachine,
    vmi: Option<&VirtualMachineInstance>,
    vms: &Api<VirtualMachine>,
    vmis: &Api<VirtualMachineInstance>,
) -> Result<Action, Error> {
    let orphan = vm.finalizers().iter().any(|finalizer| finalizer == "orphan");
    if let Some(vmi) = vmi.filter(|_| !orphan) {
        if vmi.metadata.deletion_timestamp.is_none() {
            delete(vmis, vmi).await?;
        }
        let before = vm.status.clone().unwrap_or_default();
        let facts = Facts {
            vm,
            strategy: None,
            vmi: Some(vmi),
            failure: None,
            now: clock::now(),
        };
        let after = status::status(&facts, before.clone());
        write(vms, vm, &before, &after).await?;
        return Ok(Action::requeue(Duration::from_secs(3600)));
    }
    if vm
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == CONTROLLER_FINALIZER)
    {
        let rest: Vec<&String> = vm
            .finalizers()
            .iter()
            .filter(|finalizer| *finalizer != CONTROLLER_FINALIZER)
            .collect();
        let patch = json!({"metadata": {"resourceVersion": vm.metadata.resource_version, "finalizers": rest}});
        let gone = vms
            .patch(&vm.name_any(), &PatchParams::default(), &Patch::Merge(patch))
            .await;
        ignore_missing(gone).map_err(call("remove the finalizer"))?;
    }
    Ok(Action::await_change())
}

/// Deletes this very instance, not one that has its name meanwhile.
async fn delete(vmis: &Api<VirtualMachineInstance>, vmi: &VirtualMachineInstance) -> Result<(), Error> {
    let parameters = DeleteParams::background().preconditions(kube::api::Preconditions {
        uid: vmi.metadata.uid.clone(),
        resource_version: None,
    });
    ignore_missing(vmis.delete(&vmi.name_any(), &parameters).await).map_err(call("delete the instance"))?;
    Ok(())
}

async fn write(
    vms: &Api<VirtualMachine>,
    vm: &VirtualMachine,
    before: &VirtualMachineStatus,
    after: &VirtualMachineStatus,
) -> Result<(), Error> {
    if before == after {
        return Ok(());
    }
    let patch = replace(
        vm.metadata.resource_version.as_ref(),
        vec![("/status", serde_json::to_value(after)?)],
    )?;
    vms.patch_status(&vm.name_any(), &PatchParams::default(), &patch)
        .await
        .map_err(call("write the status"))?;
    Ok(())
}

/// A JSON patch of whole fields, refused when the object has changed meanwhile. A merge patch could not write the nulls that
/// KubeVirt's conditions carry.
pub fn replace(version: Option<&String>, fields: Vec<(&str, Value)>) -> Result<Patch<()>, serde_json::Error> {
    let version =
        version.map(|version| json!({"op": "replace", "path": "/metadata/resourceVersion", "value": version}));
    let fields = fields
        .into_iter()
        .map(|(path, value)| json!({"op": "add", "path": path, "value": value}));
    serde_json::from_value(version.into_iter().chain(fields).collect()).map(Patch::Json)
}

/// What lies behind an error: the API server's message alone, where it is one.
pub fn words(error: &dyn std::error::Error) -> String {
    let Some(source) = error.source() else {
        return String::new();
    };
    match source.downcast_ref::<Box<kube::Error>>().map(|source| &**source) {
        Some(kube::Error::Api(status)) => status.message.clone(),
        _ => source.to_string(),
    }
}

/// The object was changed since it was read.
pub fn conflicts(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 409)
}

/// Nothing when the object is gone.
pub fn ignore_missing<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
        Err(error) => Err(error),
    }
}
