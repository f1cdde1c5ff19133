//! Which objects are ours: the one check that every write and delete of a dependent passes.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};
use std::collections::BTreeMap;

/// The object for which dependents are written and deleted.
///
/// A dependent belongs to it when the controller owner reference has its UID, or when there is no
/// controller owner and the UID label has it. The label works across namespaces and survives the
/// loss of the owner reference.
#[derive(Clone, Debug)]
pub struct Owner {
    description: String,
    uid: String,
    uid_label: &'static str,
    /// Labels of dependents that were made before there was a UID label.
    unlabelled: Option<BTreeMap<String, String>>,
    /// Whether dependents have controllers of their own, and are told by their labels alone.
    indirect: bool,
}

impl Owner {
    /// The owner `object`, whose dependents carry its UID in the label `uid_label`.
    pub fn new<K: Resource<DynamicType = ()>>(object: &K, uid_label: &'static str) -> Self {
        let meta = object.meta();
        let place = [&meta.namespace, &meta.name].map(|part| part.as_deref().unwrap_or_default());
        Self {
            description: format!("{} {}", K::kind(&()), place.join("/")),
            uid: meta.uid.clone().unwrap_or_default(),
            uid_label,
            unlabelled: None,
            indirect: false,
        }
    }

    /// Dependents without the UID label belong to it too if they carry all of these labels.
    #[must_use]
    pub fn or_labelled(self, labels: BTreeMap<String, String>) -> Self {
        Self {
            unlabelled: Some(labels),
            ..self
        }
    }

    /// Dependents are those of dependents, such as the pods of a Deployment: they are told by their
    /// labels alone, whoever controls them.
    #[must_use]
    pub fn indirectly(self) -> Self {
        Self { indirect: true, ..self }
    }

    /// UID of the owner.
    pub fn uid(&self) -> &str {
        &self.uid
    }

    /// Whether `dependent` belongs to the owner.
    pub fn owns(&self, dependent: &impl Resource) -> bool {
        if self.uid.is_empty() {
            return false;
        }
        if let Some(controller) = controller_of(dependent).filter(|_| !self.indirect) {
            return controller.uid == self.uid;
        }
        match (dependent.labels().get(self.uid_label), &self.unlabelled) {
            (Some(uid), _) => *uid == self.uid,
            (None, Some(labels)) => labels
                .iter()
                .all(|(key, value)| dependent.labels().get(key) == Some(value)),
            (None, None) => false,
        }
    }
}

impl std::fmt::Display for Owner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.description)
    }
}

/// The owner reference of the controller of an object.
pub fn controller_of(object: &impl Resource) -> Option<&OwnerReference> {
    object
        .owner_references()
        .iter()
        .find(|reference| reference.controller == Some(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ConfigMap, Secret};
    use serde_json::{Value, json};

    const LABEL: &str = "example.com/owner-uid";

    fn owner() -> Owner {
        let object: ConfigMap =
            serde_json::from_value(json!({"metadata": {"namespace": "a", "name": "x", "uid": "mine"}})).unwrap();
        Owner::new(&object, LABEL)
    }

    fn owns(owner: &Owner, metadata: Value) -> bool {
        owner.owns(&serde_json::from_value::<Secret>(json!({"metadata": metadata})).unwrap())
    }

    fn controlled_by(uid: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": uid, "controller": true}])
    }

    #[test]
    fn a_dependent_is_told_by_its_controller_first_and_by_its_label_second() {
        for (metadata, ours) in [
            (json!({"ownerReferences": controlled_by("mine")}), true),
            (json!({"ownerReferences": controlled_by("other")}), false),
            (
                json!({"ownerReferences": controlled_by("other"), "labels": {LABEL: "mine"}}),
                false,
            ),
            (json!({"labels": {LABEL: "mine"}}), true),
            (json!({"labels": {LABEL: "other"}}), false),
            (json!({}), false),
        ] {
            assert_eq!(owns(&owner(), metadata.clone()), ours, "{metadata}");
        }
    }

    #[test]
    fn an_owner_reference_that_is_no_controllers_proves_nothing() {
        let plain = json!([{"apiVersion": "v1", "kind": "ConfigMap", "name": "x", "uid": "mine"}]);
        assert!(!owns(&owner(), json!({"ownerReferences": plain})));
    }

    #[test]
    fn labels_of_an_earlier_release_count_only_without_the_label_of_this_one() {
        let owner = owner().or_labelled([("name".to_owned(), "x".to_owned())].into());
        assert!(owns(&owner, json!({"labels": {"name": "x"}})));
        assert!(!owns(&owner, json!({"labels": {"name": "y"}})));
        assert!(!owns(&owner, json!({"labels": {"name": "x", LABEL: "other"}})));
    }

    #[test]
    fn an_indirect_dependent_is_told_by_its_label_alone() {
        let metadata = |uid| json!({"ownerReferences": controlled_by("other"), "labels": {LABEL: uid}});
        assert!(owns(&owner().indirectly(), metadata("mine")));
        assert!(!owns(&owner().indirectly(), metadata("other")));
    }

    #[test]
    fn an_owner_without_a_uid_owns_nothing() {
        let owner = Owner::new(&ConfigMap::default(), LABEL);
        assert!(!owns(&owner, json!({"labels": {LABEL: ""}})));
    }
}
