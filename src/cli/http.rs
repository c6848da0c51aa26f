//! Asks a running gateway over its admin address.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::{Exit, Failure};
use crate::config::Secret;

const PATIENCE: Duration = Duration::from_secs(15);
/// More than any answer has; what listens at the address may be anything.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Where the gateway is, and the key to it.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The gateway's admin address.
    #[arg(
        long,
        env = "STASHGATE_URL",
        default_value = "http://127.0.0.1:7170",
        value_name = "URL"
    )]
    pub(super) url: String,
    /// Its admin token. Better in the environment: others on this machine see
    /// flags.
    #[arg(long, env = "STASHGATE_TOKEN", hide_env_values = true, value_parser = secret, value_name = "TOKEN")]
    token: Option<Secret>,
}

fn secret(text: &str) -> Result<Secret, std::convert::Infallible> {
    Ok(Secret::new(text))
}

impl Remote {
    /// The body of the answer to `GET path`.
    pub(super) fn get(&self, path: &str) -> Result<Bytes, Failure> {
        self.call(Method::GET, path, Bytes::new())
    }

    /// The body of the answer to `POST path` with `body`.
    pub(super) fn post(&self, path: &str, body: &serde_json::Value) -> Result<Bytes, Failure> {
        self.call(Method::POST, path, body.to_string().into())
    }

    fn call(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| self.failure(&error.to_string()))?;
        let answer = async { tokio::time::timeout(PATIENCE, self.ask(method, path, body)).await };
        runtime
            .block_on(answer)
            .unwrap_or_else(|_| Err(format!("no answer for {} s", PATIENCE.as_secs())))
            .map_err(|what| self.failure(&what))
    }

    async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Bytes, String> {
        let url = format!("{}{path}", self.url.trim_end_matches('/'));
        let mut request = Request::builder().method(method).uri(&url);
        if !body.is_empty() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request).await.map_err(|e| chain(&e))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await.map_err(|e| e.to_string())?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => {
                Err("it wants its token: --token or STASHGATE_TOKEN".into())
            }
            status => Err(format!(
                "it answered {status}: {}",
                String::from_utf8_lossy(&body)
            )),
        }
    }

    fn failure(&self, what: &str) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("cannot ask the gateway at {}: {what}", self.url),
        )
    }
}

/// An error with its causes: the client's own text does not name them.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
