//! Whether a dedicated etcd still has the data that it had, told from the volume claims that its members have
//! served from.

use super::names::ETCD_VERSION_ANNOTATION;
use crate::control_plane::{
    names::{ACCEPT_DATASTORE_ANNOTATION, DATASTORE_INITIALIZED_ANNOTATION, Names},
    view::{View, ready},
};
use capn_api::{
    NestedControlPlane, Reason,
    nested_control_plane::{DatastoreMember, DatastoreStatus, EtcdStatus, NestedControlPlaneSpec},
};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::ResourceExt;
use semver::Version;

/// Key of etcd's ConfigMap: `new` or `existing`.
pub const INITIAL_CLUSTER_STATE: &str = "initial-cluster-state";
/// Key of etcd's ConfigMap: the members that a member with an empty volume starts with.
pub const INITIAL_CLUSTER: &str = "initial-cluster";
/// Value of [`INITIAL_CLUSTER_STATE`] once the datastore has been in use.
pub const EXISTING: &str = "existing";

/// What a member with an empty volume may do. One with data ignores it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Bootstrap {
    /// Found a new etcd cluster with the other members.
    #[default]
    Found,
    /// Join the members that have done so: it has never served.
    Join,
    /// Nothing: etcd ends at once, and cannot take the place of data that is gone.
    Refuse,
}

/// Whether the data is there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Data {
    /// Nothing was ever in it.
    New,
    /// Every member that has served has the volume that it served from. `joining` while some have
    /// never served.
    Whole {
        /// Whether some have never served.
        joining: bool,
    },
    /// Some members have lost their volumes, and the others are a quorum.
    MembersLost(Vec<Loss>),
    /// Too many have lost their volumes for a quorum; the others still have the data.
    QuorumLost(Vec<Loss>),
    /// No member has the volume that it served from.
    Lost(Vec<Loss>),
    /// Neither etcd's StatefulSet nor a volume claim is there.
    Gone {
        /// What accepting the loss names.
        token: String,
    },
}

/// A member without the volume that it served from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loss {
    /// Name of the member.
    pub member: String,
    /// Name of its volume claim.
    pub claim: String,
    /// UID of the claim that it served from.
    was: String,
    /// UID of the claim that has its name now.
    is: Option<String>,
}

impl Data {
    /// Whether API servers must not serve from it.
    pub fn is_lost(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Gone { .. })
    }

    /// Whether there is nothing of it. Without a StatefulSet, a claim can be restored under its name.
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Gone { .. })
    }

    /// What a member with an empty volume may do.
    pub fn bootstrap(&self) -> Bootstrap {
        match self {
            Self::New => Bootstrap::Found,
            Self::Whole { joining: true } => Bootstrap::Join,
            Self::Whole { joining: false }
            | Self::MembersLost(_)
            | Self::QuorumLost(_)
            | Self::Lost(_)
            | Self::Gone { .. } => Bootstrap::Refuse,
        }
    }

    /// What [`ACCEPT_DATASTORE_ANNOTATION`] has to say for the loss to be accepted: it names this loss
    /// and no later one.
    fn token(&self) -> Option<&str> {
        match self {
            Self::Lost(losses) => losses.iter().find_map(|loss| loss.is.as_deref()),
            Self::Gone { token } => Some(token),
            _ => None,
        }
    }

    /// Reason and message of what is wrong.
    pub fn fault(&self, namespace: &str) -> Option<(Reason, String)> {
        let members = |losses: &[Loss]| {
            let each = losses.iter().map(|loss| loss.describe(namespace));
            each.collect::<Vec<_>>().join("; ")
        };
        match self {
            Self::New | Self::Whole { .. } => None,
            Self::MembersLost(losses) => Some((
                Reason::MemberLost,
                format!(
                    "{}. The other members have the data and go on; restore that volume, because the loss of one more member stops the control plane",
                    members(losses)
                ),
            )),
            Self::QuorumLost(losses) => Some((
                Reason::QuorumLost,
                format!(
                    "{}. The remaining member has the data, but is no quorum; nothing is replaced until the volumes are restored",
                    members(losses)
                ),
            )),
            Self::Lost(losses) => {
                let next = match self.token() {
                    Some(token) => format!(
                        "set the annotation {ACCEPT_DATASTORE_ANNOTATION} to {token} to start with what the claim holds now, which is nothing unless a backup was restored to it"
                    ),
                    None => "wait for etcd's StatefulSet to create the claim".to_owned(),
                };
                Some((
                    Reason::DatastoreLost,
                    format!(
                        "{}. The API servers are stopped, and etcd does not start on an empty volume: {next}",
                        members(losses)
                    ),
                ))
            }
            Self::Gone { token } => Some((
                Reason::DatastoreLost,
                format!(
                    "the datastore was in use and is gone: there is neither etcd's StatefulSet nor a volume claim of it. The API servers are stopped: restore the claims, or set the annotation {ACCEPT_DATASTORE_ANNOTATION} to {token} to start with an empty datastore, without any object of the workload cluster"
                ),
            )),
        }
    }
}

impl Loss {
    fn describe(&self, namespace: &str) -> String {
        let Self { member, claim, was, is } = self;
        match is {
            Some(is) => format!(
                "etcd member {member} has lost its volume: PersistentVolumeClaim {namespace}/{claim} has the UID {is} and had {was}"
            ),
            None => format!(
                "etcd member {member} has lost its volume: PersistentVolumeClaim {namespace}/{claim} with the UID {was} is gone"
            ),
        }
    }
}

/// Whether the datastore was ever in use. Status is lost in a move or a restore, an annotation by a
/// user's update, so that each of them says it.
pub fn initialized(ncp: &NestedControlPlane, observed: Option<&View>) -> bool {
    let status = recorded(ncp).is_some_and(|datastore| datastore.initialized);
    let config = observed.and_then(state);
    status || ncp.annotations().contains_key(DATASTORE_INITIALIZED_ANNOTATION) || config == Some(EXISTING)
}

/// Whether the datastore is in use: `serves` an API server from it, and it is recorded who serves that one, so
/// that a loss can be told.
pub fn is_in_use(ncp: &NestedControlPlane, observed: &View, serves: bool) -> bool {
    initialized(ncp, Some(observed)) || (serves && !members(ncp).is_empty())
}

/// What a member with an empty volume is told.
fn state(observed: &View) -> Option<&str> {
    let data = observed.datastore.config.as_ref()?.data.as_ref()?;
    data.get(INITIAL_CLUSTER_STATE).map(String::as_str)
}

/// Annotations that have had their time: that of a datastore that is given up, and the acceptance of
/// a loss that is over.
pub fn obsolete(datastore: &Data, accepted: bool) -> Vec<&'static str> {
    match (accepted, datastore.is_lost()) {
        (true, _) => vec![DATASTORE_INITIALIZED_ANNOTATION],
        (false, false) => vec![ACCEPT_DATASTORE_ANNOTATION],
        (false, true) => Vec::new(),
    }
}

fn recorded(ncp: &NestedControlPlane) -> Option<&DatastoreStatus> {
    ncp.status.as_ref()?.datastore.as_ref()
}

/// Members that have served, with the claims that they served from.
pub fn members(ncp: &NestedControlPlane) -> &[DatastoreMember] {
    recorded(ncp)
        .and_then(|datastore| datastore.etcd.as_ref())
        .map(|etcd| etcd.members.as_slice())
        .unwrap_or_default()
}

/// What there is, and whether a loss was accepted just now.
pub fn assess(ncp: &NestedControlPlane, names: &Names, observed: &View) -> (Data, bool) {
    let found = find(ncp, names, observed);
    let accepted = ncp.annotations().get(ACCEPT_DATASTORE_ANNOTATION);
    if found.token().is_some() && found.token() == accepted.map(String::as_str) {
        return (Data::New, true);
    }
    (found, false)
}

fn find(ncp: &NestedControlPlane, names: &Names, observed: &View) -> Data {
    if !initialized(ncp, Some(observed)) {
        return Data::New;
    }
    let members = members(ncp);
    if observed.datastore.stateful_set.is_none() && observed.datastore.claims.is_empty() {
        let known = members.first().map(|member| member.claim_uid.clone());
        return Data::Gone {
            token: known.or(ncp.uid()).unwrap_or_default(),
        };
    }
    let losses: Vec<_> = members
        .iter()
        .filter_map(|member| loss(member, names, observed))
        .collect();
    let replicas = usize::try_from(replicas(&ncp.spec)).unwrap_or_default();
    let left = members.len() - losses.len();
    match (losses.is_empty(), left) {
        // Without a record, as after a restore, it cannot be told who has served.
        (true, 0) => Data::Whole { joining: false },
        (true, left) => Data::Whole {
            joining: left < replicas,
        },
        (false, 0) => Data::Lost(losses),
        (false, left) if left < replicas / 2 + 1 => Data::QuorumLost(losses),
        (false, _) => Data::MembersLost(losses),
    }
}

fn loss(member: &DatastoreMember, names: &Names, observed: &View) -> Option<Loss> {
    let claim = names.claim_of(&member.name);
    let found = observed.datastore.claims.iter().find(|live| live.name_any() == claim);
    let is = found.and_then(ResourceExt::uid);
    (is.as_ref() != Some(&member.claim_uid)).then(|| Loss {
        member: member.name.clone(),
        claim,
        was: member.claim_uid.clone(),
        is,
    })
}

/// What is remembered of the datastore after a pass: who has served, from which claim. `None` while
/// there is nothing to remember.
pub fn remember(ncp: &NestedControlPlane, names: &Names, observed: &View) -> Option<DatastoreStatus> {
    // A loss that was accepted is forgotten once nothing else says that the datastore was in use, and no
    // earlier: the pass that accepts it may end before.
    let said = ncp.annotations().contains_key(DATASTORE_INITIALIZED_ANNOTATION) || state(observed) == Some(EXISTING);
    let accepted = assess(ncp, names, observed).1 && !said;
    let old = recorded(ncp).filter(|_| !accepted).cloned().unwrap_or_default();
    let etcd = old.etcd.unwrap_or_default();
    let initialized = !accepted && initialized(ncp, Some(observed));
    // Before it is in use, a claim may still take the place of another.
    let mut members = if initialized { etcd.members } else { Vec::new() };
    let mut version = etcd.version;
    // Someone may scale the StatefulSet: what comes of that is no member.
    let wanted: Vec<_> = (0..replicas(&ncp.spec)).map(|ordinal| names.member(ordinal)).collect();
    let is_member = |pod: &&Pod| ready(pod) && wanted.contains(&pod.name_any());
    for pod in observed.datastore.pods.iter().filter(is_member) {
        let (name, claim) = (pod.name_any(), names.claim_of(&pod.name_any()));
        let claim = observed.datastore.claims.iter().find(|live| live.name_any() == claim);
        if let Some(claim_uid) = claim.filter(|claim| older(claim, pod)).and_then(ResourceExt::uid)
            && members.iter().all(|member| member.name != name)
        {
            members.push(DatastoreMember { name, claim_uid });
        }
        version = newest(version, pod.annotations().get(ETCD_VERSION_ANNOTATION));
    }
    members.sort_by(|a, b| a.name.cmp(&b.name));
    (initialized || !members.is_empty()).then_some(DatastoreStatus {
        initialized,
        etcd: Some(EtcdStatus { version, members }),
    })
}

/// Number of etcd's members.
pub fn replicas(spec: &NestedControlPlaneSpec) -> i32 {
    let etcd = spec.datastore.as_ref().and_then(|datastore| datastore.etcd.as_ref());
    etcd.map_or(1, |etcd| etcd.replicas)
}

/// Whether a claim was there before the pod, so that it is the one that the pod uses.
fn older(claim: &PersistentVolumeClaim, pod: &Pod) -> bool {
    claim.creation_timestamp() <= pod.creation_timestamp()
}

fn newest(known: Option<String>, found: Option<&String>) -> Option<String> {
    let parse = |text: &str| Version::parse(text).ok();
    let newer = found.filter(|found| {
        let found = parse(found);
        found.is_some() && found > known.as_deref().and_then(parse)
    });
    newer.cloned().or(known)
}

#[cfg(test)]
mod tests;
