//! What keeps pods from being made or from getting their volumes is told by Events alone: which object
//! to ask for them. Pure.

use super::view::{View, holds};
use crate::text::excerpt;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt;

/// What others say of an object that does not come further.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Complaint {
    /// UID of the object.
    pub uid: String,
    /// The newest warning about it.
    pub message: String,
}

/// UIDs of the objects that have not come further for a while, the nearest to the root first: etcd's
/// StatefulSet without its pods, and pods on a Node without their volumes.
pub fn stuck(observed: &View) -> Vec<String> {
    let set = observed.etcd.as_ref().filter(|_| lacks_pods(observed));
    let set = set.filter(|set| !observed.is_new(*set)).and_then(ResourceExt::uid);
    let pods = observed.pods().filter(|pod| unprepared(pod) && !observed.is_new(*pod));
    set.into_iter().chain(pods.filter_map(ResourceExt::uid)).collect()
}

/// Whether etcd's StatefulSet has fewer pods than it wants.
pub fn lacks_pods(observed: &View) -> bool {
    let wanted = observed.etcd.as_ref().and_then(|set| set.spec.as_ref()?.replicas);
    let found = i32::try_from(observed.etcd_pods.len()).unwrap_or(i32::MAX);
    wanted.is_some_and(|wanted| found < wanted)
}

/// Whether a pod is on a Node, and has neither its volumes nor its sandbox there.
pub fn unprepared(pod: &Pod) -> bool {
    let placed = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    let pending = pod
        .status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Pending"));
    placed && pending && pod.metadata.deletion_timestamp.is_none() && !holds(pod, "PodReadyToStartContainers")
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
