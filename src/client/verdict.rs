//! What a status means for the batches it meets.

use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{RpcStatusExt, StatusExt};

/// What to do after an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Send again, after at least this long.
    Retry(Option<Duration>),
    /// This batch will never be taken.
    Refused,
    /// This caller will never be heard: no batch will be taken.
    AllRefused,
}

/// The error of one batch, from its answer.
pub(super) fn of_answer(error: &tonic_types::pb::Status) -> Verdict {
    let asked = error.get_details_retry_info().and_then(|i| i.retry_delay);
    match Code::from(error.code) {
        Code::Unavailable | Code::ResourceExhausted => Verdict::Retry(asked),
        _ if asked.is_some() => Verdict::Retry(asked),
        _ => Verdict::Refused,
    }
}

/// The end of a stream. Broken connections appear under many codes, so that
/// everything is worth another try but what a gateway says on purpose.
pub(super) fn of_stream(status: &Status) -> Verdict {
    let asked = status.get_details_retry_info().and_then(|i| i.retry_delay);
    match status.code() {
        _ if asked.is_some() => Verdict::Retry(asked),
        Code::Unauthenticated | Code::PermissionDenied | Code::Unimplemented => Verdict::AllRefused,
        Code::InvalidArgument | Code::OutOfRange | Code::NotFound | Code::FailedPrecondition => {
            Verdict::Refused
        }
        _ => Verdict::Retry(None),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::{ErrorDetails, pb};

    use super::*;

    fn answer(code: Code) -> pb::Status {
        pb::Status {
            code: code.into(),
            ..pb::Status::default()
        }
    }

    #[test]
    fn a_full_or_draining_gateway_is_asked_again() {
        for code in [Code::Unavailable, Code::ResourceExhausted] {
            assert_eq!(of_answer(&answer(code)), Verdict::Retry(None));
        }
        assert_eq!(of_answer(&answer(Code::InvalidArgument)), Verdict::Refused);
        assert_eq!(of_answer(&answer(Code::Internal)), Verdict::Refused);
    }

    #[test]
    fn retry_info_says_how_long_to_wait() {
        let asked = Duration::from_millis(1_500);
        let status = Status::with_error_details(
            Code::ResourceExhausted,
            "full",
            ErrorDetails::with_retry_info(Some(asked)),
        );
        assert_eq!(of_stream(&status), Verdict::Retry(Some(asked)));
        let error = <pb::Status as prost::Message>::decode(status.details()).expect("a status");
        assert_eq!(of_answer(&error), Verdict::Retry(Some(asked)));
    }

    #[test]
    fn a_broken_stream_is_no_refusal() {
        for code in [
            Code::Unknown,
            Code::Internal,
            Code::Cancelled,
            Code::Aborted,
        ] {
            assert_eq!(of_stream(&Status::new(code, "")), Verdict::Retry(None));
        }
        assert_eq!(of_stream(&Status::unauthenticated("")), Verdict::AllRefused);
        assert_eq!(of_stream(&Status::out_of_range("")), Verdict::Refused);
    }
}
