//! What a plan consists of: one thing to do each, and what came of it.

use crate::api_error::ApiError;
use crate::pki::PemPair;
use crate::workload_cluster::{Objects, PrepareError};
use capn_api::NestedControlPlane;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, Deployment, StatefulSet},
    core::v1::{ConfigMap, PersistentVolumeClaim, Secret, Service},
    policy::v1::PodDisruptionBudget,
};
use kube::{Resource, ResourceExt};
use serde_json::Value;
use std::{fmt, time::Duration};

macro_rules! objects {
    ($($kind:ident),+ $(,)?) => {
        /// An object of the management cluster that belongs to a control plane.
        #[derive(Clone)]
        pub enum Object {
            $(#[doc = concat!("A ", stringify!($kind), ".")] $kind(Box<$kind>),)+
        }

        $(impl From<$kind> for Object {
            fn from(object: $kind) -> Self {
                Self::$kind(Box::new(object))
            }
        }

        impl TryFrom<Object> for $kind {
            type Error = Object;

            fn try_from(object: Object) -> Result<Self, Object> {
                match object {
                    Object::$kind(object) => Ok(*object),
                    other => Err(other),
                }
            }
        })+

        /// Kind, namespace and name: what a Secret holds is told nowhere.
        impl fmt::Debug for Object {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$kind(object) => write!(
                        f,
                        "{} {}/{}",
                        $kind::kind(&()),
                        object.namespace().unwrap_or_default(),
                        object.name_any()
                    ),)+
                }
            }
        }

        /// Runs the same code on an object, whatever its kind.
        #[macro_export]
        macro_rules! with_object {
            ($value:expr, $object:ident => $body:expr) => {
                match $value {
                    $($crate::control_plane::action::Object::$kind($object) => $body,)+
                }
            };
        }
    };
}

objects!(
    Service,
    ConfigMap,
    Secret,
    Deployment,
    StatefulSet,
    PodDisruptionBudget,
    PersistentVolumeClaim,
    ControllerRevision,
);

/// One thing to do. Nothing in it is decided by whoever carries it out, but for the one check whether
/// an object is ours.
#[derive(Clone, Debug)]
pub enum Action {
    /// Make the object as it is wanted. `live` is the object as it was read.
    Apply {
        /// What is wanted of it.
        wanted: Object,
        /// The object as it was read, if it was found.
        live: Option<Object>,
    },
    /// Create the object. The answer is the one that is there, if it is ours already.
    Create(Object),
    /// Put `wanted` in the place of `live`, unless somebody changed it meanwhile.
    Replace {
        /// The object as it was read.
        live: Object,
        /// What takes its place.
        wanted: Object,
    },
    /// Delete this very object.
    Delete(Object),
    /// Merge this into the NestedControlPlane itself.
    Patch(Value),
    /// Ask whether this control plane may start now.
    AcquireStartSlot,
    /// Drop the client of the workload cluster: it is another one from now on.
    ForgetWorkloadCluster,
    /// Write what workers join by.
    PrepareWorkloadCluster(Box<Preparation>),
}

impl Action {
    /// Makes an object as it is wanted; `live` is what was found of it.
    pub fn apply<K: Clone + Into<Object>>(wanted: K, live: &Option<K>) -> Self {
        Self::Apply {
            wanted: wanted.into(),
            live: live.clone().map(Into::into),
        }
    }

    /// Makes an object as it is wanted, or deletes it where it is not.
    pub fn apply_or_delete<K: Clone + Into<Object>>(wanted: Option<K>, live: &Option<K>) -> Option<Self> {
        match (wanted, live) {
            (None, live) => live.clone().map(|live| Self::Delete(live.into())),
            (Some(wanted), live) => Some(Self::apply(wanted, live)),
        }
    }
}

/// What is written inside a workload cluster, and how it is reached.
#[derive(Clone)]
pub struct Preparation {
    /// URL of the API server.
    pub server: String,
    /// Certificates that its own is trusted by, PEM.
    pub authority: String,
    /// An administrator's certificate.
    pub admin: PemPair,
    /// What is written.
    pub objects: Objects,
}

impl fmt::Debug for Preparation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparation")
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

/// How far a workload cluster was prepared.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Prepared {
    /// It holds all that it should.
    Whole,
    /// Too many others are being written to: come back after this time.
    NotNow(Duration),
}

/// What came of an action.
#[derive(Debug)]
pub enum Answer {
    /// The object as the API server has it now.
    Object(Object),
    /// The NestedControlPlane as the API server has it now.
    ControlPlane(Box<NestedControlPlane>),
    /// Whether it may start.
    StartSlot(bool),
    /// How far the workload cluster was prepared, or why it was not.
    Prepared(Result<Prepared, PrepareError>),
    /// It is done, and there is nothing to tell.
    Done,
}

/// What came of an action, or why the management cluster did not take it.
pub type Reply = Result<Answer, ApiError>;
