//! The client's deadline: header `grpc-timeout`, at most eight digits and a unit
//! (gRPC over HTTP/2, "Timeout").

use std::time::Duration;

use tonic::metadata::MetadataMap;

/// At most `most`, and short of the client's deadline: a fifth of its time is
/// left for the append and the answer.
pub(super) fn patience(metadata: &MetadataMap, most: Duration) -> Duration {
    let timeout = metadata.get("grpc-timeout").and_then(|t| t.to_str().ok());
    match timeout.and_then(parse) {
        Some(timeout) => most.min(timeout / 5 * 4),
        None => most,
    }
}

fn parse(timeout: &str) -> Option<Duration> {
    let (digits, unit) = timeout.split_at_checked(timeout.len().checked_sub(1)?)?;
    if digits.len() > 8 {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(timeout: &str) -> Duration {
        let mut metadata = MetadataMap::new();
        metadata.insert("grpc-timeout", timeout.parse().expect("ascii"));
        patience(&metadata, Duration::from_secs(5))
    }

    #[test]
    fn a_call_waits_no_longer_than_its_client_does() {
        assert_eq!(with("1S"), Duration::from_millis(800));
        assert_eq!(with("100m"), Duration::from_millis(80));
        assert_eq!(with("99999999H"), Duration::from_secs(5));
        assert_eq!(
            patience(&MetadataMap::new(), Duration::from_secs(5)),
            Duration::from_secs(5)
        );
    }

    #[test]
    fn a_deadline_that_is_none_is_passed_over() {
        for nonsense in ["", "S", "5", "-1S", "123456789S", "1é", "1x"] {
            assert_eq!(parse(nonsense), None, "{nonsense:?}");
        }
    }
}
