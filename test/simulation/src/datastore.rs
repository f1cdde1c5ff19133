//! What etcd's members make of their volumes, and what API servers serve from.

use crate::world::World;
use capn_core::control_plane::names;
use capn_core::datastore::{self, EXISTING, INITIAL_CLUSTER, INITIAL_CLUSTER_STATE};
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, PersistentVolumeClaim, Pod},
};
use kube::ResourceExt;
use std::collections::BTreeMap;

impl World {
    fn members(&self) -> i32 {
        let set: Option<StatefulSet> = self.get("StatefulSet", &Self::names().etcd());
        set.and_then(|set| set.spec?.replicas).unwrap_or(1)
    }

    /// Claims of members that exist by the set's size, with the data in each.
    fn held(&self) -> BTreeMap<u32, i32> {
        let mut held = BTreeMap::new();
        for ordinal in 0..self.members() {
            let claim: Option<PersistentVolumeClaim> = self.get("PersistentVolumeClaim", &Self::names().claim(ordinal));
            if let Some(data) = claim.and_then(|claim| self.data.get(&claim.uid()?).copied()) {
                *held.entry(data).or_default() += 1;
            }
        }
        held
    }

    /// Lets a member start; false while it ends at once, or waits.
    pub(crate) fn start_member(&mut self, pod: &Pod) -> bool {
        let claim = Self::names().claim_of(&pod.name_any());
        let Some(claim) = self.get::<PersistentVolumeClaim>("PersistentVolumeClaim", &claim) else {
            return false;
        };
        let uid = claim.uid().unwrap_or_default();
        if self.data.contains_key(&uid) {
            return true;
        }
        let Some(config) = self.get::<ConfigMap>("ConfigMap", &Self::names().etcd()) else {
            return false;
        };
        let text = |key: &str| {
            config
                .data
                .as_ref()
                .and_then(|data| data.get(key))
                .cloned()
                .unwrap_or_default()
        };
        let quorum = self.members() / 2 + 1;
        let held = self.held();
        let data = if text(INITIAL_CLUSTER_STATE) == EXISTING {
            if text(INITIAL_CLUSTER).starts_with("none=") {
                return false;
            }
            held.iter().find(|(_, count)| **count >= quorum).map(|(data, _)| *data)
        } else {
            // With `new`, members that are empty together found anew, unless most have data or nothing
            // was ever in it.
            let joins = held
                .iter()
                .find(|(data, count)| **count >= quorum || !self.used.contains(data));
            let joins = joins.map(|(data, _)| *data);
            if joins.is_none() && !self.used.is_empty() {
                self.violate("an empty datastore takes the place of one that was in use");
            }
            Some(joins.unwrap_or_else(|| {
                self.epochs += 1;
                self.epochs
            }))
        };
        match data {
            Some(data) => {
                self.say(format!("member {} starts with data {data}", pod.name_any()));
                self.data.insert(uid, data);
                true
            }
            None => false,
        }
    }

    /// The data that a quorum of running members has.
    pub(crate) fn served(&self) -> Option<u32> {
        let mut running = BTreeMap::<u32, i32>::new();
        for pod in self
            .pods
            .values()
            .filter(|pod| is_of(pod, datastore::COMPONENT) && runs(pod))
        {
            let claim = Self::names().claim_of(&pod.name_any());
            let claim: Option<PersistentVolumeClaim> = self.get("PersistentVolumeClaim", &claim);
            if let Some(data) = claim.and_then(|claim| self.data.get(&claim.uid()?).copied()) {
                *running.entry(data).or_default() += 1;
            }
        }
        let quorum = self.members() / 2 + 1;
        running
            .into_iter()
            .find(|(_, count)| *count >= quorum)
            .map(|(data, _)| data)
    }

    /// API servers that are ready serve what a quorum has: always the same data.
    pub(crate) fn serve(&mut self) {
        let ready = self
            .pods
            .values()
            .any(|pod| is_of(pod, names::API_SERVER) && is_ready(pod));
        // What serves before a manager has recorded it is nobody's data yet: that takes a pass or two.
        let config: Option<ConfigMap> = self.get("ConfigMap", &Self::names().etcd());
        let state = config.and_then(|config| config.data?.remove(INITIAL_CLUSTER_STATE));
        let recorded = state.as_deref() == Some(EXISTING);
        let Some(data) = self.served().filter(|_| ready && (recorded || !self.used.is_empty())) else {
            return;
        };
        self.used.insert(data);
        if self.used.len() > 1 {
            self.violate(format!("API servers serve from several datastores: {:?}", self.used));
        }
    }
}

pub(crate) fn is_of(pod: &Pod, component: &str) -> bool {
    pod.labels().get(names::COMPONENT_LABEL).map(String::as_str) == Some(component)
}

pub(crate) fn runs(pod: &Pod) -> bool {
    pod.status
        .as_ref()
        .is_some_and(|status| status.phase.as_deref() == Some("Running"))
}

pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions
        .into_iter()
        .any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
