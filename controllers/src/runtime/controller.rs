//! What every controller shares: its context, its schedule, and how it is run until shutdown.

use crate::runtime::api_client::{ApiClient, ApiError, Object};
use crate::runtime::events::Events;
use capn_api::cluster_api::WATCH_LABEL;
use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client, Resource, ResourceExt,
    runtime::{
        controller::{Action, Controller},
        events::EventType,
        reflector::ObjectRef,
        watcher,
    },
};
use std::{
    collections::{HashMap, hash_map::DefaultHasher},
    fmt::{Debug, Display},
    future::Future,
    hash::{Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::watch;
use tracing::Instrument;

/// How many objects of one kind are worked on at the same time.
pub const CONCURRENCY: u16 = 16;

/// Nothing is looked at less often: what watches lose is found by then.
const RESYNC_PERIOD: Duration = Duration::from_secs(3600);

/// What a manager was told to look at.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only this namespace, when given.
    pub namespace: Option<String>,
    /// Only objects whose label `cluster.x-k8s.io/watch-filter` has this value, when given.
    pub watch_filter: Option<String>,
}

impl Scope {
    /// An API for the objects in scope.
    pub fn api<K>(&self, client: &Client) -> kube::Api<K>
    where
        K: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => kube::Api::namespaced(client.clone(), namespace),
            None => kube::Api::all(client.clone()),
        }
    }

    /// A watch of the objects that we reconcile.
    pub fn ours(&self) -> watcher::Config {
        let config = watcher::Config::default().timeout(60);
        match &self.watch_filter {
            Some(value) => config.labels(&format!("{WATCH_LABEL}={value}")),
            None => config,
        }
    }
}

/// What a controller works with.
pub struct Context {
    /// ApiClient under the controller's own field manager.
    pub api: ApiClient,
    events: Events,
    failures: Mutex<HashMap<String, u32>>,
}

impl Context {
    /// A context for the controller of this name, which is its field manager too.
    pub fn new(client: Client, name: &'static str) -> Self {
        Self {
            api: ApiClient::new(client.clone(), name),
            events: Events::new(client, name),
            failures: Mutex::default(),
        }
    }

    /// Publishes an Event, unless the same was published about this object a short while ago.
    pub async fn event(&self, about: &ObjectReference, type_: EventType, reason: impl AsRef<str>, note: &str) {
        self.events.publish(about, type_, reason.as_ref(), note).await;
    }

    /// The wait before the next try of an object that failed: 1 s, doubled up to a minute, with jitter.
    pub fn back_off(&self, object: &str) -> Duration {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let count = failures.entry(object.to_owned()).or_default();
        *count = count.saturating_add(1);
        let seconds = 2u64.saturating_pow(count.saturating_sub(1).min(6)).min(60);
        jittered(Duration::from_secs(seconds), object)
    }

    /// Forgets all about an object that is gone.
    pub fn forget<K: Object>(&self, gone: &K) {
        self.events.forget(&gone.uid().unwrap_or_default());
        self.api.forget(gone);
    }

    /// Forgets the failures of an object that went well.
    pub fn went_well(&self, object: &str) {
        self.failures
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(object);
    }
}

/// When to look at an object again although nothing has happened.
pub fn requeue_at(at: Option<Timestamp>, now: Timestamp, object: &str) -> Action {
    let until = at.map(|at| Duration::try_from(at.duration_since(now)).unwrap_or_default());
    let resync = jittered(RESYNC_PERIOD, object);
    Action::requeue(until.map_or(resync, |until| until.clamp(Duration::from_secs(1), resync)))
}

/// Up to a tenth more, different from object to object, so that many do not come at once.
fn jittered(base: Duration, object: &str) -> Duration {
    let mut hasher = DefaultHasher::new();
    object.hash(&mut hasher);
    base + base.mul_f64(f64::from(u32::try_from(hasher.finish() % 1000).unwrap_or_default()) / 10_000.0)
}

/// Lets go of an object, so that the API server removes it.
///
/// # Errors
/// When somebody changed it meanwhile, or the call fails.
pub async fn release<K: Object>(ctx: &Context, object: &K, finalizer: &str) -> Result<(), ApiError> {
    let held = object.finalizers();
    let left: Vec<_> = held.iter().filter(|held| *held != finalizer).collect();
    if left.len() < held.len() {
        let patch = serde_json::json!({"metadata": {"finalizers": left, "resourceVersion": object.resource_version()}});
        match ctx.api.merge_patch(&patch, object).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    ctx.forget(object);
    Ok(())
}

/// A reference to an object, for events.
pub fn reference<K: Resource<DynamicType = ()>>(object: &K) -> ObjectReference {
    object.object_ref(&())
}

/// Runs a controller until shutdown, logging how each pass ended.
pub async fn run<K, R, F>(
    controller: Controller<K>,
    context: Arc<Context>,
    mut shutdown: watch::Receiver<bool>,
    mut reconcile: R,
) where
    K: Clone + Resource<DynamicType = ()> + serde::de::DeserializeOwned + Debug + Send + Sync + 'static,
    R: FnMut(Arc<K>, Arc<Context>) -> F + Send + 'static,
    F: Future<Output = Result<Action, ReconcileError>> + Send + 'static,
{
    let kind = K::kind(&());
    controller
        .trigger_backoff(watcher_backoff())
        .with_config(kube::runtime::controller::Config::default().concurrency(CONCURRENCY))
        .graceful_shutdown_on(async move {
            let _ = shutdown.wait_for(|stop| *stop).await;
        })
        .run(
            move |object, context| {
                let span = tracing::info_span!(
                    "reconcile",
                    kind = %K::kind(&()),
                    namespace = object.meta().namespace.as_deref(),
                    name = object.meta().name.as_deref(),
                );
                let pass = reconcile(object, context);
                let started = std::time::Instant::now();
                async move {
                    let result = pass.await;
                    crate::runtime::metrics::observe_pass(&K::kind(&()), result.is_ok(), started.elapsed());
                    result
                }
                .instrument(span)
            },
            |object: Arc<K>, _error, context: Arc<Context>| {
                let key = ObjectRef::from_obj(object.as_ref()).to_string();
                Action::requeue(context.back_off(&key))
            },
            context.clone(),
        )
        .for_each(|outcome| {
            match outcome {
                Ok((object, _)) => context.went_well(&object.to_string()),
                Err(kube::runtime::controller::Error::ReconcilerFailed(error, object)) => {
                    tracing::info!(%kind, name = %object.name, namespace = object.namespace.as_deref(), "not finished: {error}");
                }
                Err(kube::runtime::controller::Error::ObjectNotFound(gone)) => context.went_well(&gone.to_string()),
                Err(error) => tracing::warn!(%kind, %error, "watch failed"),
            }
            std::future::ready(())
        })
        .await;
    tracing::info!(%kind, "controller stopped");
}

/// One watch that fails must not hold up the others of its controller for long.
fn watcher_backoff() -> impl kube::runtime::utils::Backoff + 'static {
    let delays = backon::ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(200))
        .with_max_delay(Duration::from_secs(5))
        .with_factor(2.0)
        .with_jitter()
        .without_max_times();
    kube::runtime::watcher::ExponentialBackoff::from(delays)
}

/// A pass that has to be tried again soon; the status says why.
#[derive(Debug)]
pub struct ReconcileError(pub String);

impl Display for ReconcileError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReconcileError {}

impl<E: Display> From<&E> for ReconcileError {
    fn from(error: &E) -> Self {
        Self(error.to_string())
    }
}
