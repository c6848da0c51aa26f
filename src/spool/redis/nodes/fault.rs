//! The one table of what a server's errors mean. Nobody else interprets them.
//!
//! | the server, or the connection, says | [`Fault`] | was it done? | what to do |
//! | --- | --- | --- | --- |
//! | `OOM` | `Full` | no | backpressure or spill; leases go on and make room |
//! | `LOADING`, `BUSY`, `TRYAGAIN`, `CLUSTERDOWN`, `MASTERDOWN`, `NOREPLICAS`, `MISCONF`, too many clients | `NotNow` | no | wait, ask anew who is master, retry; spill meanwhile |
//! | `MOVED`, `ASK`, `READONLY` | `Elsewhere` | no | ask anew who is master, retry |
//! | `NOSCRIPT` | `NoScript` | no | load the script, retry |
//! | no connection could be made, or was free | `Unreachable` | no, nothing was sent | wait, ask anew, retry; spill meanwhile |
//! | connection cut, no answer in time, `UNBLOCKED`, an answer that makes no sense | `Lost` | **nobody knows** | new connection, find out; never assume |
//! | some commands of a plain pipeline were done, others refused | `Lost` | in part | as above |
//! | `NOAUTH`, `WRONGPASS`, `NOPERM`, `WRONGTYPE`, `CROSSSLOT`, TLS, `ERR`, all else | `Refused` | no | say it loudly, wait long, retry: a person has to see to it |
//!
//! `EXECABORT` only says that a transaction was not run; why stands in the answers
//! to its commands, and that is what counts. Redis 6.2 wraps the error of a script's
//! command into `ERR Error running script`; the error inside counts.
//!
//! A script, or a transaction that was run, is not undone when one of its commands
//! fails. That happens only with `WRONGTYPE` (or a defect): `OOM`, `READONLY` and
//! the like are refused before the first write. So `Refused` from a transaction may
//! mean that its **other** commands were done: what one of them wrote proves nothing
//! about the failed one.

use std::error::Error;
use std::sync::Arc;

use deadpool_redis::redis::{ErrorKind, RedisError, ServerError, Value};

use super::options::Address;

/// Why a command was not, or perhaps not, carried out; with the server's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No memory left. Nothing was done.
    #[error("Redis is full: {0}")]
    Full(String),
    /// The server takes no such command for the moment. Nothing was done.
    #[error("Redis cannot do it now: {0}")]
    NotNow(String),
    /// Another server has to be asked. Nothing was done.
    #[error("another Redis has to be asked: {0}")]
    Elsewhere(String),
    /// The script is not loaded. Nothing was done.
    #[error("the script is not loaded: {0}")]
    NoScript(String),
    /// There is no connection. Nothing was sent.
    #[error("Redis cannot be reached: {0}")]
    Unreachable(String),
    /// The answer is missing. Nobody knows whether it was done.
    #[error("Redis did not answer: {0}")]
    Lost(String),
    /// A person has to see to it. Nothing was done, but for the other commands of
    /// a transaction or script.
    #[error("Redis refused: {0}")]
    Refused(String),
}

impl Fault {
    /// What an error means that came from making a connection or logging in:
    /// nothing was sent yet.
    pub(super) fn connecting(error: &RedisError) -> Self {
        match Self::said(error) {
            Some(fault) => fault,
            None if is_tls(error) => Self::Refused(error.to_string()),
            None if error.kind() == ErrorKind::InvalidClientConfig => {
                Self::Refused(error.to_string())
            }
            None => Self::Unreachable(error.to_string()),
        }
    }

    /// What an error means that came after commands were sent.
    pub(super) fn sent(error: &RedisError) -> Self {
        Self::said(error).unwrap_or_else(|| Self::Lost(error.to_string()))
    }

    /// What the server said, if it is the server who said it.
    fn said(error: &RedisError) -> Option<Self> {
        let errors = error.clone().into_server_errors()?;
        let (_, first) = errors.first()?;
        Some(Self::of(first))
    }

    /// The table.
    pub(super) fn of(error: &ServerError) -> Self {
        let words = match error.details() {
            Some(details) => format!("{} {details}", error.code()),
            None => error.code().to_owned(),
        };
        let code = inner_code(&words).unwrap_or(error.code());
        match code {
            "OOM" => Self::Full(words),
            "MOVED" | "ASK" | "READONLY" => Self::Elsewhere(words),
            "NOSCRIPT" => Self::NoScript(words),
            "UNBLOCKED" => Self::Lost(words),
            "LOADING" | "BUSY" | "TRYAGAIN" | "CLUSTERDOWN" | "MASTERDOWN" | "NOREPLICAS"
            | "MISCONF" => Self::NotNow(words),
            _ if words.contains("max number of clients") => Self::NotNow(words),
            _ => Self::Refused(words),
        }
    }

    /// Names the server in what is said.
    pub(super) fn at(self, address: &Address) -> Self {
        let with = |words: String| format!("{address}: {words}");
        match self {
            Self::Full(words) => Self::Full(with(words)),
            Self::NotNow(words) => Self::NotNow(with(words)),
            Self::Elsewhere(words) => Self::Elsewhere(with(words)),
            Self::NoScript(words) => Self::NoScript(with(words)),
            Self::Unreachable(words) => Self::Unreachable(with(words)),
            Self::Lost(words) => Self::Lost(with(words)),
            Self::Refused(words) => Self::Refused(with(words)),
        }
    }

    /// Whether the connection on which it happened is of no more use.
    pub(super) fn spoils_connection(&self) -> bool {
        matches!(self, Self::Lost(_) | Self::Unreachable(_))
    }
}

/// The code of an error that another error carries: within an aborted transaction
/// (`EXECABORT Transaction discarded because of: OOM command not allowed`), or of
/// a script's command in Redis 6.2 (`ERR Error running script (call to f_..):
/// @user_script:1: -OOM command not allowed`).
fn inner_code(words: &str) -> Option<&str> {
    let inner = words
        .strip_prefix("EXECABORT Transaction discarded because of: ")
        .or_else(|| {
            let script = words.strip_prefix("ERR Error running script")?;
            script.rsplit(": ").find(|part| is_code(first_word(part)))
        })?;
    Some(first_word(inner))
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start_matches('-');
    text.split(' ').next().unwrap_or(text)
}

fn is_code(word: &str) -> bool {
    word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether TLS failed: with a certificate that is not trusted, waiting does not help.
/// It is hidden in an I/O error, and that in the crate's.
fn is_tls(error: &RedisError) -> bool {
    let shared = error
        .source()
        .and_then(|source| source.downcast_ref::<Arc<dyn Error + Send + Sync>>());
    let Some(inner) = shared.map(Arc::as_ref) else {
        return false;
    };
    let hidden = inner
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::get_ref);
    inner.is::<rustls::Error>() || hidden.is_some_and(|hidden| hidden.is::<rustls::Error>())
}

/// What the answers of a plain pipeline mean, if not success.
pub(super) fn in_pipeline(answers: &[Value]) -> Option<Fault> {
    let mut errors = answers.iter().filter_map(error_of);
    let first = errors.next()?;
    let fault = Fault::of(first);
    if errors.count() + 1 == answers.len() {
        return Some(fault);
    }
    Some(Fault::Lost(format!("it did only a part of it: {fault}")))
}

/// What the answers of a transaction mean, if not success: to MULTI, to each
/// command, to EXEC.
pub(super) fn in_transaction(answers: &[Value]) -> Option<Fault> {
    let (exec, queued) = answers.split_last()?;
    let refused = queued.iter().find_map(error_of).map(Fault::of);
    match (exec, refused) {
        // It was run; the crate finds an error of one of the commands.
        (Value::Array(_), _) => None,
        (Value::ServerError(abort), refused) if abort.code() == "EXECABORT" => {
            Some(refused.unwrap_or_else(|| Fault::of(abort)))
        }
        // MULTI itself was refused, so that each command stood for itself.
        (Value::ServerError(_), Some(_)) => in_pipeline(queued),
        (Value::ServerError(error), None) => Some(Fault::of(error)),
        (other, _) => Some(Fault::Lost(format!("EXEC was answered with {other:?}"))),
    }
}

fn error_of(answer: &Value) -> Option<&ServerError> {
    match answer {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadpool_redis::redis::parse_redis_value;

    /// Errors that the tests with real servers cannot bring about.
    const REPLIES: [(&str, &str); 9] = [
        // Redis 6.2 wraps what a script's command was answered.
        (
            "ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): @user_script:1: @user_script: 1: -OOM command not allowed when used memory > 'maxmemory'.",
            "Full",
        ),
        (
            "ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): @user_script:1: @user_script: 1: -READONLY You can't write against a read only replica.",
            "Elsewhere",
        ),
        (
            "ERR Error running script (call to f_6b1bf486c81ceb7edf3c093f4c48582e38c0e791): @user_script:1: attempt to index a nil value",
            "Refused",
        ),
        (
            "EXECABORT Transaction discarded because of: OOM command not allowed when used memory > 'maxmemory'.",
            "Full",
        ),
        (
            "EXECABORT Transaction discarded because of previous errors.",
            "Refused",
        ),
        (
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "NotNow",
        ),
        (
            "MISCONF Errors writing to the AOF file: No space left on device",
            "NotNow",
        ),
        ("DENIED Redis is running in protected mode", "Refused"),
        ("NEWCODE that nobody knows", "Refused"),
    ];

    #[test]
    fn replies_that_no_test_server_gives_are_in_the_table_too() {
        for (reply, kind) in REPLIES {
            let fault = format!("{:?}", Fault::of(&error(reply)));
            assert!(fault.starts_with(&format!("{kind}(")), "{reply}: {fault}");
        }
    }

    fn error(reply: &str) -> ServerError {
        let value = parse_redis_value(format!("-{reply}\r\n").as_bytes());
        match value.expect("a reply") {
            Value::ServerError(error) => error,
            other => panic!("no error: {other:?}"),
        }
    }

    fn bad(reply: &str) -> Value {
        Value::ServerError(error(reply))
    }

    #[test]
    fn a_plain_pipeline_that_was_done_in_part_is_lost() {
        let oom = || bad("OOM command not allowed");
        assert_eq!(in_pipeline(&[Value::Okay, Value::Nil]), None);
        let all = in_pipeline(&[oom(), oom()]);
        assert!(matches!(all, Some(Fault::Full(_))), "{all:?}");
        let part = in_pipeline(&[Value::Okay, oom()]);
        assert!(matches!(part, Some(Fault::Lost(_))), "{part:?}");
    }

    #[test]
    fn without_multi_each_command_of_a_transaction_stands_for_itself() {
        let exec = || bad("ERR EXEC without MULTI");
        let multi = || bad("NOPERM this user has no permissions to run the 'multi' command");
        let done = in_transaction(&[multi(), Value::Int(1), exec()]);
        assert!(matches!(done, Some(Fault::Lost(_))), "{done:?}");
        let none = in_transaction(&[multi(), multi(), exec()]);
        assert!(matches!(none, Some(Fault::Refused(_))), "{none:?}");
    }
}
