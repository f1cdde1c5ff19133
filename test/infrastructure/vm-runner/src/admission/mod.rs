//! The admission webhooks: KubeVirt's defaults and refusals, over TLS.

pub mod certificate;
pub mod configuration;
pub mod defaults;
pub mod eviction;
pub mod review;
pub mod schema;
pub mod validate;

use std::convert::Infallible;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request as HttpRequest, Response, StatusCode};
use hyper_util::rt::TokioIo;
use kube::Client;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::admission::review::{Answer, Review, response};
use crate::clock;

const LARGEST: usize = 8 << 20;

/// Why a request got no answer.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("cannot read the request")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("the request is no AdmissionReview")]
    Json(#[from] serde_json::Error),
    #[error("no such path")]
    Path,
    #[error("cannot ask the API server")]
    Call(#[from] kube::Error),
    #[error("no randomness")]
    Uuid(#[from] std::io::Error),
}

/// The answer of the webhook that completes a `VirtualMachine`. Pure.
#[must_use]
pub fn mutate_vm(object: &Value, uuids: &[String; 2]) -> Answer {
    schema::refusal(object).unwrap_or_else(|| Answer::Replace(defaults::vm(object.clone(), uuids)))
}

/// The answer of the webhook that checks a `VirtualMachine`. Pure.
#[must_use]
pub fn validate_vm(object: &Value) -> Answer {
    match deny(validate::vm(object)) {
        Answer::Allow => Answer::Warn(validate::warnings(object)),
        denied => denied,
    }
}

fn deny(causes: Vec<review::Cause>) -> Answer {
    if causes.is_empty() {
        Answer::Allow
    } else {
        Answer::Deny(causes)
    }
}

/// Serves until the listener fails.
pub async fn serve(listener: TcpListener, config: ServerConfig, client: Client) -> std::io::Result<()> {
    let acceptor = TlsAcceptor::from(Arc::new(config));
    loop {
        let (stream, _) = listener.accept().await?;
        let (acceptor, client) = (acceptor.clone(), client.clone());
        tokio::spawn(async move {
            let Ok(stream) = acceptor.accept(stream).await else {
                return;
            };
            let service = service_fn(|request| reply(request, client.clone()));
            let _closed = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn reply(request: HttpRequest<Incoming>, client: Client) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let (status, body) = match answer(request, &client).await {
        Ok(body) => (StatusCode::OK, body.to_string()),
        Err(Error::Path) => (StatusCode::NOT_FOUND, String::new()),
        Err(error) => {
            tracing::warn!(path, %error, source = ?std::error::Error::source(&error), "no answer");
            (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
        }
    };
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(
        "content-type",
        hyper::header::HeaderValue::from_static("application/json"),
    );
    Ok(response)
}

async fn answer(request: HttpRequest<Incoming>, client: &Client) -> Result<Value, Error> {
    let path = request.uri().path().to_owned();
    if path == "/healthz" {
        return Ok(Value::Null);
    }
    let body = Limited::new(request.into_body(), LARGEST)
        .collect()
        .await
        .map_err(Error::Body)?
        .to_bytes();
    let Review { request } = serde_json::from_slice(&body)?;
    let answer = match path.as_str() {
        "/virtualmachines-mutate" => mutate_vm(&request.object, &uuids()?),
        "/virtualmachineinstances-mutate" if request.operation == "CREATE" => Answer::Replace(defaults::vmi(
            request.object.clone(),
            &uuids()?,
            &clock::now().to_string(),
        )),
        "/virtualmachineinstances-mutate" => Answer::Replace(defaults::vmi_update(
            request.object.clone(),
            &request.old_object,
            &request.user_info.username,
        )),
        // On its way out only finalizers change.
        "/virtualmachines-validate" if request.object["metadata"]["deletionTimestamp"].is_string() => Answer::Allow,
        "/virtualmachines-validate" => validate_vm(&request.object),
        "/virtualmachineinstances-validate-create" => deny(validate::vmi(&request.object, &request.user_info.username)),
        "/virtualmachineinstances-validate-update" => deny(validate::vmi_update(&request)),
        "/launcher-eviction-validate" => eviction::answer(client, &request).await?,
        _ => return Err(Error::Path),
    };
    Ok(response(&request, &answer))
}

fn uuids() -> Result<[String; 2], std::io::Error> {
    let uuid = || std::fs::read_to_string("/proc/sys/kernel/random/uuid").map(|uuid| uuid.trim().to_owned());
    Ok([uuid()?, uuid()?])
}
