//! Times as people write them.

use std::time::Duration;

use crate::batch::UnixMillis;

/// A time, a day, or how long ago.
pub(super) fn moment(text: &str) -> Result<UnixMillis, String> {
    let ago = |ago: Duration| UnixMillis::now().0.saturating_sub(ago.as_millis() as u64);
    match humantime::parse_duration(text) {
        Ok(duration) => Ok(UnixMillis(ago(duration))),
        Err(_) => text
            .parse()
            .map_err(|error| format!("{error}, or 2h for two hours ago")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_or_counted_back() {
        assert_eq!(moment("1970-01-02"), Ok(UnixMillis(86_400_000)));
        let here = moment("1970-01-02T02:00:00+02:00");
        assert_eq!(here, Ok(UnixMillis(86_400_000)));
        let now = UnixMillis::now().0;
        let ago = moment("2h").expect("read").0;
        let two_hours = 2 * 3600 * 1000;
        assert!((now - two_hours..now - two_hours + 60_000).contains(&ago));
        assert!(moment("yesterday").expect_err("no time").contains("2h"));
    }
}
