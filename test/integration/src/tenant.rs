//! Stands in for a tenant's API server: listens on the tenant's Service address with the
//! certificate that the manager issued, lets in who has one of the tenant's authority, and stores
//! what it is told to, unchecked.

use crate::{TestEnv, certificates::Pair, test_env::CLUSTER, tls};
use futures::StreamExt;
use http::{Method, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::{
    body::{Bytes, Frame, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Secret, Service};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
};
use tokio::{
    net::TcpListener,
    task::{JoinHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

type Store = Arc<Stored>;

#[derive(Debug, Default)]
struct Stored {
    objects: Mutex<BTreeMap<String, Value>>,
    writes: AtomicU32,
    /// Number of the write that ends in another way, and how.
    mishap: Option<(u32, Mishap)>,
    manner: Mutex<Manner>,
}

/// How everything is answered.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Manner {
    /// As an API server does.
    #[default]
    Kind,
    /// With a body that has no end.
    Endless,
    /// With an error that has this many bytes, and characters that a terminal obeys.
    Wordy(usize),
    /// Never.
    Silent,
}

/// How a write ends.
#[derive(Clone, Copy, Debug)]
pub enum Mishap {
    /// It is refused with an HTTP status.
    Refused(u16),
    /// It is done, and never answered.
    Unanswered,
}

/// A stand-in for a tenant's API server; it ends when this is dropped.
#[derive(Debug)]
pub struct TenantApiServer {
    store: Store,
    task: JoinHandle<()>,
}

impl Drop for TenantApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TenantApiServer {
    /// Waits for the Service and the certificates of Cluster `tenant`, and serves.
    pub async fn start(env: &TestEnv) -> Self {
        Self::start_with(env, None).await
    }

    /// The same; one write, by its number, ends in another way.
    pub async fn start_with(env: &TestEnv, mishap: Option<(u32, Mishap)>) -> Self {
        Self::start_of(env, CLUSTER, mishap).await
    }

    /// The same, for a Cluster of another name.
    pub async fn start_of(env: &TestEnv, cluster: &str, mishap: Option<(u32, Mishap)>) -> Self {
        let service = env
            .wait_for::<Service>(&format!("{cluster}-apiserver"), "with an address", |service| {
                service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.is_some())
            })
            .await;
        let spec = service.spec.unwrap_or_default();
        let (address, port) = (
            spec.cluster_ip.unwrap_or_default(),
            spec.ports.unwrap_or_default()[0].port,
        );
        let leaf = format!("{cluster}-apiserver");
        let secret = env
            .wait_for::<Secret>(&leaf, "with a certificate", |s| text(s, "apiserver.crt").is_some())
            .await;
        let ca = env.secret(&format!("{cluster}-ca")).await;
        let pair = Pair {
            certificate: text(&secret, "apiserver.crt").expect("just seen"),
            key: text(&secret, "apiserver.key").expect("a key beside its certificate"),
        };
        let acceptor = tls::acceptor(&pair, &text(&ca, "tls.crt").expect("an authority has a certificate"));
        let listener = TcpListener::bind(format!("{address}:{port}")).await;
        let listener = listener.unwrap_or_else(|error| panic!("cannot listen on {address}:{port}: {error}"));
        Self::serve(listener, acceptor, mishap)
    }

    /// Serves beside a control plane that nobody made, and writes the kubeconfig Secret that leads
    /// here.
    pub async fn alone(env: &TestEnv) -> Self {
        Self::alone_with(env, None).await
    }

    /// The same; one write, by its number, ends in another way.
    pub async fn alone_with(env: &TestEnv, mishap: Option<(u32, Mishap)>) -> Self {
        let environment = env.environment;
        let authority = &environment.authority;
        let acceptor = tls::acceptor(&authority.server(), &authority.certificate);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let kubeconfig = environment.kubeconfig("tenant-admin", "system:masters", port);
        env.apply(&json!({
            "apiVersion": "v1", "kind": "Secret", "type": "cluster.x-k8s.io/secret",
            "metadata": {"name": format!("{CLUSTER}-kubeconfig"), "labels": {"cluster.x-k8s.io/cluster-name": CLUSTER}},
            "stringData": {"value": kubeconfig.to_string()},
        }))
        .await;
        Self::serve(listener, acceptor, mishap)
    }

    fn serve(listener: TcpListener, acceptor: TlsAcceptor, mishap: Option<(u32, Mishap)>) -> Self {
        let store = Arc::new(Stored {
            mishap,
            ..Stored::default()
        });
        let served = store.clone();
        let task = tokio::spawn(async move {
            // Connections end with the server.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, store) = (acceptor.clone(), served.clone());
                connections.spawn(async move {
                    // Who is not let in ends the connection; that is the client's to report.
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let answer = service_fn(|request| answer(store.clone(), request));
                    let _ = http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answer)
                        .await;
                });
            }
        });
        Self { store, task }
    }

    /// Answers in this manner from now on.
    pub fn behave(&self, manner: Manner) {
        *self.store.manner.lock().expect("manner") = manner;
    }

    /// Stores a Node, as its kubelet does when it registers.
    pub fn register(&self, name: &str, spec: Value) {
        let path = format!("/api/v1/nodes/{name}");
        let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "uid": path}, "spec": spec});
        self.store.objects.lock().expect("store").insert(path, node);
    }

    /// A Node as it is now.
    pub fn node(&self, name: &str) -> Option<Value> {
        self.objects().remove(&format!("/api/v1/nodes/{name}"))
    }

    /// What was stored, by path of its URL.
    pub fn objects(&self) -> BTreeMap<String, Value> {
        self.store.objects.lock().expect("store").clone()
    }

    /// Whether the write that ends in another way has come.
    pub fn has_struck(&self) -> bool {
        let number = self.store.mishap.map(|(number, _)| number);
        number.is_some_and(|number| number <= self.store.writes.load(Ordering::SeqCst))
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn answer(store: Store, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let manner = *store.manner.lock().expect("manner");
    let (status, body) = match manner {
        Manner::Kind => return kind(store, request).await,
        Manner::Endless => (StatusCode::OK, endless()),
        Manner::Wordy(length) => {
            let (status, mut value) = failure(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", "");
            value["message"] = json!(format!("\u{1b}[31mred{}", "words ".repeat(length / 6)));
            (status, Full::from(value.to_string()).boxed())
        }
        Manner::Silent => std::future::pending().await,
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(response.body(body).expect("a response"))
}

fn endless() -> Body {
    const PIECE: Bytes = Bytes::from_static(&[b' '; 65536]);
    let begin = futures::stream::iter([Bytes::from_static(b"{\"kind\": \"")]);
    let pieces = begin.chain(futures::stream::repeat(PIECE));
    BodyExt::boxed(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))))
}

async fn kind(store: Store, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (method, mut path) = (request.method().clone(), request.uri().path().to_owned());
    let merges = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|type_| type_ == "application/merge-patch+json");
    let body = request
        .into_body()
        .collect()
        .await
        .map(|body| body.to_bytes())
        .unwrap_or_default();
    let sent: Value = serde_json::from_slice(&body).unwrap_or_default();
    if method == Method::POST {
        path = format!("{path}/{}", sent["metadata"]["name"].as_str().unwrap_or_default());
    }
    let number = match method {
        Method::GET => 0,
        _ => store.writes.fetch_add(1, Ordering::SeqCst) + 1,
    };
    let mishap = store.mishap.filter(|(struck, _)| *struck == number).map(|(_, how)| how);
    let (status, value) = match mishap {
        Some(Mishap::Refused(code)) => {
            let status = StatusCode::from_u16(code).expect("an HTTP status");
            failure(status, "ATestAskedForIt", &path)
        }
        Some(Mishap::Unanswered) => {
            done(&store, &method, path, sent, merges);
            std::future::pending().await
        }
        None => done(&store, &method, path, sent, merges),
    };
    let response = Response::builder()
        .status(status)
        .header("content-type", "application/json");
    Ok(response
        .body(Full::from(value.to_string()).boxed())
        .expect("a response"))
}

/// What a request does to the objects, and its answer.
fn done(store: &Stored, method: &Method, path: String, mut sent: Value, merges: bool) -> (StatusCode, Value) {
    let mut store = store.objects.lock().expect("store");
    let known = store.get(&path).cloned();
    match (method, known) {
        (&Method::GET, _) if path == "/readyz" || path == "/livez" => (StatusCode::OK, json!("ok")),
        (&Method::GET, Some(known)) => (StatusCode::OK, known),
        (&Method::POST, Some(_)) => failure(StatusCode::CONFLICT, "AlreadyExists", &path),
        (&Method::PATCH, None) if merges => failure(StatusCode::NOT_FOUND, "NotFound", &path),
        (&Method::POST | &Method::PATCH | &Method::PUT, known) => {
            if let Some(mut known) = known.filter(|_| merges) {
                json_patch::merge(&mut known, &sent);
                sent = known;
            }
            sent["metadata"]["uid"] = json!(path);
            sent["metadata"]["resourceVersion"] = json!((store.len() + 1).to_string());
            store.insert(path, sent.clone());
            (
                if *method == Method::POST {
                    StatusCode::CREATED
                } else {
                    StatusCode::OK
                },
                sent,
            )
        }
        (&Method::DELETE, Some(known)) => {
            store.remove(&path);
            (StatusCode::OK, known)
        }
        _ => failure(StatusCode::NOT_FOUND, "NotFound", &path),
    }
}

fn failure(status: StatusCode, reason: &str, path: &str) -> (StatusCode, Value) {
    let message = format!("{path}: {reason}");
    let code = status.as_u16();
    let kind = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "reason": reason, "message": message, "code": code});
    (status, kind)
}

fn text(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}
