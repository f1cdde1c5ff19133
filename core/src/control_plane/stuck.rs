//! What keeps pods from being made or from getting their volumes is told by Events alone: which object
//! to ask for them.

use super::view::{Complaint, View, holds, settles};
use crate::text::excerpt;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;

/// UIDs of the objects that have not come further for a while, the nearest to the root first: the
/// datastore without its pods, and pods on a Node without their volumes.
pub fn stuck(observed: &View) -> Vec<String> {
    let set = observed.datastore.stateful_set.as_ref();
    let set = set.filter(|set| observed.datastore.lacks_pods() && !observed.is_new(*set));
    let pods = observed.pods().filter(|pod| unprepared(pod) && !observed.is_new(*pod));
    set.and_then(ResourceExt::uid)
        .into_iter()
        .chain(pods.filter_map(ResourceExt::uid))
        .collect()
}

/// Whether a pod is on a Node, and has neither its volumes nor its sandbox there.
pub fn unprepared(pod: &Pod) -> bool {
    let pending = pod
        .status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Pending"));
    placed(pod) && pending && pod.metadata.deletion_timestamp.is_none() && !holds(pod, "PodReadyToStartContainers")
}

/// Events are not watched.
const POLL_INTERVAL: SignedDuration = SignedDuration::from_secs(15);

/// When the first object that does not come further is no longer new; or when to ask again what
/// others say of it.
pub fn next_look(view: &View) -> Option<Timestamp> {
    let claim = view.datastore.unbound().and_then(settles);
    let waiting = view.pods().filter(|pod| !placed(pod) || unprepared(pod));
    let set = view.datastore.stateful_set.as_ref();
    let set = set.filter(|_| view.datastore.lacks_pods());
    let settles = claim
        .into_iter()
        .chain(waiting.filter_map(settles))
        .chain(set.and_then(settles));
    let again = (!stuck(view).is_empty()).then(|| view.now + POLL_INTERVAL);
    settles.filter(|at| *at > view.now).chain(again).min()
}

/// Whether a pod has a Node.
fn placed(pod: &Pod) -> bool {
    pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some())
}

/// What the newest of these Events says.
pub fn newest(uid: &str, mut events: Vec<Event>) -> Option<Complaint> {
    events
        .retain(|event| event.type_.as_deref() == Some("Warning") && event.involved_object.uid.as_deref() == Some(uid));
    let newest = events.into_iter().max_by_key(|event| {
        let series = event
            .series
            .as_ref()
            .and_then(|series| series.last_observed_time.as_ref())
            .map(|time| time.0);
        let once = event.event_time.as_ref().map(|time| time.0);
        series.max(once).max(event.last_timestamp.as_ref().map(|time| time.0))
    })?;
    Some(Complaint {
        uid: uid.to_owned(),
        message: excerpt(&newest.message.unwrap_or_default()),
    })
}
