//! Kubeconfigs as clients and components read them.

use serde_json::{Value, json};

/// How a kubeconfig identifies its user.
#[derive(Clone, Copy, Debug)]
pub enum Credentials<'a> {
    /// Certificate and key, PEM, inside the kubeconfig.
    Embedded(&'a super::PemPair),
    /// Paths, which client-go reads again when the files change.
    Files {
        /// Path of the certificate.
        certificate: &'a str,
        /// Path of the key.
        key: &'a str,
    },
    /// Nobody.
    None,
}

/// How a kubeconfig says which authorities a server's certificate may be signed by.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'a> {
    /// Their certificates, PEM, inside the kubeconfig.
    Embedded(&'a str),
    /// Path of their certificates.
    File(&'a str),
}

/// A kubeconfig as YAML: one cluster, one user, one context.
pub fn kubeconfig(cluster: &str, server: &str, trust: Trust<'_>, user: &str, credentials: Credentials<'_>) -> String {
    let data = |pem: &str| json!(k8s_openapi::ByteString(pem.as_bytes().to_vec()));
    let user_value = match credentials {
        Credentials::Embedded(pair) => {
            json!({"client-certificate-data": data(&pair.certificate), "client-key-data": data(&pair.key)})
        }
        Credentials::Files { certificate, key } => json!({"client-certificate": certificate, "client-key": key}),
        Credentials::None => Value::Null,
    };
    let mut of_cluster = json!({"server": server});
    match trust {
        Trust::Embedded(pem) => of_cluster["certificate-authority-data"] = data(pem),
        Trust::File(path) => of_cluster["certificate-authority"] = json!(path),
    }
    let context = format!("{user}@{cluster}");
    let mut config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": cluster, "cluster": of_cluster}],
        "contexts": [],
        "current-context": "",
        "users": [],
        "preferences": {},
    });
    if !user_value.is_null() {
        config["contexts"] = json!([{"name": context, "context": {"cluster": cluster, "user": user}}]);
        config["current-context"] = json!(context);
        config["users"] = json!([{"name": user, "user": user_value}]);
    }
    crate::yaml(&config)
}
