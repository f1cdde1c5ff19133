//! Where things lie: binaries that test/infrastructure/lab/binaries.sh builds, the manager, Cluster API's CRDs,
//! and what a failed test leaves behind.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// Pinned where the lab pins them.
const VERSIONS: &str = include_str!("../../infrastructure/lab/versions.env");

fn version(key: &str) -> &'static str {
    let line = VERSIONS
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    line.unwrap_or_else(|| panic!("test/infrastructure/lab/versions.env has no {key}"))
}

fn cache() -> PathBuf {
    let home = || PathBuf::from(env::var_os("HOME").expect("HOME is not set"));
    let caches = || env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    env::var_os("CAPN_CACHE").map_or_else(|| caches().join("cluster-api-provider-nested"), PathBuf::from)
}

fn existing(path: PathBuf, remedy: &str) -> PathBuf {
    assert!(path.exists(), "{} is not there: {remedy}", path.display());
    path
}

pub(crate) fn kube_apiserver() -> PathBuf {
    let folder = format!("bin/kubernetes-{}/kube-apiserver", version("KUBERNETES_VERSION"));
    existing(
        cache().join(folder),
        "run test/infrastructure/lab/binaries.sh, which builds it",
    )
}

pub(crate) fn etcd() -> PathBuf {
    let folder = format!("bin/etcd-{}/etcd", version("ETCD_VERSION"));
    existing(
        cache().join(folder),
        "run test/infrastructure/lab/binaries.sh, which builds it",
    )
}

/// Folder that cargo builds into: that of the running test, `<target>/<profile>/deps/<test>`.
fn profile() -> PathBuf {
    let test = env::current_exe().expect("the test has no path");
    test.ancestors()
        .nth(2)
        .expect("the test lies in no target folder")
        .to_owned()
}

pub(crate) fn manager() -> PathBuf {
    let given = env::var_os("CAPN_MANAGER").map(PathBuf::from);
    existing(
        given.unwrap_or_else(|| profile().join("manager")),
        "build it by `cargo build -p capn-controllers`, or name another one in CAPN_MANAGER",
    )
}

/// Where the state of a failed test is written.
pub(crate) fn artifacts(test: &str) -> PathBuf {
    let given = env::var_os("CAPN_ARTIFACTS").map(PathBuf::from);
    let root = given.unwrap_or_else(|| {
        profile()
            .parent()
            .map(|target| target.join("artifacts"))
            .unwrap_or_default()
    });
    root.join(test.replace("::", "/"))
}

/// Folder with the CRDs of Cluster API's core, in Go's module cache.
pub(crate) fn cluster_api_crds() -> PathBuf {
    let modules = env::var_os("GOMODCACHE").map(PathBuf::from).unwrap_or_else(|| {
        let go = if Path::new("/usr/local/go/bin/go").exists() {
            "/usr/local/go/bin/go"
        } else {
            "go"
        };
        let output = Command::new(go)
            .args(["env", "GOMODCACHE"])
            .output()
            .expect("`go env GOMODCACHE` does not run");
        PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
    });
    let folder = format!(
        "sigs.k8s.io/cluster-api@{}/core/config/crd/bases",
        version("CLUSTER_API_VERSION")
    );
    existing(
        modules.join(folder),
        "run test/infrastructure/lab/binaries.sh, which downloads the module sigs.k8s.io/cluster-api",
    )
}
