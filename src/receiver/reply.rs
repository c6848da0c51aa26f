//! The one table of errors: what a refused batch is answered with.
//!
//! | reason | gRPC | field | HTTP | try again after |
//! | --- | --- | --- | --- | --- |
//! | unknown_queue | InvalidArgument | queue | 404 | |
//! | both_payloads | InvalidArgument | ndjson | 400 | |
//! | invalid_batch_id | InvalidArgument | batch_id | 400 | |
//! | too_many_events | InvalidArgument | events | 413 | |
//! | too_many_bytes | InvalidArgument | events | 413 | |
//! | form_too_long | InvalidArgument | | 413 | |
//! | element_too_long | InvalidArgument | | 413 | |
//! | malformed | InvalidArgument | events | 400 | |
//! | undecodable | InvalidArgument | | 400 | |
//! | unsupported_media_type | Unimplemented | | 415 | |
//! | unsupported_encoding | Unimplemented | | 415 | |
//! | slow_body | DeadlineExceeded | | 408 | |
//! | no_such_path | Unimplemented | | 404 | |
//! | wrong_method | Unimplemented | | 405 | |
//! | full_in_flight | ResourceExhausted | | 429 | 1 s |
//! | full_queue_bytes | ResourceExhausted | | 429 | 5 s |
//! | full_spool_bytes | ResourceExhausted | | 429 | 5 s |
//! | full_disk | ResourceExhausted | | 429 | 5 s |
//! | full_memory | ResourceExhausted | | 429 | 5 s |
//! | full_resources | ResourceExhausted | | 429 | 5 s |
//! | poisoned | Unavailable | | 503 | 30 s |
//! | spool_unavailable | Unavailable | | 503 | 2 s |
//! | full_dead_letters | ResourceExhausted | | 429 | 5 s |
//! | dead_letters_unavailable | Unavailable | | 503 | 5 s |
//! | closing | Unavailable | | 503 | 2 s |
//!
//! `reason` is the label of `stashgate_refused_batches_total` and the `reason` of
//! an HTTP body. `field` is what gRPC's `BadRequest` blames. What has a time to
//! try again after is retryable as it is: gRPC says it in `RetryInfo`, HTTP in
//! `Retry-After`. `POST /v1/dead-letters` answers 503 to all of them, see there. A refused batch left nothing in the spool, with two exceptions:
//! after `poisoned` and `spool_unavailable` it may be stored, so it is to be sent again
//! under its id.

use std::time::Duration;

use axum::http::StatusCode;
use tonic::Code;

use crate::batch::InvalidBatchId;
use crate::dead_letter::KeepError;
use crate::event::{BlockError, RejectReason};
use crate::proto;
use crate::spool::{AppendError, FullReason};

/// Why a batch was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The queue is not configured.
    #[error("there is no queue {0:?}; the gateway's configuration has to name it as [queues.NAME]")]
    UnknownQueue(String),
    /// A gRPC request with `events` and `ndjson`.
    #[error("the request has both events and ndjson; set one of them")]
    BothPayloads,
    /// The client's own batch id cannot be one.
    #[error(transparent)]
    InvalidBatchId(#[from] InvalidBatchId),
    /// The batch as a whole is not taken.
    #[error(transparent)]
    Block(#[from] BlockError),
    /// A form longer than forms may be.
    #[error("a form has at most {0} bytes; send more than that as JSON")]
    FormTooLong(usize),
    /// An element of a body of dead letters longer than they may be.
    #[error("an element has more than {0} bytes; no longer one can be kept as a dead letter")]
    ElementTooLong(usize),
    /// The body cannot be read as its headers say.
    #[error("the body cannot be read: {0}")]
    Undecodable(String),
    /// Not a media type of this path.
    #[error("the Content-Type {given:?} is not taken here; send {expected}")]
    UnsupportedMediaType {
        /// What the client sent.
        given: String,
        /// What it may send.
        expected: &'static str,
    },
    /// Not a known compression.
    #[error("the Content-Encoding {0:?} is not known; send gzip, zstd or none")]
    UnsupportedEncoding(String),
    /// The client stopped in the middle of the body.
    #[error("nothing of the body arrived for {} s", .0.as_secs())]
    SlowBody(Duration),
    /// Nothing lives there.
    #[error("there is no {0}; send events to POST /v1/events or POST /put")]
    NoSuchPath(String),
    /// Not a POST.
    #[error("{0} is not taken here; send events with POST")]
    WrongMethod(String),
    /// No room, and the patience is over.
    #[error("{0}; try again later")]
    Full(FullReason),
    /// The spool is broken until the gateway is restarted.
    #[error("the spool takes no more batches since a disk operation failed: {0}")]
    Poisoned(String),
    /// The spool is somewhere else, and does not answer as it should.
    #[error("the spool cannot be reached: {0}; send the batch again under the same id")]
    Unavailable(String),
    /// Dead letters that came as such cannot be kept now.
    #[error("{0}; send the same again later")]
    NotKept(#[from] KeepError),
    /// The gateway is stopping.
    #[error("the gateway is shutting down; try again, or send to another one")]
    Closing,
}

impl From<AppendError> for Refusal {
    fn from(error: AppendError) -> Self {
        match error {
            AppendError::UnknownQueue(queue) => Self::UnknownQueue(queue.to_string()),
            AppendError::Full(reason) => Self::Full(reason),
            AppendError::Poisoned(why) => Self::Poisoned(why),
            AppendError::Unavailable(why) => Self::Unavailable(why),
            AppendError::Closing => Self::Closing,
        }
    }
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reply {
    /// The class of the refusal, for metrics and programs.
    pub reason: &'static str,
    /// The code of gRPC.
    pub grpc: Code,
    /// The field of the gRPC request that is to blame.
    pub field: Option<&'static str>,
    /// The status of HTTP.
    pub http: StatusCode,
    /// When the same batch may succeed; never, if there is no time.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// How it is answered.
    pub fn reply(&self) -> Reply {
        match self {
            Self::UnknownQueue(_) => invalid("unknown_queue", "queue", StatusCode::NOT_FOUND),
            Self::BothPayloads => invalid("both_payloads", "ndjson", StatusCode::BAD_REQUEST),
            Self::InvalidBatchId(_) => {
                invalid("invalid_batch_id", "batch_id", StatusCode::BAD_REQUEST)
            }
            Self::Block(error) => block(error),
            Self::FormTooLong(_) => fault(
                "form_too_long",
                Code::InvalidArgument,
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            Self::Undecodable(_) => fault(
                "undecodable",
                Code::InvalidArgument,
                StatusCode::BAD_REQUEST,
            ),
            Self::ElementTooLong(_) => fault(
                "element_too_long",
                Code::InvalidArgument,
                StatusCode::PAYLOAD_TOO_LARGE,
            ),
            Self::UnsupportedMediaType { .. } => {
                unimplemented("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::UnsupportedEncoding(_) => {
                unimplemented("unsupported_encoding", StatusCode::UNSUPPORTED_MEDIA_TYPE)
            }
            Self::SlowBody(_) => fault(
                "slow_body",
                Code::DeadlineExceeded,
                StatusCode::REQUEST_TIMEOUT,
            ),
            Self::NoSuchPath(_) => unimplemented("no_such_path", StatusCode::NOT_FOUND),
            Self::WrongMethod(_) => unimplemented("wrong_method", StatusCode::METHOD_NOT_ALLOWED),
            Self::Full(FullReason::InFlight) => full("full_in_flight", 1),
            Self::Full(FullReason::QueueBytes) => full("full_queue_bytes", 5),
            Self::Full(FullReason::SpoolBytes) => full("full_spool_bytes", 5),
            Self::Full(FullReason::Disk) => full("full_disk", 5),
            Self::Full(FullReason::Memory) => full("full_memory", 5),
            Self::Full(FullReason::Resources) => full("full_resources", 5),
            Self::Poisoned(_) => unavailable("poisoned", 30),
            Self::Unavailable(_) => unavailable("spool_unavailable", 2),
            Self::NotKept(KeepError::Full | KeepError::TooSlow) => full("full_dead_letters", 5),
            Self::NotKept(_) => unavailable("dead_letters_unavailable", 5),
            Self::Closing => unavailable("closing", 2),
        }
    }
}

fn block(error: &BlockError) -> Reply {
    match error {
        BlockError::TooManyEvents { .. } => {
            invalid("too_many_events", "events", StatusCode::PAYLOAD_TOO_LARGE)
        }
        BlockError::TooManyBytes { .. } => {
            invalid("too_many_bytes", "events", StatusCode::PAYLOAD_TOO_LARGE)
        }
        BlockError::Malformed { .. } => invalid("malformed", "events", StatusCode::BAD_REQUEST),
    }
}

const fn fault(reason: &'static str, grpc: Code, http: StatusCode) -> Reply {
    Reply {
        reason,
        grpc,
        field: None,
        http,
        retry_after: None,
    }
}

const fn invalid(reason: &'static str, field: &'static str, http: StatusCode) -> Reply {
    Reply {
        field: Some(field),
        ..fault(reason, Code::InvalidArgument, http)
    }
}

const fn unimplemented(reason: &'static str, http: StatusCode) -> Reply {
    fault(reason, Code::Unimplemented, http)
}

const fn full(reason: &'static str, seconds: u64) -> Reply {
    Reply {
        retry_after: Some(Duration::from_secs(seconds)),
        ..fault(
            reason,
            Code::ResourceExhausted,
            StatusCode::TOO_MANY_REQUESTS,
        )
    }
}

const fn unavailable(reason: &'static str, seconds: u64) -> Reply {
    Reply {
        retry_after: Some(Duration::from_secs(seconds)),
        ..fault(reason, Code::Unavailable, StatusCode::SERVICE_UNAVAILABLE)
    }
}

/// The contract's name of what is wrong with an event.
pub fn rejection(reason: RejectReason) -> proto::RejectReason {
    match reason {
        RejectReason::InvalidUtf8 => proto::RejectReason::InvalidUtf8,
        RejectReason::InvalidJson => proto::RejectReason::InvalidJson,
        RejectReason::NotAnObject => proto::RejectReason::NotAnObject,
        RejectReason::TooLarge => proto::RejectReason::TooLarge,
        RejectReason::TooDeep => proto::RejectReason::TooDeep,
        RejectReason::TokenTooLong => proto::RejectReason::TokenTooLong,
        RejectReason::InvalidMetadata => proto::RejectReason::InvalidMetadata,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each; a new variant needs a row in the table above as well.
    fn all() -> Vec<Refusal> {
        let text = String::new;
        vec![
            Refusal::UnknownQueue(text()),
            Refusal::BothPayloads,
            Refusal::InvalidBatchId(InvalidBatchId { length: 65 }),
            Refusal::Block(BlockError::TooManyEvents { limit: 1 }),
            Refusal::Block(BlockError::TooManyBytes { limit: 1 }),
            Refusal::FormTooLong(1),
            Refusal::ElementTooLong(1),
            Refusal::Block(BlockError::Malformed { detail: text() }),
            Refusal::Undecodable(text()),
            Refusal::UnsupportedMediaType {
                given: text(),
                expected: "",
            },
            Refusal::UnsupportedEncoding(text()),
            Refusal::SlowBody(Duration::ZERO),
            Refusal::NoSuchPath(text()),
            Refusal::WrongMethod(text()),
            Refusal::Full(FullReason::InFlight),
            Refusal::Full(FullReason::QueueBytes),
            Refusal::Full(FullReason::SpoolBytes),
            Refusal::Full(FullReason::Disk),
            Refusal::Full(FullReason::Memory),
            Refusal::Full(FullReason::Resources),
            Refusal::Poisoned(text()),
            Refusal::Unavailable(text()),
            Refusal::NotKept(KeepError::Full),
            Refusal::NotKept(KeepError::Failed(text())),
            Refusal::Closing,
        ]
    }

    fn row(reply: Reply) -> String {
        let after = reply
            .retry_after
            .map_or(String::new(), |after| format!("{} s", after.as_secs()));
        let cells = [
            reply.reason.to_owned(),
            format!("{:?}", reply.grpc),
            reply.field.unwrap_or_default().to_owned(),
            reply.http.as_u16().to_string(),
            after,
        ];
        let row = format!("//! | {} |", cells.join(" | "));
        row.replace("|  |", "| |").replace("|  |", "| |")
    }

    #[test]
    fn the_documented_table_is_the_one_that_answers() {
        let documented: Vec<&str> = include_str!("reply.rs")
            .lines()
            .filter(|line| line.starts_with("//! | "))
            .skip(2)
            .collect();
        let answered: Vec<String> = all().iter().map(|refusal| row(refusal.reply())).collect();
        assert_eq!(documented, answered);
    }

    #[test]
    fn only_what_may_succeed_as_it_is_says_when_to_try_again() {
        for refusal in all() {
            let reply = refusal.reply();
            let transient = matches!(reply.grpc, Code::ResourceExhausted | Code::Unavailable);
            assert_eq!(reply.retry_after.is_some(), transient, "{refusal:?}");
        }
    }
}
