//! Stands between a manager and the API server, and cuts the manager off at a chosen write: that
//! write lands, and the manager never hears of it.

use crate::{World, shipped::NESTED, tls};
use http::{Method, Request, Response, header::HOST};
use hyper::{body::Incoming, client, server, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Mutex, watch},
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;

/// A proxy that cuts a manager off after its n-th write.
#[derive(Debug)]
pub struct CuttingProxy {
    /// Port on 127.0.0.1.
    pub port: u16,
    state: Arc<State>,
    cut: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    after: u32,
    writes: AtomicU32,
    cut: watch::Sender<bool>,
}

impl Drop for CuttingProxy {
    fn drop(&mut self) {
        self.task.abort();
        self.state.cut.send_replace(true);
    }
}

impl CuttingProxy {
    /// Forwards as `user`, a manager of the control plane provider, until the write number `after` has landed.
    pub async fn start(world: &World, user: &str, after: u32) -> Self {
        let environment = world.environment;
        let authority = &environment.authority;
        let acceptor = tls::acceptor(&authority.server(), &authority.certificate);
        let connector = tls::connector(&authority.client(user, NESTED), &authority.certificate);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("no port is free");
        let port = listener.local_addr().expect("a bound listener has an address").port();
        let (sender, cut) = watch::channel(false);
        let state = Arc::new(State {
            after,
            writes: AtomicU32::new(0),
            cut: sender,
        });
        let (forward, target) = (state.clone(), environment.port());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, connector, state) = (acceptor.clone(), connector.clone(), forward.clone());
                let mut cut = state.cut.subscribe();
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
                    tokio::select! { () = served => {}, _ = cut.wait_for(|cut| *cut) => {} }
                });
            }
        });
        Self { port, state, cut, task }
    }

    /// Whether the chosen write has landed.
    pub fn has_cut(&self) -> bool {
        *self.cut.borrow()
    }

    /// Writes that have come so far.
    pub fn writes(&self) -> u32 {
        self.state.writes.load(Ordering::SeqCst)
    }
}

type Upstream = client::conn::http1::SendRequest<Incoming>;

/// One connection to the API server for one of the manager's.
async fn connect(connector: &TlsConnector, port: u16) -> Option<Upstream> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    let name = ServerName::try_from("127.0.0.1").ok()?;
    let stream = connector.connect(name, stream).await.ok()?;
    let (upstream, connection) = client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(upstream)
}

async fn forwarded(
    state: &State,
    upstream: &Mutex<Upstream>,
    mut request: Request<Incoming>,
) -> Result<Response<Incoming>, hyper::Error> {
    let path = request.uri().path();
    // Events and Leases say nothing of the world.
    let write = !matches!(*request.method(), Method::GET | Method::HEAD)
        && !["/events", "/leases"].iter().any(|part| path.contains(part));
    let number = if write {
        state.writes.fetch_add(1, Ordering::SeqCst) + 1
    } else {
        0
    };
    if number > state.after {
        // Came while the cut was on its way.
        return std::future::pending().await;
    }
    request.headers_mut().remove(HOST);
    request
        .headers_mut()
        .insert(HOST, http::HeaderValue::from_static("127.0.0.1"));
    let answer = upstream.lock().await.send_request(request).await;
    if number == state.after && state.after > 0 {
        state.cut.send_replace(true);
        return std::future::pending().await;
    }
    answer
}
