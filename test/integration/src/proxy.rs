//! Stands between a manager and the API server, and lets one chosen write go wrong.

use crate::{TestEnv, manager::group, tls};
use http::{
    HeaderValue, Method, Request, Response,
    header::{CONTENT_TYPE, HOST, RETRY_AFTER},
};
use http_body_util::{BodyExt, Either, Full};
use hyper::{
    body::{Bytes, Incoming},
    client, server,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use serde_json::json;
use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

/// What befalls the chosen write.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// It lands, and the manager is cut off for good: it never hears of it.
    Cut,
    /// It does not land; the answer is this HTTP status.
    Status(u16),
    /// It does not land; the connection ends.
    Lost,
    /// It lands; the connection ends instead of an answer.
    Unheard,
}

/// A proxy that lets the n-th write of a manager go wrong.
#[derive(Debug)]
pub struct FaultyProxy {
    /// Port on 127.0.0.1.
    pub port: u16,
    state: Arc<State>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    fault: Fault,
    number: u32,
    writes: AtomicU32,
    struck: AtomicBool,
    end: watch::Sender<bool>,
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.state.end.send_replace(true);
    }
}

impl FaultyProxy {
    /// Forwards as `user`, a manager of this provider; its write number `number` meets the fault.
    pub async fn start(env: &TestEnv, controllers: &str, user: &str, number: u32, fault: Fault) -> Self {
        let environment = env.environment;
        let authority = &environment.authority;
        let acceptor = tls::acceptor(&authority.server(), &authority.certificate);
        let connector = tls::connector(&authority.client(user, group(controllers)), &authority.certificate);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let state = Arc::new(State {
            fault,
            number,
            writes: AtomicU32::new(0),
            struck: AtomicBool::new(false),
            end: watch::Sender::new(false),
        });
        let (forward, target) = (state.clone(), environment.port());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, connector, state) = (acceptor.clone(), connector.clone(), forward.clone());
                let mut end = state.end.subscribe();
                tokio::spawn(async move {
                    let served = async {
                        let Ok(stream) = acceptor.accept(stream).await else {
                            return;
                        };
                        let Some(upstream) = connect(&connector, target).await else {
                            return;
                        };
                        let upstream = Mutex::new(upstream);
                        let pass = service_fn(|request| forwarded(&state, &upstream, request));
                        let server = server::conn::http1::Builder::new().timer(TokioTimer::new()).to_owned();
                        let _ = server.serve_connection(TokioIo::new(stream), pass).await;
                    };
                    tokio::select! { () = served => {}, _ = end.wait_for(|end| *end) => {} }
                });
            }
        });
        Self { port, state, task }
    }

    /// Whether the chosen write has come.
    pub fn has_struck(&self) -> bool {
        self.state.struck.load(Ordering::SeqCst)
    }
}

type Upstream = client::conn::http1::SendRequest<Incoming>;
type Answer = Response<Either<Incoming, Full<Bytes>>>;

/// One connection to the API server for one of the manager's.
async fn connect(connector: &TlsConnector, port: u16) -> Option<Upstream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let name = ServerName::try_from("127.0.0.1").ok()?;
    let stream = connector.connect(name, stream).await.ok()?;
    let (upstream, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(upstream)
}

/// An error ends the connection.
async fn forwarded(
    state: &State,
    upstream: &Mutex<Upstream>,
    mut request: Request<Incoming>,
) -> Result<Answer, Box<dyn Error + Send + Sync>> {
    let path = request.uri().path();
    // Events and Leases say nothing of the world.
    let write = !matches!(*request.method(), Method::GET | Method::HEAD)
        && !["/events", "/leases"].iter().any(|part| path.contains(part));
    let number = if write {
        state.writes.fetch_add(1, Ordering::SeqCst) + 1
    } else {
        0
    };
    if state.fault == Fault::Cut && number > state.number {
        // Came while the cut was on its way.
        return std::future::pending().await;
    }
    let chosen = write && number == state.number;
    if chosen && let Fault::Status(code) = state.fault {
        let answer = refusal(code, request.method());
        // What is not read would end the connection.
        request.into_body().collect().await?;
        state.struck.store(true, Ordering::SeqCst);
        return Ok(answer);
    }
    if chosen && state.fault == Fault::Lost {
        state.struck.store(true, Ordering::SeqCst);
        return Err("the request is lost".into());
    }
    request.headers_mut().remove(HOST);
    request
        .headers_mut()
        .insert(HOST, HeaderValue::from_static("127.0.0.1"));
    let answer = upstream.lock().await.send_request(request).await;
    if chosen {
        state.struck.store(true, Ordering::SeqCst);
        if state.fault == Fault::Cut {
            state.end.send_replace(true);
            return std::future::pending().await;
        }
        return Err("the answer is lost".into());
    }
    Ok(answer?.map(Either::Left))
}

fn refusal(code: u16, method: &Method) -> Answer {
    let reason = match code {
        409 if *method == Method::POST => "AlreadyExists",
        409 => "Conflict",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        _ => "InternalError",
    };
    let status = json!({"apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "reason": reason, "message": "a fault that a test asked for", "code": code});
    let response = Response::builder()
        .status(code)
        .header(CONTENT_TYPE, "application/json")
        .header(RETRY_AFTER, "1");
    let body = Either::Right(Full::from(status.to_string()));
    response.body(body).expect("a response")
}
