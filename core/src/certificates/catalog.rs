//! Every Secret with leaf certificates, as a table. Observing, issuing, mounting and the API server's flags
//! follow it: a new certificate is a new row.

use super::authority::{AuthorityRow, CLUSTER, FRONT_PROXY};
use crate::control_plane::{addresses::Addresses, desired::DesiredControlPlane, names::Names};
use crate::datastore;
use crate::host::Host;
use crate::pki::{LeafSpec, Usage};

/// A Secret with leaf certificates.
pub struct LeafSecret {
    /// Name of the Secret.
    pub name: fn(&Names) -> String,
    /// How it holds them.
    pub format: Format,
    /// The program that mounts it; `None` where the Secret is for users.
    pub program: Option<Program>,
    /// Its certificates. One with a kubeconfig has one.
    pub leaves: &'static [LeafRow],
}

/// A leaf certificate.
pub struct LeafRow {
    /// Its files are `<prefix>.crt` and `<prefix>.key`.
    pub prefix: &'static str,
    /// The authority that signs it.
    pub signer: &'static AuthorityRow,
    /// What it says.
    pub profile: fn(&DesiredControlPlane, &Addresses) -> LeafSpec,
    /// What its files are called where they are mounted.
    pub mounted_as: &'static str,
    /// Flags of kube-apiserver that name its two files.
    pub flags: Option<[&'static str; 2]>,
}

/// How a Secret holds its certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    /// As files.
    Files,
    /// As files, and a kubeconfig that names them beside it, for the API server's Service.
    FilesAndKubeconfig,
    /// Inside a kubeconfig for the published endpoint, under the key `value`.
    Kubeconfig,
}

/// A program of the control plane.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Program {
    /// kube-apiserver.
    ApiServer,
    /// kube-controller-manager.
    ControllerManager,
    /// kube-scheduler.
    Scheduler,
    /// The datastore.
    Datastore,
}

/// All of them.
pub fn leaf_secrets() -> impl Iterator<Item = &'static LeafSecret> {
    LEAF_SECRETS.iter().chain(&datastore::LEAF_SECRETS)
}

/// Those of the control plane itself.
static LEAF_SECRETS: [LeafSecret; 4] = [
    LeafSecret {
        name: Names::api_server_certificates,
        format: Format::Files,
        program: Some(Program::ApiServer),
        leaves: &[
            LeafRow {
                prefix: "apiserver",
                signer: &CLUSTER,
                profile: api_server,
                mounted_as: "apiserver",
                flags: Some(["tls-cert-file", "tls-private-key-file"]),
            },
            LeafRow {
                prefix: "front-proxy-client",
                signer: &FRONT_PROXY,
                profile: |_, _| LeafSpec::client("front-proxy-client", None),
                mounted_as: "front-proxy-client",
                flags: Some(["proxy-client-cert-file", "proxy-client-key-file"]),
            },
            LeafRow {
                prefix: "kubelet-client",
                signer: &CLUSTER,
                profile: |_, _| LeafSpec::client("kube-apiserver-kubelet-client", None),
                mounted_as: "kubelet-client",
                flags: Some(["kubelet-client-certificate", "kubelet-client-key"]),
            },
        ],
    },
    LeafSecret {
        name: Names::controller_manager,
        format: Format::FilesAndKubeconfig,
        program: Some(Program::ControllerManager),
        leaves: &[client(|_, _| LeafSpec::client("system:kube-controller-manager", None))],
    },
    LeafSecret {
        name: Names::scheduler,
        format: Format::FilesAndKubeconfig,
        program: Some(Program::Scheduler),
        leaves: &[client(|_, _| LeafSpec::client("system:kube-scheduler", None))],
    },
    LeafSecret {
        name: Names::kubeconfig,
        format: Format::Kubeconfig,
        program: None,
        leaves: &[client(|_, _| {
            LeafSpec::client("kubernetes-admin", Some("system:masters"))
        })],
    },
];

/// A client of the API server.
const fn client(profile: fn(&DesiredControlPlane, &Addresses) -> LeafSpec) -> LeafRow {
    LeafRow {
        prefix: "tls",
        signer: &CLUSTER,
        profile,
        mounted_as: "tls",
        flags: None,
    }
}

/// A Secret's name, and the keys of it that are mounted as which files.
pub type Mounted = (String, Vec<(String, String)>);

/// What this program mounts.
pub fn mounted(program: Program, names: &Names) -> Vec<Mounted> {
    let mounts = |secret: &LeafSecret| {
        let files = secret.leaves.iter().flat_map(|leaf| {
            ["crt", "key"].map(|part| (format!("{}.{part}", leaf.prefix), format!("{}.{part}", leaf.mounted_as)))
        });
        let kubeconfig = (secret.format == Format::FilesAndKubeconfig).then(|| (KUBECONFIG.into(), KUBECONFIG.into()));
        ((secret.name)(names), files.chain(kubeconfig).collect())
    };
    let secrets = leaf_secrets().filter(|secret| secret.program == Some(program));
    secrets.map(mounts).collect()
}

/// These files of the Secret with copies of the authorities.
pub fn authority_files(names: &Names, files: &[&str]) -> Mounted {
    let same = |file: &&str| ((*file).to_owned(), (*file).to_owned());
    (names.pki(), files.iter().map(same).collect())
}

/// The key of a kubeconfig beside the files that it names.
pub const KUBECONFIG: &str = "kubeconfig";

/// Flags of kube-apiserver that name certificates and keys, which are mounted in this folder.
pub fn api_server_flags(folder: &str) -> impl Iterator<Item = (&'static str, String)> {
    let leaves = leaf_secrets().flat_map(|secret| secret.leaves);
    leaves
        .filter_map(move |leaf| {
            let [certificate, key] = leaf.flags?;
            let file = |part: &str| format!("{folder}/{}.{part}", leaf.mounted_as);
            Some([(certificate, file("crt")), (key, file("key"))])
        })
        .flatten()
}

fn api_server(desired: &DesiredControlPlane, addresses: &Addresses) -> LeafSpec {
    let (service, namespace) = (desired.names.api_server_service(), &desired.namespace);
    let domain = &desired.network.domain;
    let mut names = addresses.hosts.clone();
    names.extend(hosts(&[
        "localhost",
        "127.0.0.1",
        "kubernetes",
        "kubernetes.default",
        "kubernetes.default.svc",
        &format!("kubernetes.default.svc.{domain}"),
        &service,
        &format!("{service}.{namespace}"),
        &format!("{service}.{namespace}.svc"),
    ]));
    names.insert(desired.network.kubernetes.into());
    names.extend(desired.certificates.sans.iter().cloned());
    LeafSpec {
        common_name: "kube-apiserver".into(),
        organization: None,
        usage: Usage::Server,
        names,
    }
}

/// Names that are ours, and well written therefore.
pub fn hosts(names: &[&str]) -> Vec<Host> {
    names.iter().filter_map(|name| name.parse().ok()).collect()
}
