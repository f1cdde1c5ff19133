//! A kube-apiserver on etcd, with our CRDs and Cluster API's: no nodes, no controller manager.

use crate::{
    audit::Audit,
    certificates::{Pair, TestAuthority, key_pair},
    paths,
    process::{Process, free_port, remove_at_the_end},
    shipped,
};
use k8s_openapi::{ByteString, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition};
use kube::{
    Api, Client, Config,
    api::{Patch, PatchParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};
use std::{
    fs,
    path::PathBuf,
    sync::OnceLock,
    time::{Duration, Instant},
};

/// Longest start; a busy machine needs a while.
const START: Duration = Duration::from_secs(120);

/// What all tests of a binary share.
#[derive(Debug)]
pub struct Environment {
    pub(crate) folder: PathBuf,
    pub(crate) authority: TestAuthority,
    pub(crate) audit: Audit,
    port: u16,
    admin: Kubeconfig,
    api_server: Process,
    etcd: Process,
}

impl Environment {
    /// The environment of this test binary, started by the first test that asks.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Result<Environment, String>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| {
            // One that cannot start is tried once, not once a test.
            std::panic::catch_unwind(Self::start).map_err(|cause| crate::test_env::text(cause.as_ref()))
        });
        shared
            .as_ref()
            .unwrap_or_else(|cause| panic!("the environment did not start: {cause}"))
    }

    /// Starts etcd and kube-apiserver and installs the CRDs.
    ///
    /// # Panics
    /// When something is missing or does not come up; the message says what.
    pub fn start() -> Self {
        let folder = std::env::temp_dir().join(format!("capn-integration-{}-{}", std::process::id(), free_port()));
        fs::create_dir_all(&folder).expect("no temporary folder");
        remove_at_the_end(&folder);
        let authority = TestAuthority::new();
        let (etcd_url, etcd) = start_etcd(&folder);
        let port = free_port();
        let audit = Audit::new(folder.join("audit.log"));
        let api_server = start_api_server(&folder, &authority, &etcd_url, port, &audit);
        let admin = authority.client(crate::test_env::ADMIN, "system:masters");
        let admin = serde_json::from_value(kubeconfig(&authority.certificate, port, &admin)).expect("a kubeconfig");
        let environment = Self {
            folder,
            authority,
            audit,
            port,
            admin,
            api_server,
            etcd,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("no runtime");
        runtime.block_on(environment.ready());
        environment
    }

    /// A client with every right. It belongs to the runtime that it is made in.
    pub async fn client(&self) -> Client {
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(self.admin.clone(), &options)
            .await
            .expect("a kubeconfig");
        config.read_timeout = None;
        Client::try_from(config).expect("no client")
    }

    /// Port of the API server on 127.0.0.1.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// A kubeconfig of this user, for a server on this port of 127.0.0.1.
    pub(crate) fn kubeconfig(&self, user: &str, group: &str, port: u16) -> Value {
        kubeconfig(&self.authority.certificate, port, &self.authority.client(user, group))
    }

    async fn ready(&self) {
        let deadline = Instant::now() + START;
        let client = self.client().await;
        loop {
            let request = http::Request::get("/readyz").body(Vec::new()).expect("a request");
            match client.request_text(request).await {
                Ok(_) => break,
                Err(error) => {
                    for (name, process) in [("kube-apiserver", &self.api_server), ("etcd", &self.etcd)] {
                        let ended = process.ended();
                        assert!(
                            ended.is_none(),
                            "{name} ended with {ended:?}:\n{}",
                            process.last_words()
                        );
                    }
                    assert!(
                        Instant::now() < deadline,
                        "kube-apiserver is not ready after {START:?}: {error}"
                    );
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        let crds = capn_api::control_plane_crds()
            .into_iter()
            .chain(capn_api::infrastructure_crds());
        let crds = crds
            .map(|crd| serde_json::to_value(crd).expect("a CRD"))
            .chain(cluster_api_crds())
            .chain(kubevirt_crds());
        shipped::install(&client).await;
        let api = Api::<CustomResourceDefinition>::all(client);
        futures::future::join_all(crds.map(|crd| install(&api, crd, deadline))).await;
    }
}

fn start_etcd(folder: &std::path::Path) -> (String, Process) {
    let (client, peer) = (
        format!("http://127.0.0.1:{}", free_port()),
        format!("http://127.0.0.1:{}", free_port()),
    );
    let process = Process::start(&paths::etcd(), &folder.join("etcd.log"), |command| {
        command
            .arg("--data-dir")
            .arg(folder.join("etcd"))
            .arg("--unsafe-no-fsync")
            .args(["--log-level", "warn"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer]);
        command.args(["--initial-cluster", &format!("default={peer}")]);
    });
    (client, process)
}

fn start_api_server(
    folder: &std::path::Path,
    authority: &TestAuthority,
    etcd: &str,
    port: u16,
    audit: &Audit,
) -> Process {
    let serving = authority.server();
    let file = |name: &str, text: &str| {
        let path = folder.join(name);
        fs::write(&path, text).expect("the folder cannot be written");
        path
    };
    let ca = file("ca.crt", &authority.certificate);
    let certificate = file("apiserver.crt", &serving.certificate);
    let serving_key = file("apiserver.key", &serving.key);
    let (public, private) = key_pair();
    let (accounts, signing) = (file("sa.pub", &public), file("sa.key", &private));
    let policy = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    });
    let policy = file("audit-policy.yaml", &policy.to_string());
    // Services get loopback addresses, so that a test can listen on them and be a tenant's API
    // server; test binaries that run at the same time get ranges of their own.
    let services = format!("127.{}.0.0/16", 64 + std::process::id() % 128);
    Process::start(
        &paths::kube_apiserver(),
        &folder.join("kube-apiserver.log"),
        |command| {
            command.args([
                "--etcd-servers",
                etcd,
                "--bind-address",
                "127.0.0.1",
                "--secure-port",
                &port.to_string(),
            ]);
            command.args([
                "--service-cluster-ip-range",
                &services,
                "--endpoint-reconciler-type",
                "none",
            ]);
            command.args(["--authorization-mode", "RBAC", "--allow-privileged"]);
            // Some clusters let only those block an owner's deletion who may set its finalizers.
            command.args(["--enable-admission-plugins", "OwnerReferencesPermissionEnforcement"]);
            // Controllers that these wait for do not run here.
            command.args([
                "--disable-admission-plugins",
                "ServiceAccount,StorageObjectInUseProtection",
            ]);
            command.arg("--client-ca-file").arg(ca);
            command
                .arg("--tls-cert-file")
                .arg(certificate)
                .arg("--tls-private-key-file")
                .arg(serving_key);
            command.args(["--service-account-issuer", "https://kubernetes.default.svc"]);
            command.arg("--service-account-key-file").arg(&accounts);
            command.arg("--service-account-signing-key-file").arg(&signing);
            command
                .arg("--audit-policy-file")
                .arg(policy)
                .arg("--audit-log-path")
                .arg(&audit.path);
            command.args(["--audit-log-format", "json", "--audit-log-maxsize", "100000"]);
        },
    )
}

/// The Cluster API kinds that our controllers read, in the version that they read, without the
/// webhook that would convert others.
fn cluster_api_crds() -> Vec<Value> {
    let folder = paths::cluster_api_crds();
    ["clusters", "machines"]
        .map(|plural| {
            let path = folder.join(format!("cluster.x-k8s.io_{plural}.yaml"));
            let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            let mut crd: Value = serde_saphyr::from_str(&text).expect("a CRD as YAML");
            let spec = crd["spec"].as_object_mut().expect("a CRD has a spec");
            spec.remove("conversion");
            if let Some(versions) = spec.get_mut("versions").and_then(Value::as_array_mut) {
                versions.retain(|version| version["name"] == "v1beta2");
            }
            crd.as_object_mut().expect("an object").remove("status");
            crd
        })
        .into()
}

/// KubeVirt's kinds, with KubeVirt's schema.
fn kubevirt_crds() -> Vec<Value> {
    let list: Value =
        serde_json::from_str(include_str!("../../infrastructure/vm-runner/manifests/crds.json")).expect("JSON");
    list["items"].as_array().expect("a list of CRDs").clone()
}

async fn install(api: &Api<CustomResourceDefinition>, crd: Value, deadline: Instant) {
    let name = crd["metadata"]["name"].as_str().expect("a CRD has a name").to_owned();
    let params = PatchParams::apply("capn-integration").force();
    if let Err(error) = api.patch(&name, &params, &Patch::Apply(&crd)).await {
        panic!("CRD {name} is refused: {error}");
    }
    loop {
        let live = api.get(&name).await.expect("a CRD that was just applied");
        let conditions = live.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions
            .iter()
            .any(|c| c.type_ == "Established" && c.status == "True")
        {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "CRD {name} is not established: {conditions:?}"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn kubeconfig(authority: &str, port: u16, user: &Pair) -> Value {
    let data = |pem: &str| json!(ByteString(pem.as_bytes().to_vec()));
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {
            "server": format!("https://127.0.0.1:{port}"), "certificate-authority-data": data(authority),
        }}],
        "users": [{"name": "user", "user": {
            "client-certificate-data": data(&user.certificate), "client-key-data": data(&user.key),
        }}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "user"}}],
        "current-context": "test",
    })
}
