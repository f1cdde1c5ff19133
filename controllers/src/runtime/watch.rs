//! Watches in which one object that cannot be decoded never stands in the way of the others.

use super::{controller::Scope, metrics};
use futures::{Stream, StreamExt};
use k8s_openapi::NamespaceResourceScope;
use kube::{
    Api, Client, Resource, ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        controller::Controller,
        reflector::{ObjectRef, store::Writer},
        watcher::{self, Event, watcher},
    },
};
use serde::{Serialize, de::DeserializeOwned};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap, hash_map::DefaultHasher},
    fmt::Debug,
    future::ready,
    hash::{Hash, Hasher},
    sync::{Mutex, PoisonError},
};

/// Kinds that are watched.
pub trait Watched:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
}
impl<K> Watched for K where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Serialize
        + Send
        + Sync
        + 'static
{
}

/// An object that could be decoded. One that could not is logged and counted.
pub fn decoded<K: Resource<DynamicType = ()>>(guarded: DeserializeGuard<K>) -> Option<K> {
    match guarded.0 {
        Ok(object) => Some(object),
        Err(invalid) => {
            let (kind, metadata) = (K::kind(&()), invalid.metadata);
            let error = capn_core::text::excerpt(&invalid.error);
            tracing::error!(
                %kind, name = metadata.name.as_deref(), namespace = metadata.namespace.as_deref(), %error,
                "this object cannot be decoded and is left alone: correct it"
            );
            metrics::observe_undecodable(&kind);
            None
        }
    }
}

/// Kinds whose objects have not been listed yet.
static NOT_LISTED: Mutex<BTreeSet<Cow<'static, str>>> = Mutex::new(BTreeSet::new());

/// Kinds of which a controller runs that has not been able to list its objects yet.
pub fn not_listed() -> Vec<Cow<'static, str>> {
    let kinds = NOT_LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    kinds.iter().cloned().collect()
}

/// A controller of the objects in scope.
pub fn controller<K: Watched>(scope: &Scope, client: &Client) -> Controller<K> {
    let writer = Writer::<K>::default();
    let reader = writer.as_reader();
    let kinds = || NOT_LISTED.lock().unwrap_or_else(PoisonError::into_inner);
    kinds().insert(K::kind(&()));
    let events = guarded(scope.api::<DeserializeGuard<K>>(client), scope.ours());
    // The store's own `wait_until_ready` wakes one waiter only, and that is the controller.
    let events = events.inspect(move |event| {
        if let Ok(Event::InitDone) = event {
            kinds().remove(&K::kind(&()));
        }
    });
    Controller::for_stream(events.reflect(writer).applied_objects(), reader)
}

fn guarded<K: Watched>(
    api: Api<DeserializeGuard<K>>,
    config: watcher::Config,
) -> impl Stream<Item = watcher::Result<Event<K>>> + Send + 'static {
    watcher(api, config).filter_map(|event| {
        ready(match event {
            Ok(Event::Apply(object)) => decoded(object).map(|object| Ok(Event::Apply(object))),
            Ok(Event::InitApply(object)) => decoded(object).map(|object| Ok(Event::InitApply(object))),
            Ok(Event::Delete(object)) => decoded(object).map(|object| Ok(Event::Delete(object))),
            Ok(Event::Init) => Some(Ok(Event::Init)),
            Ok(Event::InitDone) => Some(Ok(Event::InitDone)),
            Err(error) => Some(Err(error)),
        })
    })
}

/// The objects in scope, each whenever it changes or goes.
pub fn touched<K: Watched>(
    scope: &Scope,
    client: &Client,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + 'static {
    guarded(scope.api::<DeserializeGuard<K>>(client), scope.ours()).touched_objects()
}

/// Objects that others own, each whenever more than its conditions changed. Cluster API writes the
/// status of its objects often and little of it is of use here.
pub fn changes<K: Watched>(
    scope: &Scope,
    client: &Client,
) -> impl Stream<Item = Result<K, watcher::Error>> + Send + 'static {
    let config = watcher::Config::default().timeout(60);
    let events = guarded(scope.api::<DeserializeGuard<K>>(client), config).default_backoff();
    let mut seen = HashMap::new();
    events.filter_map(move |event| {
        let news = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => {
                let content = content(&object);
                let before = seen.insert(ObjectRef::from_obj(&object), content);
                (before != Some(content)).then_some(Ok(object))
            }
            Ok(Event::Delete(object)) => {
                seen.remove(&ObjectRef::from_obj(&object));
                Some(Ok(object))
            }
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => Some(Err(error)),
        };
        ready(news)
    })
}

/// Stands for an object but for its conditions and for what changes with every write.
fn content<K: Watched>(object: &K) -> u64 {
    let mut object = object.clone();
    object.meta_mut().resource_version = None;
    object.managed_fields_mut().clear();
    let mut value = serde_json::to_value(&object).unwrap_or_default();
    if let Some(status) = value.get_mut("status").and_then(serde_json::Value::as_object_mut) {
        status.remove("conditions");
    }
    let mut hasher = DefaultHasher::new();
    value.to_string().hash(&mut hasher);
    hasher.finish()
}
