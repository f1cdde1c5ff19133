//! The pure steps together: what a spec becomes, what is refused, and that no field is decoration.

use super::{
    addresses::{Addresses, addresses},
    desired::{DesiredControlPlane, ValidateError, validate},
    names::{API_SERVER, CONTROLLERS},
    objects,
    plan::{Action, Object},
    view::View,
};
use crate::certificates::{self, Authorities, CertificateError, Marks};
use crate::datastore::{self, Data};
use crate::pki::{Authority, PemPair};
use capn_api::{NestedControlPlane, cluster_api::Cluster, common::ApiEndpoint};
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::StatefulSet,
    core::v1::{ConfigMap, Service},
    policy::v1::PodDisruptionBudget,
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, sync::LazyLock};

pub(super) fn ncp(spec: Value) -> NestedControlPlane {
    serde_json::from_value(json!({
        "apiVersion": "controlplane.cluster.x-k8s.io/v1alpha1",
        "kind": "NestedControlPlane",
        "metadata": {"name": "acme", "namespace": "tenants", "uid": "0b5c3a3e", "generation": 1},
        "spec": spec,
    }))
    .unwrap()
}

pub(super) fn cluster(spec: Value) -> Cluster {
    serde_json::from_value(json!({
        "apiVersion": "cluster.x-k8s.io/v1beta2",
        "kind": "Cluster",
        "metadata": {"name": "acme", "namespace": "tenants"},
        "spec": spec,
    }))
    .unwrap()
}

pub(super) fn desired(spec: Value) -> DesiredControlPlane {
    validate(&ncp(spec), &cluster(json!({}))).unwrap()
}

pub(super) fn refused(spec: Value, cluster_spec: Value) -> String {
    validate(&ncp(spec), &cluster(cluster_spec))
        .err()
        .map(|e: ValidateError| e.to_string())
        .expect("refused")
}

fn service(spec: Value, status: Value) -> Service {
    serde_json::from_value(json!({"metadata": {"name": "s"}, "spec": spec, "status": status})).unwrap()
}

pub(super) fn reached(desired: &DesiredControlPlane) -> Addresses {
    let api_server = service(
        json!({"clusterIP": "10.100.0.10", "ports": [{"port": 6443, "nodePort": 30443}]}),
        json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}),
    );
    addresses(desired, &api_server, "10.100.0.11".parse().ok()).unwrap()
}

fn published(spec: Value) -> ApiEndpoint {
    reached(&desired(spec)).published.unwrap()
}

fn marks() -> Marks {
    let marks = [
        (API_SERVER, "authorities"),
        (CONTROLLERS, "authorities of controllers"),
        (datastore::COMPONENT, "authorities of etcd"),
    ];
    marks
        .map(|(component, mark)| (component, mark.to_owned()))
        .into_iter()
        .collect()
}

fn authorities(pair: impl Fn() -> PemPair) -> Authorities {
    let mut authorities = Authorities::default();
    for row in certificates::authority::authorities() {
        authorities.add(row, Authority::read(&pair()).ok(), String::new());
    }
    authorities
}

/// What the API server's certificates say, and when they are renewed.
pub(super) fn certificates(desired: &DesiredControlPlane, addresses: &Addresses) -> Value {
    static AUTHORITIES: LazyLock<Authorities> =
        LazyLock::new(|| authorities(|| Authority::generate("authority", Timestamp::UNIX_EPOCH).unwrap()));
    let wanted = certificates::leaf_secrets().next().unwrap();
    let decide = certificates::decide;
    let decided = decide(desired, addresses, &AUTHORITIES, wanted, None, Timestamp::UNIX_EPOCH).unwrap();
    let profiles = wanted.leaves.iter().map(|leaf| (leaf.profile)(desired, addresses));
    let names: Vec<_> = profiles.map(|spec| format!("{:?}", spec.names)).collect();
    json!({"names": names, "renewal": decided.renewal.to_string()})
}

/// What the datastore applies.
fn datastore(desired: &DesiredControlPlane) -> Vec<Action> {
    let view = View::default();
    let mut actions = datastore::network(desired, &view);
    actions.extend(datastore::workloads(desired, &Data::New, &marks(), &view));
    actions
}

/// What is applied of one kind.
fn all<K: TryFrom<Object>>(actions: &[Action]) -> Vec<K> {
    let wanted = actions.iter().filter_map(|action| match action {
        Action::Apply { wanted, .. } => wanted.clone().try_into().ok(),
        _ => None,
    });
    wanted.collect()
}

fn services(desired: &DesiredControlPlane) -> Vec<Service> {
    let api_server = objects::api_server_service(desired);
    [api_server].into_iter().chain(all(&datastore(desired))).collect()
}

fn budgets(desired: &DesiredControlPlane) -> Vec<PodDisruptionBudget> {
    let workloads = objects::workloads(desired, &reached(desired), &marks());
    let ours = [workloads.api_server_budget, workloads.controllers_budget];
    let mut budgets: Vec<_> = all(&datastore(desired));
    budgets.extend(ours.into_iter().flatten());
    budgets
}

/// Everything that a spec becomes, as one value.
pub(super) fn built(spec: &Value) -> Value {
    let desired = desired(spec.clone());
    let addresses = reached(&desired);
    let datastore = datastore(&desired);
    let workloads = objects::workloads(&desired, &addresses, &marks());
    json!({
        "services": services(&desired),
        "etcdConfig": all::<ConfigMap>(&datastore),
        "etcd": all::<StatefulSet>(&datastore)[0],
        "apiServer": workloads.api_server,
        "controllers": workloads.controllers,
        "budgets": budgets(&desired),
        "published": addresses.published,
        "certificates": certificates(&desired, &addresses),
        "inside": addresses.published.as_ref().map(|endpoint| objects::inside(&desired, &addresses, endpoint, "PEM")),
        "deletesClaims": datastore::teardown::deletes_data(&ncp(spec.clone()).spec),
    })
}

#[test]
fn pods_mount_only_files_of_authorities_that_are_stored() {
    let stored: BTreeSet<String> = certificates::authority::authorities()
        .flat_map(|row| row.files(&row.make(Timestamp::UNIX_EPOCH).unwrap()).unwrap())
        .map(|(file, _)| file)
        .collect();
    let built = built(&json!({"version": "v1.36.3"}));
    for workload in ["etcd", "apiServer", "controllers"] {
        let volumes = built[workload]["spec"]["template"]["spec"]["volumes"]
            .as_array()
            .unwrap()
            .iter();
        let sources = volumes.flat_map(|volume| volume["projected"]["sources"].as_array().cloned().unwrap_or_default());
        let copies = sources.filter(|source| source["secret"]["name"] == "acme-pki");
        let files: Vec<_> = copies
            .flat_map(|source| source["secret"]["items"].as_array().cloned().unwrap_or_default())
            .map(|item| item["key"].as_str().unwrap().to_owned())
            .collect();
        assert!(!files.is_empty(), "{workload}");
        assert!(files.iter().all(|file| stored.contains(file)), "{workload}: {files:?}");
    }
}

#[test]
fn a_certificate_that_would_be_issued_again_in_the_next_pass_is_not_stored() {
    // Whose signatures cannot be checked.
    let p521 = || {
        let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
        Authority::self_signed(&key, "authority", Timestamp::UNIX_EPOCH).unwrap()
    };
    let desired = desired(json!({"version": "v1.36.3"}));
    let (addresses, wanted) = (reached(&desired), certificates::leaf_secrets().next().unwrap());
    let authorities = authorities(p521);
    let decided = certificates::decide(&desired, &addresses, &authorities, wanted, None, Timestamp::UNIX_EPOCH);
    assert!(matches!(decided, Err(CertificateError::Issue(_))));
}

#[test]
fn version_alone_is_enough() {
    let desired = desired(json!({"version": "v1.36.3"}));
    let addresses = reached(&desired);
    let datastore = datastore(&desired);
    insta::assert_yaml_snapshot!("services", services(&desired));
    let workloads = objects::workloads(&desired, &addresses, &marks());
    insta::assert_yaml_snapshot!("etcd", all::<StatefulSet>(&datastore)[0]);
    insta::assert_yaml_snapshot!("etcd_config", all::<ConfigMap>(&datastore)[0]);
    insta::assert_yaml_snapshot!("api_server", workloads.api_server);
    insta::assert_yaml_snapshot!("controllers", workloads.controllers);
    assert_eq!(budgets(&desired), []);
}

#[test]
fn several_replicas_get_budgets_and_spread_over_nodes() {
    let spec = json!({"version": "v1.36.3", "replicas": 2, "datastore": {"etcd": {"replicas": 3}}});
    let desired = desired(spec);
    let workloads = objects::workloads(&desired, &reached(&desired), &marks());
    insta::assert_yaml_snapshot!("budgets", budgets(&desired));
    let template = workloads.api_server.spec.unwrap().template.spec.unwrap();
    assert_eq!(
        template.topology_spread_constraints.unwrap()[0].topology_key,
        "kubernetes.io/hostname"
    );
    let initial = all::<ConfigMap>(&datastore(&desired))[0].data.clone().unwrap()["initial-cluster"].clone();
    assert_eq!(initial.matches("https://").count(), 3, "{initial}");
}

#[test]
fn what_the_template_of_etcd_leaves_out_is_that_of_all_pods() {
    let pod = |own: Value| {
        let all = json!({"priorityClassName": "high", "nodeSelector": {"disk": "ssd"}, "tolerations": [{"key": "a"}],
            "metadata": {"labels": {"team": "a"}}});
        let built =
            built(&json!({"version": "v1.36.3", "podTemplate": all, "datastore": {"etcd": {"podTemplate": own}}}));
        let template = built["etcd"]["spec"]["template"].clone();
        let of = |field: &str| template["spec"][field].clone();
        assert_eq!(
            built["apiServer"]["spec"]["template"]["spec"]["priorityClassName"],
            "high"
        );
        let label = template["metadata"]["labels"]["team"].clone();
        json!([of("priorityClassName"), of("nodeSelector"), of("tolerations"), label])
    };
    assert_eq!(pod(json!({})), json!(["high", {"disk": "ssd"}, [{"key": "a"}], "a"]));
    let own = json!({"priorityClassName": "highest", "nodeSelector": {"disk": "nvme"}, "tolerations": [{"key": "b"}],
        "metadata": {"labels": {"team": "b"}}});
    assert_eq!(pod(own), json!(["highest", {"disk": "nvme"}, [{"key": "b"}], "b"]));
}

#[test]
fn members_of_etcd_never_share_a_node_unless_their_own_template_allows_it() {
    let spread = |all: Value, own: Value| {
        let built = built(
            &json!({"version": "v1.36.3", "podTemplate": {"topologySpreadConstraints": all},
            "datastore": {"etcd": {"podTemplate": {"topologySpreadConstraints": own}}}}),
        );
        let constraints = built["etcd"]["spec"]["template"]["spec"]["topologySpreadConstraints"].clone();
        let constraints = constraints.as_array().unwrap().iter().map(|constraint| {
            let labels = &constraint["labelSelector"]["matchLabels"];
            assert_eq!(labels["controlplane.cluster.x-k8s.io/component"], "etcd");
            let text = |field: &str| constraint[field].as_str().unwrap_or_default().to_owned();
            format!(
                "{} {} {}",
                text("topologyKey"),
                text("whenUnsatisfiable"),
                constraint["minDomains"]
            )
        });
        constraints.collect::<Vec<_>>()
    };
    let constraint = |key: &str, when: &str| json!([{"maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": when}]);
    let (host, never) = ("kubernetes.io/hostname", "kubernetes.io/hostname DoNotSchedule 3");
    assert_eq!(spread(json!([]), json!([])), [never]);
    let soft = constraint(host, "ScheduleAnyway");
    assert_eq!(
        spread(soft.clone(), json!([])),
        ["kubernetes.io/hostname ScheduleAnyway null", never]
    );
    assert_eq!(spread(json!([]), soft), ["kubernetes.io/hostname ScheduleAnyway null"]);
    let zone = constraint("zone", "DoNotSchedule");
    assert_eq!(spread(zone, json!([])), ["zone DoNotSchedule null", never]);
    let hard = constraint(host, "DoNotSchedule");
    assert_eq!(spread(hard, json!([])), ["kubernetes.io/hostname DoNotSchedule null"]);
}

/// The pod templates of revision 1, as JSON. They are those of pods that run: never write them again.
const REVISION_1: [(&str, &str); 2] = [
    ("plain", include_str!("revisions/1-plain.json")),
    ("full", include_str!("revisions/1-full.json")),
];

#[test]
fn the_pod_templates_of_a_released_revision_never_change() {
    let component = json!({"image": "example.com/image:1", "resources": {"requests": {"cpu": "1"}},
        "extraArgs": [{"name": "v", "value": "4"}], "extraVolumes": [extra_volume()]});
    let full = json!({
        "version": "v1.35.1", "replicas": 2, "endpoint": {"type": "LoadBalancer"},
        "datastore": {"etcd": {"replicas": 3, "storage": {"size": "9Gi", "storageClassName": "fast"},
            "extraArgs": [{"name": "quota-backend-bytes", "value": "1"}], "podTemplate": {"priorityClassName": "highest"}}},
        "apiServer": component, "controllerManager": component, "scheduler": component,
        "podTemplate": {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}], "priorityClassName": "high",
            "metadata": {"labels": {"team": "a"}, "annotations": {"team": "a"}},
            "containers": [{"name": "side", "image": "example.com/side:1"}]},
        "imageRepository": "registry.example.com/k8s", "imagePullSecrets": [{"name": "pull"}],
        "rollout": {"after": "2026-11-21T00:00:00Z"},
    });
    for (name, golden) in REVISION_1 {
        let spec = if name == "full" {
            full.clone()
        } else {
            json!({"version": "v1.36.3"})
        };
        let built = built(&spec);
        let templates = ["etcd", "apiServer", "controllers"].map(|of| built[of]["spec"]["template"].clone());
        let text = serde_json::to_string_pretty(&templates).unwrap();
        let differs = text.lines().zip(golden.lines()).find(|(built, golden)| built != golden);
        assert!(text.trim() == golden.trim(), "revision 1, {name}: {differs:?}");
    }
}

#[test]
fn a_program_uses_the_processors_that_it_requests_unless_it_has_a_limit() {
    let processors = |resources: Value| {
        let part = json!({"resources": resources});
        let built = built(&json!({
            "version": "v1.36.3", "apiServer": part, "controllerManager": part, "scheduler": part, "datastore": {"etcd": part},
        }));
        let pods =
            [&built["etcd"], &built["apiServer"], &built["controllers"]].map(|set| &set["spec"]["template"]["spec"]);
        let containers = pods
            .into_iter()
            .flat_map(|pod| [&pod["initContainers"], &pod["containers"]]);
        let env = containers.flat_map(|containers| containers.as_array().into_iter().flatten());
        env.flat_map(|container| container["env"].as_array().into_iter().flatten())
            .filter(|env| env["name"] == "GOMAXPROCS")
            .map(|env| env["valueFrom"]["resourceFieldRef"]["resource"].clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        processors(json!({"requests": {"cpu": "2500m"}})),
        vec!["requests.cpu"; 4]
    );
    assert!(processors(json!({"limits": {"cpu": "4"}})).is_empty());
}

#[test]
fn a_missing_v_is_understood() {
    assert_eq!(
        desired(json!({"version": "1.36.3"})).api_server.image,
        "registry.k8s.io/kube-apiserver:v1.36.3"
    );
}

#[test]
fn the_endpoint_is_published_by_type_and_a_users_own_wins() {
    let at = |host: &str, port| ApiEndpoint {
        host: host.into(),
        port,
    };
    let version = "v1.36.3";
    assert_eq!(published(json!({"version": version})), at("10.100.0.10", 6443));
    assert_eq!(
        published(json!({"version": version, "endpoint": {"type": "NodePort", "host": "node.example.com"}})),
        at("node.example.com", 30443)
    );
    assert_eq!(
        published(json!({"version": version, "endpoint": {"type": "LoadBalancer"}})),
        at("192.0.2.7", 6443)
    );
    let own = json!({"host": "api.example.com", "port": 443});
    let spec = json!({"version": version, "endpoint": {"type": "LoadBalancer"}, "controlPlaneEndpoint": own});
    assert_eq!(published(spec), at("api.example.com", 443));
}

#[test]
fn what_is_wrong_is_named_and_what_to_write_is_said() {
    let version = json!({"version": "v1.36.3"});
    let networks = |pods: &str, services: &str| json!({"clusterNetwork": {"pods": {"cidrBlocks": [pods]}, "services": {"cidrBlocks": [services]}}});
    for (spec, cluster, says) in [
        (json!({"version": "v1.20.0"}), json!({}), "from v1.33 to v1.36"),
        (version.clone(), networks("10.0.0.0/8", "10.95.0.0/16"), "overlap"),
        (
            version.clone(),
            networks("10.243.0.0/16", "nonsense"),
            "is not a CIDR: set one such as",
        ),
        (
            version.clone(),
            networks("10.243.0.0/16", "10.95.0.0/30"),
            "at least a /28",
        ),
    ] {
        let error = refused(spec, cluster);
        assert!(error.contains(says), "{error}");
    }
    let mut running = ncp(json!({"version": "v1.35.0"}));
    running.status = Some(serde_json::from_value(json!({"version": "v1.36.3"})).unwrap());
    assert!(matches!(
        validate(&running, &cluster(json!({}))),
        Err(ValidateError::Downgrade { .. })
    ));
    running.status = Some(serde_json::from_value(json!({"version": "v1.33.1"})).unwrap());
    assert!(matches!(
        validate(&running, &cluster(json!({}))),
        Err(ValidateError::SkippedMinor { next: 34, .. })
    ));
}

#[test]
fn an_endpoint_inside_the_tenants_own_networks_is_refused() {
    let desired = desired(json!({"version": "v1.36.3"}));
    for (address, says) in [
        ("10.95.3.4", "services network 10.95.0.0/16"),
        ("10.243.0.9", "pods network 10.243.0.0/16"),
    ] {
        let error = super::desired::validate_endpoint(&desired.network, address.parse().ok())
            .unwrap_err()
            .to_string();
        assert!(error.contains(says), "{error}");
    }
    assert!(super::desired::validate_endpoint(&desired.network, "10.100.0.10".parse().ok()).is_ok());
}

/// What the leaves of a volume are held against.
fn extra_volume() -> Value {
    json!({"name": "extra", "mountPath": "/extra", "emptyDir": {}})
}

/// A value for each leaf of the spec that differs from the default. Leaves below Kubernetes' own
/// types are theirs.
fn leaves() -> Vec<(&'static str, Value)> {
    let volume = |leaf: &str, value: Value| {
        let mut volume = extra_volume();
        volume[leaf] = value;
        json!([volume])
    };
    let source = |leaf: &str, value: Value| json!([{"name": "extra", "mountPath": "/extra", leaf: value}]);
    let mut leaves = vec![
        ("version", json!("v1.35.1")),
        ("replicas", json!(2)),
        ("controlPlaneEndpoint", json!({"host": "api.example.com", "port": 443})),
        ("endpoint.type", json!("LoadBalancer")),
        ("endpoint.host", json!("api.example.com")),
        ("endpoint.port", json!(7443)),
        ("endpoint.advertiseAddress", json!("192.0.2.9")),
        ("endpoint.annotations", json!({"example.com/pool": "blue"})),
        ("datastore.etcd.replicas", json!(3)),
        ("datastore.etcd.storage.size", json!("9Gi")),
        ("datastore.etcd.storage.storageClassName", json!("fast")),
        (
            "datastore.etcd.persistentVolumeClaimRetentionPolicy.whenDeleted",
            json!("Retain"),
        ),
        ("datastore.etcd.image", json!("example.com/etcd:1")),
        ("datastore.etcd.resources", json!({"requests": {"cpu": "1"}})),
        (
            "datastore.etcd.extraArgs",
            json!([{"name": "quota-backend-bytes", "value": "1"}]),
        ),
        ("datastore.etcd.podTemplate.metadata.labels", json!({"team": "b"})),
        ("datastore.etcd.podTemplate.metadata.annotations", json!({"team": "b"})),
        ("datastore.etcd.podTemplate.nodeSelector", json!({"disk": "nvme"})),
        (
            "datastore.etcd.podTemplate.tolerations",
            json!([{"operator": "Exists"}]),
        ),
        (
            "datastore.etcd.podTemplate.affinity",
            json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}),
        ),
        (
            "datastore.etcd.podTemplate.topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]),
        ),
        ("datastore.etcd.podTemplate.priorityClassName", json!("high")),
        ("datastore.etcd.podTemplate.runtimeClassName", json!("gvisor")),
        ("addons.coreDNS.enabled", json!(false)),
        ("addons.coreDNS.image", json!("example.com/coredns:1")),
        ("addons.kubeProxy.enabled", json!(false)),
        ("addons.kubeProxy.image", json!("example.com/kube-proxy:1")),
        ("podTemplate.metadata.labels", json!({"team": "a"})),
        ("podTemplate.metadata.annotations", json!({"team": "a"})),
        ("podTemplate.nodeSelector", json!({"disk": "ssd"})),
        ("podTemplate.tolerations", json!([{"operator": "Exists"}])),
        (
            "podTemplate.affinity",
            json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}}),
        ),
        (
            "podTemplate.topologySpreadConstraints",
            json!([{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"}]),
        ),
        ("podTemplate.priorityClassName", json!("high")),
        ("podTemplate.runtimeClassName", json!("gvisor")),
        (
            "podTemplate.containers",
            json!([{"name": "side", "image": "example.com/side:1"}]),
        ),
        ("imageRepository", json!("registry.example.com/k8s")),
        ("imagePullSecrets", json!([{"name": "pull"}])),
        ("certificates.validity", json!("48h")),
        ("certificates.renewBefore", json!("1h")),
        ("certificates.certSANs", json!(["api.example.com"])),
        ("rollout.after", json!("2026-11-21T00:00:00Z")),
    ];
    for component in ["apiServer", "controllerManager", "scheduler"] {
        let path = |leaf: &str| &*format!("{component}.{leaf}").leak();
        leaves.extend([
            (path("image"), json!("example.com/image:1")),
            (path("resources"), json!({"requests": {"cpu": "1"}})),
            (path("extraArgs"), json!([{"name": "v", "value": "4"}])),
            (path("extraVolumes.name"), volume("name", json!("other"))),
            (path("extraVolumes.mountPath"), volume("mountPath", json!("/elsewhere"))),
            (path("extraVolumes.subPath"), volume("subPath", json!("part"))),
            (path("extraVolumes.readOnly"), volume("readOnly", json!(true))),
            (
                path("extraVolumes.emptyDir"),
                source("emptyDir", json!({"sizeLimit": "1Mi"})),
            ),
            (
                path("extraVolumes.configMap"),
                source("configMap", json!({"name": "x"})),
            ),
            (
                path("extraVolumes.secret"),
                source("secret", json!({"secretName": "x"})),
            ),
            (
                path("extraVolumes.persistentVolumeClaim"),
                source("persistentVolumeClaim", json!({"claimName": "x"})),
            ),
            (
                path("extraVolumes.projected"),
                source("projected", json!({"sources": []})),
            ),
        ]);
    }
    leaves
}

fn with(path: &str, value: &Value) -> Value {
    let path = path
        .split_once(".extraVolumes.")
        .map_or(path.to_owned(), |(component, _)| format!("{component}.extraVolumes"));
    let mut spec = json!({"version": "v1.36.3"});
    let mut at = &mut spec;
    for key in path.split('.') {
        at = &mut at[key];
    }
    *at = value.clone();
    spec
}

#[test]
fn each_leaf_of_the_spec_changes_what_is_built() {
    let plain = built(&json!({"version": "v1.36.3"}));
    for (path, value) in leaves() {
        let built_with = built(&with(path, &value));
        assert_ne!(built_with, plain, "{path} is decoration");
        if path.contains(".extraVolumes.") {
            let volume = built(&with(path, &json!([extra_volume()])));
            assert_ne!(built_with, volume, "{path} is decoration");
        }
    }
    // This one says something only of a load balancer.
    let balanced = json!({"version": "v1.36.3", "endpoint": {"type": "LoadBalancer"}});
    let mut classed = balanced.clone();
    classed["endpoint"]["loadBalancerClass"] = json!("example.com/lb");
    assert_ne!(built(&classed), built(&balanced));
}

#[test]
fn the_list_of_leaves_is_that_of_the_schema() {
    let mut known: BTreeSet<String> = leaves().into_iter().map(|(path, _)| path.to_owned()).collect();
    // Tested beside the endpoint's type, or always refused.
    known.insert("endpoint.loadBalancerClass".into());
    known.extend(["apiServer", "controllerManager", "scheduler"].map(|part| format!("{part}.extraVolumes.hostPath")));
    crate::spec_fields::are_those_of("NestedControlPlane", &known);
}
