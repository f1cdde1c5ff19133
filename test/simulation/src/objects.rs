//! Access to objects of any kind.

use capn_core::{control_plane::plan::Object, with_object};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use serde_json::Value;

/// Kind and name of an object.
pub(crate) type Key = (String, String);

pub(crate) fn key(object: &Object) -> Key {
    (kind(object), meta(object).name.clone().unwrap_or_default())
}

pub(crate) fn kind(object: &Object) -> String {
    fn of<K: Resource<DynamicType = ()>>(_: &K) -> String {
        K::kind(&()).into_owned()
    }
    with_object!(object, object => of(object.as_ref()))
}

pub(crate) fn meta(object: &Object) -> &ObjectMeta {
    with_object!(object, object => object.meta())
}

pub(crate) fn meta_mut(object: &mut Object) -> &mut ObjectMeta {
    with_object!(object, object => object.meta_mut())
}

/// The object as JSON.
pub(crate) fn json(object: &Object) -> Value {
    with_object!(object, object => serde_json::to_value(object.as_ref()).unwrap_or_default())
}

/// Everything that a user would call the object: not its status, nor what the API server counts.
pub(crate) fn content(object: &Object) -> Value {
    let mut value = json(object);
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(meta) = value.pointer_mut("/metadata").and_then(Value::as_object_mut) {
        for counted in ["resourceVersion", "generation", "creationTimestamp", "uid"] {
            meta.remove(counted);
        }
    }
    value
}

/// The object as it is wanted, with what the API server keeps of the one that is there.
pub(crate) fn merged(wanted: &Object, live: &Object) -> Object {
    fn keep<K>(wanted: &K, live: &K) -> K
    where
        K: Resource + Clone + serde::Serialize + serde::de::DeserializeOwned,
    {
        let (mut new, old) = (
            serde_json::to_value(wanted).unwrap_or_default(),
            serde_json::to_value(live).unwrap_or_default(),
        );
        for kept in ["uid", "resourceVersion", "creationTimestamp", "generation"] {
            new["metadata"][kept] = old["metadata"][kept].clone();
        }
        // Labels of others stay.
        let mut labels = old["metadata"]["labels"].clone();
        if let (Some(all), Some(ours)) = (labels.as_object_mut(), new["metadata"]["labels"].as_object()) {
            all.extend(ours.clone());
            new["metadata"]["labels"] = labels;
        }
        if !old["status"].is_null() {
            new["status"] = old["status"].clone();
        }
        if new["spec"]["clusterIP"].is_null() && !old["spec"]["clusterIP"].is_null() {
            new["spec"]["clusterIP"] = old["spec"]["clusterIP"].clone();
        }
        serde_json::from_value(new).unwrap_or_else(|_| wanted.clone())
    }
    with_object!(wanted, wanted => match live.clone().try_into() {
        Ok(live) => keep(wanted.as_ref(), &live).into(),
        Err(_) => Object::from(wanted.as_ref().clone()),
    })
}
