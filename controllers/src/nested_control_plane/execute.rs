//! Carries out what was planned, and decides nothing.

use crate::runtime::api_client::{ApiClient, ApiError, Dependents};
use crate::workload_cluster::{Access, Writer};
use capn_api::NestedControlPlane;
use capn_core::{
    control_plane::{
        plan::{Action, Answer, Object, Preparation, Reply},
        start_limiter::StartLimiter,
    },
    with_object,
};
use futures::{FutureExt, future::join_all};
use jiff::Timestamp;
use std::sync::Arc;

/// What actions are carried out with.
#[derive(Clone, Copy)]
pub(super) struct Executor<'a> {
    pub(super) api: &'a ApiClient,
    pub(super) dependents: Dependents<'a>,
    pub(super) ncp: &'a NestedControlPlane,
    pub(super) workload_clusters: &'a Writer,
    pub(super) start_limiter: &'a StartLimiter,
    /// All control planes that are known.
    pub(super) all: &'a [Arc<NestedControlPlane>],
    pub(super) now: Timestamp,
}

impl Executor<'_> {
    /// Carries out these actions side by side. None is cut off by what another one meets.
    pub(super) async fn execute(self, actions: Vec<Action>) -> Vec<Reply> {
        // Boxed, as all that is large: the steps of a pass lie in each other on a thread's stack.
        join_all(actions.into_iter().map(|action| self.one(action).boxed())).await
    }

    async fn one(self, action: Action) -> Reply {
        match action {
            Action::Apply { wanted, live } => answer(self.apply(wanted, live).await),
            Action::Create(wanted) => answer(with_object!(wanted, wanted => {
                self.dependents.create(wanted.as_ref()).await.map(Object::from)
            })),
            Action::Replace { live, wanted } => answer(self.replace(live, wanted).await),
            Action::Delete(live) => {
                let deleted = with_object!(live, live => self.dependents.delete(live.as_ref()).await);
                deleted.map(|()| Answer::Done)
            }
            Action::Patch(patch) => {
                let patched = self.api.merge_patch(&patch, self.ncp).await;
                patched.map(|ncp| Answer::ControlPlane(Box::new(ncp)))
            }
            Action::AcquireStartSlot => {
                let given = self.start_limiter.try_acquire(self.ncp, self.all, self.now);
                Ok(Answer::StartSlot(given))
            }
            Action::ForgetWorkloadCluster => {
                self.workload_clusters.forget(self.dependents.owner().uid());
                Ok(Answer::Done)
            }
            Action::PrepareWorkloadCluster(preparation) => self.prepare(*preparation).await,
        }
    }

    async fn apply(self, wanted: Object, live: Option<Object>) -> Result<Object, ApiError> {
        with_object!(wanted, wanted => {
            let live = live.and_then(|live| live.try_into().ok());
            self.dependents.apply(wanted.as_ref(), live.as_ref()).await.map(Object::from)
        })
    }

    async fn replace(self, live: Object, wanted: Object) -> Result<Object, ApiError> {
        with_object!(wanted, wanted => match live.try_into() {
            Ok(live) => self.dependents.replace(&live, *wanted).await.map(Object::from),
            // Only an object of the same kind is ever replaced.
            Err(_) => self.dependents.create(wanted.as_ref()).await.map(Object::from),
        })
    }

    async fn prepare(self, preparation: Preparation) -> Reply {
        let access = Access {
            server: &preparation.server,
            authority: &preparation.authority,
            admin: &preparation.admin,
        };
        let uid = self.dependents.owner().uid();
        let written = self.workload_clusters.write(uid, access, preparation.objects).await;
        Ok(Answer::Prepared(written))
    }
}

fn answer(written: Result<Object, ApiError>) -> Reply {
    written.map(Answer::Object)
}
