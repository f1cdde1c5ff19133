//! The condition `DatastoreHealthy`.

use super::{Basis, Outcome};
use crate::datastore;
use capn_api::{condition::ConditionUpdate, nested_control_plane::condition::DATASTORE_HEALTHY};

pub(super) fn condition(basis: &Basis<'_>) -> ConditionUpdate {
    match (basis.names, basis.observed, basis.outcome) {
        (_, _, Outcome::Deleting(_)) | (None, _, _) | (_, None, _) => basis.kept(DATASTORE_HEALTHY),
        (Some(names), Some(observed), _) => datastore::health(basis.ncp, names, observed),
    }
}
