//! KubeVirt's Events for what is made and deleted. They are told once and never waited for.

use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use kube::{Client, Resource, ResourceExt};

/// What happened to the object that another was made or deleted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    reason: &'static str,
    note: String,
}

impl Told {
    /// A machine has started an instance.
    #[must_use]
    pub fn instance_created(name: &str) -> Told {
        Told {
            reason: "SuccessfulCreate",
            note: format!("Started the virtual machine by creating the new virtual machine instance {name}"),
        }
    }

    /// A machine has stopped its instance.
    #[must_use]
    pub fn instance_deleted(name: &str) -> Told {
        Told {
            reason: "SuccessfulDelete",
            note: format!("Stopped the virtual machine by deleting the virtual machine instance {name}"),
        }
    }

    /// A machine could not start an instance.
    #[must_use]
    pub fn instance_failed(reason: &'static str, message: &str) -> Told {
        Told {
            reason,
            note: format!("Error creating virtual machine instance: {message}"),
        }
    }

    /// An instance has a pod.
    #[must_use]
    pub fn pod_created(name: &str) -> Told {
        Told {
            reason: "SuccessfulCreate",
            note: format!("Created virtual machine pod {name}"),
        }
    }

    /// An instance's pod was deleted.
    #[must_use]
    pub fn pod_deleted(name: &str) -> Told {
        Told {
            reason: "SuccessfulDelete",
            note: format!("Deleted virtual machine pod {name}"),
        }
    }

    /// An instance gets no pod.
    #[must_use]
    pub fn pod_failed(message: &str) -> Told {
        Told {
            reason: "FailedCreate",
            note: format!("Error creating pod: {message}"),
        }
    }

    fn event(&self) -> Event {
        let normal = self.reason.starts_with("Successful");
        Event {
            type_: if normal { EventType::Normal } else { EventType::Warning },
            reason: self.reason.to_owned(),
            // The API server takes no more.
            note: Some(self.note.chars().take(1000).collect()),
            action: "Reconcile".to_owned(),
            secondary: None,
        }
    }
}

/// Writes Events under KubeVirt's name.
pub struct Events(Recorder);

impl Events {
    /// With this client.
    #[must_use]
    pub fn new(client: Client) -> Events {
        let reporter = Reporter {
            controller: "virtualmachine-controller".to_owned(),
            instance: None,
        };
        Events(Recorder::new(client, reporter))
    }

    /// Tells it on this object; a failure is only logged.
    pub async fn tell<K: Resource<DynamicType = ()>>(&self, object: &K, told: &Told) {
        if let Err(error) = self.0.publish(&told.event(), &object.object_ref(&())).await {
            tracing::warn!(object = object.name_any(), %error, reason = told.reason, "no event");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_are_warnings() {
        assert_eq!(Told::instance_created("a").event().type_, EventType::Normal);
        assert_eq!(Told::pod_deleted("a").event().type_, EventType::Normal);
        let failed = Told::pod_failed(&"x".repeat(2000)).event();
        assert_eq!(failed.type_, EventType::Warning);
        assert_eq!(failed.note.map(|note| note.len()), Some(1000));
    }
}
