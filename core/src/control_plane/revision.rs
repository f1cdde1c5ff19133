//! Revisions of the pod templates.

/// The newest revision of the pod templates. One that has been released never changes: pods that run are
/// made of it. A change is another revision, beside the older ones, with golden files of its own in
/// `revisions/`; those of a released one are never written again.
pub const LATEST_TEMPLATE_REVISION: u32 = 1;
