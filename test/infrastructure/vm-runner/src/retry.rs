//! Back-off for passes that failed, an attempt count for each object.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use kube::Resource;
use kube::runtime::reflector::ObjectRef;

/// How often each object failed in a row.
pub struct Attempts<K: Resource>(Mutex<HashMap<ObjectRef<K>, u32>>)
where
    K::DynamicType: Eq + std::hash::Hash;

impl<K: Resource> Default for Attempts<K>
where
    K::DynamicType: Eq + std::hash::Hash,
{
    fn default() -> Self {
        Attempts(Mutex::new(HashMap::new()))
    }
}

impl<K: Resource<DynamicType = ()>> Attempts<K> {
    /// The pause before the next attempt: 0.2 s, doubled up to 30 s.
    pub fn next(&self, object: &K) -> Duration {
        let mut attempts = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let count = attempts.entry(ObjectRef::from_obj(object)).or_default();
        *count += 1;
        Duration::from_millis(200u64.saturating_mul(1 << (*count - 1).min(8))).min(Duration::from_secs(30))
    }

    /// A pass succeeded.
    pub fn forget(&self, object: &K) {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .remove(&ObjectRef::from_obj(object));
    }
}
