//! /healthz, /readyz and /metrics.

use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::{
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::{convert::Infallible, net::SocketAddr, time::Duration};
use tokio::net::TcpListener;

/// Serves until the process ends.
///
/// # Errors
/// When the address cannot be bound.
pub async fn serve(address: SocketAddr) -> Result<(), String> {
    let listener = TcpListener::bind(address)
        .await
        .map_err(|error| format!("--health-addr {address}: {error}"))?;
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else {
                continue;
            };
            tokio::spawn(async move {
                let connection = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(Duration::from_secs(10))
                    .serve_connection(TokioIo::new(stream), service_fn(answer));
                if let Err(error) = connection.await {
                    tracing::debug!(%error, "probe connection ended");
                }
            });
        }
    });
    Ok(())
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (status, text) = match request.uri().path() {
        "/healthz" => (StatusCode::OK, "ok".to_owned()),
        "/readyz" => match crate::runtime::watch::not_listed().as_slice() {
            [] => (StatusCode::OK, "ok".to_owned()),
            kinds => (
                StatusCode::SERVICE_UNAVAILABLE,
                format!("not listed yet: {}", kinds.join(", ")),
            ),
        },
        "/metrics" => (StatusCode::OK, crate::runtime::metrics::metrics()),
        _ => (StatusCode::NOT_FOUND, "try /healthz, /readyz or /metrics".to_owned()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}
