//! Clients of workload clusters. Their API servers belong to tenants: an answer is bounded in bytes
//! and time, and neither a kubeconfig nor the environment leads a client anywhere else.

use capn_api::common::ApiEndpoint;
use capn_core::pki::{self, Credentials, PemPair, Trust};
use http_body_util::Limited;
use kube::{
    Client, Config,
    client::{ClientBuilder, DynBody},
    config::{KubeConfigOptions, Kubeconfig},
};
use std::{net::IpAddr, time::Duration};
use tower::util::MapResponseLayer;

/// Longest answer that is read, in bytes: more than an API server stores of one object.
const MAX_ANSWER: usize = 4 << 20;

/// How the API server of a workload cluster is reached with credentials of our own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Access<'a> {
    /// URL of the API server.
    pub(crate) server: &'a str,
    /// Certificate authorities that are trusted, PEM.
    pub(crate) authority: &'a str,
    /// An administrator's certificate.
    pub(crate) admin: &'a PemPair,
}

impl Access<'_> {
    /// A client that uses it.
    ///
    /// # Errors
    /// When the certificates cannot be used, in words that hold none of them.
    pub(crate) async fn client(self) -> Result<Client, String> {
        let user = Credentials::Embedded(self.admin);
        let text = pki::kubeconfig(
            "workload",
            self.server,
            Trust::Embedded(self.authority),
            "manager",
            user,
        );
        let kubeconfig = Kubeconfig::from_yaml(&text).map_err(|_| "the kubeconfig cannot be read".to_owned())?;
        client(kubeconfig).await
    }
}

/// A client from what a kubeconfig holds itself, whose server must be `endpoint`. Nothing else that
/// it names is run, opened or called: a user who may write it must not act as this process.
///
/// # Errors
/// Says what is wrong with it, without any of its content.
pub(crate) async fn from_kubeconfig(text: &str, endpoint: &ApiEndpoint) -> Result<Client, String> {
    let mut kubeconfig = Kubeconfig::from_yaml(text).map_err(|_| "its value is not a kubeconfig".to_owned())?;
    for named in &mut kubeconfig.auth_infos {
        let user = named.auth_info.get_or_insert_default();
        user.exec = None;
        user.auth_provider = None;
        user.token_file = None;
        user.client_certificate = None;
        user.client_key = None;
    }
    for named in &mut kubeconfig.clusters {
        let cluster = named.cluster.get_or_insert_default();
        cluster.certificate_authority = None;
        let server: http::Uri = cluster
            .server
            .as_deref()
            .and_then(|server| server.parse().ok())
            .ok_or("its server is not a URL")?;
        let port = i32::from(server.port_u16().unwrap_or(443));
        let same = server.host().map(host) == Some(host(&endpoint.host)) && port == endpoint.port;
        if server.scheme_str() != Some("https") || !same {
            return Err(format!("its server must be https://{}", endpoint.authority()));
        }
    }
    client(kubeconfig).await
}

/// A host as a value: addresses have many spellings.
fn host(text: &str) -> Result<IpAddr, String> {
    let address = text.trim_start_matches('[').trim_end_matches(']');
    address.parse().map_err(|_| text.to_ascii_lowercase())
}

async fn client(mut kubeconfig: Kubeconfig) -> Result<Client, String> {
    for named in &mut kubeconfig.clusters {
        // Without one here, kube looks for a proxy in the environment, which leads elsewhere.
        named.cluster.get_or_insert_default().proxy_url = Some("http://unused.invalid".into());
    }
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    let mut config = config.map_err(|_| "its credentials cannot be read".to_owned())?;
    config.default_retry = false;
    config.connect_timeout = Some(Duration::from_secs(3));
    config.read_timeout = Some(super::BUDGET);
    config.reset_reader_on_write = true;
    config.proxy_url = None;
    let bounded = MapResponseLayer::new(|response: http::Response<Box<DynBody>>| {
        response.map(|body| Limited::new(body, MAX_ANSWER))
    });
    let builder = ClientBuilder::try_from(config).map_err(|_| "its certificates cannot be used".to_owned())?;
    Ok(builder.with_layer(&bounded).build())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refused(server: &str, endpoint: &str) -> String {
        let text = format!(
            "apiVersion: v1\nkind: Config\nclusters: [{{name: a, cluster: {{server: '{server}'}}}}]\n\
             users: [{{name: a, user: {{token: secret-token}}}}]\n\
             contexts: [{{name: a, context: {{cluster: a, user: a}}}}]\ncurrent-context: a\n"
        );
        let endpoint = ApiEndpoint {
            host: endpoint.into(),
            port: 6443,
        };
        from_kubeconfig(&text, &endpoint).await.err().unwrap_or_default()
    }

    #[tokio::test]
    async fn a_kubeconfig_leads_only_to_its_own_cluster_and_only_by_https() {
        assert_eq!(refused("https://10.0.0.1:6443", "10.0.0.1").await, "");
        assert_eq!(refused("https://[fd00::1]:6443", "fd00:0::1").await, "");
        assert_eq!(refused("https://API.example.com:6443", "api.example.com").await, "");
        for server in [
            "http://10.0.0.1:6443",
            "https://169.254.169.254",
            "https://10.0.0.1:10250",
            "https://10.0.0.1",
            "https://user@10.0.0.2:6443",
            "nonsense",
        ] {
            let why = refused(server, "10.0.0.1").await;
            assert!(why.starts_with("its server"), "{server}: {why:?}");
            assert!(!why.contains("secret-token"));
        }
    }

    #[tokio::test]
    async fn a_proxy_of_the_environment_is_not_for_workload_clusters() {
        if std::env::var_os("HTTPS_PROXY").is_some() {
            assert_eq!(refused("https://10.0.0.1:6443", "10.0.0.1").await, "");
            return;
        }
        // Others in this process must not see the proxy, so the same test runs again in one of its own.
        let test = "workload_cluster::client::tests::a_proxy_of_the_environment_is_not_for_workload_clusters";
        let again = std::process::Command::new(std::env::current_exe().unwrap())
            .env("HTTPS_PROXY", "http://127.0.0.1:1")
            .args(["--exact", test])
            .output()
            .unwrap();
        let out = String::from_utf8_lossy(&again.stdout);
        assert!(again.status.success() && out.contains("1 passed"), "{out}");
    }
}
