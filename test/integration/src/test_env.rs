//! What one test sees: a namespace, a client, ways to write objects and to wait.

use crate::{Environment, Mark, Write, dump};
use capn_api::{NestedControlPlane, NestedControlPlaneTemplate, cluster_api::Cluster, condition};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        core::v1::{Namespace, Secret},
        events::v1::Event,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams, PostParams},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    any::Any,
    fmt::Debug,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Longest wait for something that should happen. No test passes or fails by how fast it is; the
/// slowest thing that managers do without being told is a minute's.
const DEADLINE: Duration = Duration::from_secs(120);
/// User that tests and players act as.
pub(crate) const ADMIN: &str = "capn-integration-admin";
/// Field manager of what tests write.
const USER: &str = "a-user";
/// Name of the Cluster in a namespace; one a test is enough for most.
pub(crate) const CLUSTER: &str = "tenant";

/// Kinds that live in a namespace.
pub trait Object:
    Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned
{
}
impl<K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + DeserializeOwned> Object for K {}

/// What one test sees.
pub struct TestEnv {
    /// What all tests of the binary share.
    pub environment: &'static Environment,
    /// Namespace of this test alone.
    pub namespace: String,
    /// A client with every right.
    pub client: Client,
    pub(crate) test: String,
    pub(crate) logs: Mutex<Vec<PathBuf>>,
}

/// Runs a test. When it panics, its world is written to a folder, which the panic names.
pub fn run(test: impl AsyncFnOnce(&TestEnv)) {
    run_in(Environment::shared(), test);
}

/// Runs a test on an API server of its own that has no kinds of these groups.
pub fn run_without(groups: &[&str], test: impl AsyncFnOnce(&TestEnv)) {
    run_in(Box::leak(Box::new(Environment::start())), async |env| {
        env.remove_kinds(groups).await;
        test(env).await;
    });
}

fn run_in(environment: &'static Environment, test: impl AsyncFnOnce(&TestEnv)) {
    let name = std::thread::current().name().unwrap_or("test").to_owned();
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    let runtime = builder.worker_threads(2).enable_all().build().expect("no runtime");
    let env = runtime.block_on(TestEnv::new(environment, name));
    let outcome = catch_unwind(AssertUnwindSafe(|| runtime.block_on(test(&env))));
    if let Err(cause) = outcome {
        let folder = runtime.block_on(dump::dump(&env));
        panic!(
            "{}\nthe state that explains it is in {}",
            text(cause.as_ref()),
            folder.display()
        );
    }
}

/// What a panic said.
pub(crate) fn text(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<String>().cloned();
    text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "panicked".into())
}

impl TestEnv {
    async fn new(environment: &'static Environment, test: String) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let client = environment.client().await;
        let short: String = test.rsplit("::").next().unwrap_or_default().chars().take(40).collect();
        let short = short.replace('_', "-").trim_matches('-').to_owned();
        let namespace = format!("{short}-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let object = Namespace {
            metadata: kube::core::ObjectMeta {
                name: Some(namespace.clone()),
                ..Default::default()
            },
            ..Default::default()
        };
        Api::all(client.clone())
            .create(&PostParams::default(), &object)
            .await
            .expect("no namespace");
        Self {
            environment,
            namespace,
            client,
            test,
            logs: Mutex::default(),
        }
    }

    async fn remove_kinds(&self, groups: &[&str]) {
        let kinds = Api::<CustomResourceDefinition>::all(self.client.clone());
        let mut going = kinds
            .list(&ListParams::default())
            .await
            .expect("no list of kinds")
            .items;
        going.retain(|kind| groups.contains(&kind.spec.group.as_str()));
        assert!(!going.is_empty(), "no kind is of {groups:?}");
        for kind in going {
            let name = kind.name_any();
            kinds
                .delete(&name, &DeleteParams::default())
                .await
                .expect("a kind that can be deleted");
            self.wait("a kind to be gone", async || {
                kinds.get_opt(&name).await.expect("an answer").is_none().then_some(())
            })
            .await;
        }
    }

    /// Another namespace of the same test, seen by the same client.
    pub async fn sibling(&self) -> Self {
        let mut other = Self::new(self.environment, self.test.clone()).await;
        other.client = self.client.clone();
        other
    }

    /// The objects of a kind in this namespace.
    pub fn api<K: Object>(&self) -> Api<K> {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// Reads an object; None when it is not there.
    pub async fn get<K: Object>(&self, name: &str) -> Option<K> {
        self.api::<K>()
            .get_opt(name)
            .await
            .unwrap_or_else(|error| panic!("cannot read {} {name}: {error}", K::kind(&())))
    }

    /// An object as it is on the wire: our own types would read what they have written.
    pub async fn raw<K: Object>(&self, name: &str) -> Value {
        let path = format!("{}/{name}", K::url_path(&(), Some(&self.namespace)));
        let request = http::Request::get(path).body(Vec::new()).expect("a request");
        self.client
            .request(request)
            .await
            .unwrap_or_else(|error| panic!("cannot read {} {name}: {error}", K::kind(&())))
    }

    /// All objects of a kind.
    pub async fn list<K: Object>(&self) -> Vec<K> {
        let list = self.api::<K>().list(&Default::default()).await;
        list.unwrap_or_else(|error| panic!("cannot list {}: {error}", K::kind(&())))
            .items
    }

    /// Applies an object, as `kubectl apply --server-side` with strict validation does.
    ///
    /// # Errors
    /// What the API server says when it refuses.
    pub async fn try_apply(&self, object: &Value, params: &PatchParams) -> Result<Value, String> {
        let (api, name) = self.addressed(object);
        match api.patch(&name, params, &Patch::Apply(object)).await {
            Ok(live) => Ok(json!(live)),
            Err(kube::Error::Api(status)) => Err(status.message.clone()),
            Err(error) => panic!("cannot apply {object}: {error}"),
        }
    }

    /// Replaces an object's spec, as `kubectl edit` does, which must be refused; returns why.
    /// Nothing is stored.
    pub async fn refused_update(&self, object: &Value) -> String {
        let (api, name) = self.addressed(object);
        let mut live = api
            .get(&name)
            .await
            .unwrap_or_else(|error| panic!("{name} is not there: {error}"));
        live.data["spec"] = object["spec"].clone();
        match api
            .replace(
                &name,
                &PostParams {
                    dry_run: true,
                    ..PostParams::default()
                },
                &live,
            )
            .await
        {
            Ok(_) => panic!("was not refused: {object}"),
            Err(kube::Error::Api(status)) => status.message.clone(),
            Err(error) => panic!("cannot update {object}: {error}"),
        }
    }

    /// Where an object belongs, and its name.
    fn addressed(&self, object: &Value) -> (Api<DynamicObject>, String) {
        let text = |field: &str| {
            object[field]
                .as_str()
                .unwrap_or_else(|| panic!("no {field} in {object}"))
                .to_owned()
        };
        let (group, version) = match text("apiVersion").split_once('/') {
            Some((group, version)) => (group.to_owned(), version.to_owned()),
            None => (String::new(), text("apiVersion")),
        };
        let resource = ApiResource::from_gvk(&GroupVersionKind {
            group,
            version,
            kind: text("kind"),
        });
        let name = object["metadata"]["name"]
            .as_str()
            .unwrap_or_else(|| panic!("no name in {object}"));
        (
            Api::namespaced_with(self.client.clone(), &self.namespace, &resource),
            name.to_owned(),
        )
    }

    /// Applies an object that is good.
    pub async fn apply(&self, object: &Value) -> Value {
        let params = PatchParams::apply(USER).force().validation_strict();
        self.try_apply(object, &params)
            .await
            .unwrap_or_else(|why| panic!("refused: {why}\n{object:#}"))
    }

    /// Applies an object that must be refused, and returns why. Nothing is stored.
    pub async fn refused(&self, object: &Value) -> String {
        let params = PatchParams::apply(USER).force().validation_strict().dry_run();
        match self.try_apply(object, &params).await {
            Ok(_) => panic!("was not refused: {object:#}"),
            Err(why) => why,
        }
    }

    /// Merges fields into an object.
    pub async fn merge<K: Object>(&self, name: &str, patch: &Value) -> K {
        let merged = self
            .api::<K>()
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await;
        merged.unwrap_or_else(|error| panic!("cannot patch {} {name} by {patch}: {error}", K::kind(&())))
    }

    /// Deletes an object, as `kubectl delete --wait=false` does.
    pub async fn delete<K: Object>(&self, name: &str) {
        let deleted = self.api::<K>().delete(name, &DeleteParams::background()).await;
        deleted.unwrap_or_else(|error| panic!("cannot delete {} {name}: {error}", K::kind(&())));
    }

    /// Looks until there is something to see.
    ///
    /// # Panics
    /// After two minutes, naming what was waited for.
    pub async fn wait<T>(&self, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(seen) = look().await {
                return seen;
            }
            assert!(Instant::now() < deadline, "waited {DEADLINE:?} in vain for {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until an object is there and looks as it should.
    pub async fn wait_for<K: Object>(&self, name: &str, what: &str, look: impl Fn(&K) -> bool) -> K {
        let what = format!("{} {name}: {what}", K::kind(&()));
        self.wait(&what, async || self.get::<K>(name).await.filter(|live| look(live)))
            .await
    }

    /// Waits for a Warning event about an object with this reason and all of these words.
    pub async fn wait_warning<K: Object>(&self, name: &str, reason: &str, words: &[&str]) {
        self.wait_event::<K>(name, "Warning", reason, words).await;
    }

    /// Waits for an event of this type about an object with this reason and all of these words.
    pub async fn wait_event<K: Object>(&self, name: &str, type_: &str, reason: &str, words: &[&str]) {
        let object = self.get::<K>(name).await.expect("an event is about an object");
        let about = |event: &Event| {
            let regarding = event.regarding.clone().unwrap_or_default();
            regarding.uid == object.uid() && regarding.kind.as_deref() == Some(&*K::kind(&()))
        };
        let says = |event: &Event| {
            let note = event.note.as_deref().unwrap_or_default();
            event.type_.as_deref() == Some(type_)
                && event.reason.as_deref() == Some(reason)
                && words.iter().all(|word| note.contains(word))
        };
        let what = format!(
            "a {type_} event {reason} about {} {name} that says {words:?}",
            K::kind(&())
        );
        self.wait(&what, async || {
            let events = self.list::<Event>().await;
            events.iter().any(|event| about(event) && says(event)).then_some(())
        })
        .await;
    }

    /// Lets the management cluster be its own tenant: a real API server, for what the stand-in of a
    /// tenant cannot do. Nodes are shared by all tests that do so.
    pub async fn own_tenant(&self) {
        let kubeconfig = self
            .environment
            .kubeconfig("tenant-admin", "system:masters", self.environment.port());
        self.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
            "metadata": {"name": format!("{CLUSTER}-kubeconfig"), "labels": {"cluster.x-k8s.io/cluster-name": CLUSTER}},
            "stringData": {"value": kubeconfig.to_string()},
        }))
        .await;
    }

    /// Objects of a kind of KubeVirt's.
    pub fn kubevirt(&self, kind: &str) -> Api<DynamicObject> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("kubevirt.io", "v1", kind));
        Api::namespaced_with(self.client.clone(), &self.namespace, &resource)
    }

    /// Merges fields into the status of an object.
    pub async fn merge_status<K: Object>(&self, name: &str, status: &Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let merged = self
            .api::<K>()
            .patch_status(name, &PatchParams::default(), &patch)
            .await;
        merged.unwrap_or_else(|error| panic!("cannot patch the status of {} {name}: {error}", K::kind(&())));
    }

    /// Waits until an object is gone.
    pub async fn wait_gone<K: Object>(&self, name: &str) {
        let what = format!("{} {name} to go", K::kind(&()));
        self.wait(&what, async || self.get::<K>(name).await.is_none().then_some(()))
            .await;
    }

    /// Creates the Cluster `tenant` with these fields of its spec.
    pub async fn cluster(&self, spec: Value) -> Cluster {
        self.cluster_of(CLUSTER, spec).await
    }

    /// The same under another name.
    pub async fn cluster_of(&self, name: &str, spec: Value) -> Cluster {
        let mut object = json!({
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "metadata": {"name": name},
            "spec": {"controlPlaneRef": {
                "apiGroup": "controlplane.cluster.x-k8s.io", "kind": "NestedControlPlane", "name": name,
            }},
        });
        for (key, value) in spec.as_object().expect("an object") {
            object["spec"][key] = value.clone();
        }
        serde_json::from_value(self.apply(&object).await).expect("a Cluster")
    }

    /// Creates the NestedControlPlane `tenant` of that Cluster, owned by it as Cluster API's core
    /// would have it.
    pub async fn control_plane(&self, spec: Value) -> NestedControlPlane {
        self.control_plane_of(CLUSTER, spec).await
    }

    /// The same under another name.
    pub async fn control_plane_of(&self, name: &str, spec: Value) -> NestedControlPlane {
        let cluster = self.get::<Cluster>(name).await.expect("create the Cluster first");
        let mut object = control_plane(spec);
        object["metadata"]["name"] = json!(name);
        object["metadata"]["labels"] = json!({"cluster.x-k8s.io/cluster-name": name});
        object["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "cluster.x-k8s.io/v1beta2", "kind": "Cluster", "name": name,
            "uid": cluster.uid(), "controller": true, "blockOwnerDeletion": true,
        }]);
        serde_json::from_value(self.apply(&object).await).expect("a NestedControlPlane")
    }

    /// A Cluster and its NestedControlPlane, as a user starts: the version alone.
    pub async fn tenant(&self) -> NestedControlPlane {
        self.cluster(json!({})).await;
        self.control_plane(json!({})).await
    }

    /// The NestedControlPlane `tenant` as it is now.
    pub async fn ncp(&self) -> NestedControlPlane {
        self.get(CLUSTER).await.expect("NestedControlPlane tenant is not there")
    }

    /// Waits until the NestedControlPlane looks as it should.
    pub async fn wait_ncp(&self, what: &str, look: impl Fn(&NestedControlPlane) -> bool) -> NestedControlPlane {
        self.wait_for(CLUSTER, what, look).await
    }

    /// Waits for a condition of the NestedControlPlane with this status, and returns it.
    pub async fn wait_condition(&self, type_: &str, status: &str) -> capn_api::Condition {
        let holds = |ncp: &NestedControlPlane| find(ncp, type_).filter(|c| format!("{:?}", c.status) == status);
        let ncp = self
            .wait_ncp(&format!("condition {type_}={status}"), |ncp| holds(ncp).is_some())
            .await;
        holds(&ncp).expect("just seen")
    }

    /// Waits until the control plane is up with all of its components.
    pub async fn wait_up(&self) {
        self.wait_condition("Available", "True").await;
        self.wait_condition("ControlPlaneComponentsHealthy", "True").await;
    }

    /// A Secret that must be there.
    pub async fn secret(&self, name: &str) -> Secret {
        self.get(name)
            .await
            .unwrap_or_else(|| panic!("Secret {name} is not there"))
    }

    /// Where the audit log ends now.
    pub fn mark(&self) -> Mark {
        self.environment.audit.mark()
    }

    /// Writes of a user to this namespace since then. Events and Leases say nothing of the world
    /// and are left out.
    pub fn writes(&self, user: &str, since: Mark) -> Vec<Write> {
        let mut all = self.all_writes(user, since);
        all.retain(|write| write.resource != "events" && write.resource != "leases");
        all
    }

    /// Objects that were deleted by a test or a player since then, as `resource/name`.
    pub fn deleted_by_players(&self, since: Mark) -> Vec<String> {
        let all = self.all_writes(ADMIN, since).into_iter();
        all.filter(|write| write.verb.starts_with("delete"))
            .map(|write| format!("{}/{}", write.resource, write.name))
            .collect()
    }

    /// Writes of a user to this namespace since then, whatever of.
    pub fn all_writes(&self, user: &str, since: Mark) -> Vec<Write> {
        let all = self.environment.audit.writes(since);
        all.into_iter()
            .filter(|write| write.user == user && write.namespace == self.namespace)
            .collect()
    }
}

/// A NestedControlPlane named `tenant` with version v1.36.3 and these fields of its spec.
pub(crate) fn control_plane(spec: Value) -> Value {
    let mut object = json!({
        "apiVersion": NestedControlPlaneTemplate::api_version(&()), "kind": "NestedControlPlane",
        "metadata": {"name": CLUSTER}, "spec": {"version": "v1.36.3"},
    });
    for (key, value) in spec.as_object().expect("an object") {
        object["spec"][key] = value.clone();
    }
    object
}

fn find(ncp: &NestedControlPlane, type_: &str) -> Option<capn_api::Condition> {
    condition::find(&ncp.status.as_ref()?.conditions, type_).cloned()
}
