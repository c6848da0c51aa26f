//! Asks a running gateway over its admin address.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;

use super::output::quoted;
use super::{Exit, Failure};
use crate::config::Secret;
use crate::log::escape;

const DEFAULT_URL: &str = "http://127.0.0.1:7170";
pub(super) const JSON: &str = "application/json";
const PATIENCE: Duration = Duration::from_secs(15);
/// More than any answer has, a chunk of the longest dead letters included; what listens
/// at the address may be anything.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Where the gateway is, and the key to it.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The gateway's admin address.
    #[arg(
        long,
        env = "STASHGATE_URL",
        default_value = DEFAULT_URL,
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
        let call = Call::new(Method::GET, path);
        self.call(call).map_err(|no| self.failure(&no.to_string()))
    }

    /// The body of the answer; waits for it.
    pub(super) fn call(&self, call: Call) -> Result<Bytes, No> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| No::Away(error.to_string()))?;
        runtime.block_on(self.answer(call))
    }

    /// The body of the answer.
    pub(super) async fn answer(&self, call: Call) -> Result<Bytes, No> {
        let patience = call.patience;
        let answer = tokio::time::timeout(patience, self.ask(call)).await;
        answer.unwrap_or(Err(No::Silent(patience)))
    }

    async fn ask(&self, call: Call) -> Result<Bytes, No> {
        let url = format!("{}{}", self.url.trim_end_matches('/'), call.path);
        let mut request = Request::builder().method(call.method).uri(&url);
        if let Some(media) = call.media {
            request = request.header(header::CONTENT_TYPE, media);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.reveal()));
        }
        let request = request
            .body(Full::new(call.body))
            .map_err(|error| No::Away(error.to_string()))?;
        let client = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
        let answer = client.request(request).await;
        let answer = answer.map_err(|error| match error.is_connect() {
            true => No::Away(chain(&error)),
            false => No::BrokenOff(chain(&error)),
        })?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES);
        let body = body.collect().await;
        let body = body.map_err(|error| No::BrokenOff(error.to_string()))?;
        let body = body.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            status => Err(No::Refused(status, words(&body))),
        }
    }

    /// A command line for the same gateway, to be copied from a terminal.
    pub(super) fn command(&self, rest: &str) -> String {
        let from_env = std::env::var("STASHGATE_URL").is_ok_and(|url| url == self.url);
        let url = match self.url == DEFAULT_URL || from_env {
            true => String::new(),
            false => format!(" --url {}", quoted(&self.url)),
        };
        escape(&format!("stashgate {rest}{url}")).into_owned()
    }

    /// It cannot be asked.
    pub(super) fn failure(&self, what: &str) -> Failure {
        Failure::new(
            Exit::Unreachable,
            format!("cannot ask the gateway at {}: {what}", self.url),
        )
    }
}

/// What is asked of the gateway.
#[derive(Debug)]
pub(super) struct Call {
    method: Method,
    path: String,
    media: Option<&'static str>,
    body: Bytes,
    patience: Duration,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            media: None,
            body: Bytes::new(),
            patience: PATIENCE,
        }
    }

    /// With a body.
    pub(super) fn with(mut self, media: &'static str, body: impl Into<Bytes>) -> Self {
        (self.media, self.body) = (Some(media), body.into());
        self
    }

    /// Waits so long for the answer.
    pub(super) fn for_at_most(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }
}

/// Why there is no answer, or only a no.
#[derive(Debug)]
pub(super) enum No {
    /// Nobody answers.
    Away(String),
    /// Somebody took the call and went away before the answer was whole: a gateway that
    /// was killed in the middle of it, say. What was asked for may be done.
    BrokenOff(String),
    /// It took so long that nobody waits any more. What was asked for may be done.
    Silent(Duration),
    /// It answered no, with these words.
    Refused(StatusCode, String),
}

impl fmt::Display for No {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) | Self::BrokenOff(why) => f.write_str(why),
            Self::Silent(patience) => write!(f, "no answer for {} s", patience.as_secs()),
            Self::Refused(StatusCode::UNAUTHORIZED, _) => {
                f.write_str("it wants its token: --token or STASHGATE_TOKEN")
            }
            Self::Refused(status, words) => write!(f, "it answered {status}: {words}"),
        }
    }
}

/// The words of `{"error": "…"}`; what else listens there says something else.
fn words(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        error: String,
    }
    match serde_json::from_slice::<Said>(body) {
        Ok(said) => said.error,
        Err(_) => String::from_utf8_lossy(&body[..body.len().min(1000)]).into_owned(),
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
