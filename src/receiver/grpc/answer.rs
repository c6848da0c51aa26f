//! The table's answers in the words of gRPC.

use bytes::Bytes;
use prost::Message;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::dead_letter::Source;
use crate::event::Reject;
use crate::proto::{AppendResponse, RejectedEvent};
use crate::receiver::intake::{Taken, count_refused};
use crate::receiver::reply::{self, Refusal};

/// The answer to a batch that was taken.
pub(super) fn taken(taken: Taken, ordinal: u64) -> AppendResponse {
    let kept = taken.kept;
    let rejected = taken.rejects.into_iter().map(|r| rejected(r, kept));
    AppendResponse {
        batch_id: Bytes::copy_from_slice(taken.id.as_bytes()),
        accepted: taken.accepted,
        rejected: rejected.collect(),
        ordinal,
        error: None,
    }
}

/// The answer on a stream to a batch that was refused.
pub(super) fn refused(refusal: &Refusal, batch_id: Bytes, ordinal: u64) -> AppendResponse {
    let status = failed(refusal);
    // What `status` made is decoded again, so that both forms are one.
    let error = pb::Status::decode(status.details()).unwrap_or_else(|_| pb::Status {
        code: i32::from(status.code()),
        message: status.message().to_owned(),
        details: Vec::new(),
    });
    AppendResponse {
        batch_id,
        error: Some(error),
        ordinal,
        ..AppendResponse::default()
    }
}

/// The answer to a call whose batch was refused.
pub(super) fn failed(refusal: &Refusal) -> Status {
    count_refused(Source::Grpc, refusal);
    status(refusal)
}

/// A refusal in the form of gRPC.
pub(super) fn status(refusal: &Refusal) -> Status {
    let reply = refusal.reply();
    let message = refusal.to_string();
    let mut details = ErrorDetails::new();
    if let Some(field) = reply.field {
        details.add_bad_request_violation(field, &message);
    }
    if let Some(after) = reply.retry_after {
        details.set_retry_info(Some(after));
    }
    Status::with_error_details(reply.grpc, message, details)
}

fn rejected(reject: Reject, kept: bool) -> RejectedEvent {
    RejectedEvent {
        index: reject.index,
        reason: reply::rejection(reject.reason).into(),
        detail: reject.detail,
        kept,
    }
}
