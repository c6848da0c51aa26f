//! The day of an archive, and the names that its lists have.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::batch::UnixMillis;

const MILLIS: u64 = 86_400_000;
/// The last day that has a name of this form: 9999/12/30.
const LAST: u64 = 2_932_895;

/// A day in UTC, counted from 1970-01-01. Written as in a key: `2026/11/05`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::spool::redis) struct Day(u64);

impl Day {
    pub(in crate::spool::redis) fn of(at: UnixMillis) -> Self {
        Self((at.0 / MILLIS).min(LAST))
    }

    /// The days of which a part is in `range`, from the first one on; none if it is
    /// empty.
    pub(super) fn all(range: &RangeInclusive<UnixMillis>) -> impl Iterator<Item = Self> + use<> {
        let days = Self::of(*range.start()).0..=Self::of(*range.end()).0;
        days.map(Self)
    }

    /// Its first moment.
    pub(super) fn start(self) -> UnixMillis {
        UnixMillis(self.0 * MILLIS)
    }

    /// When its list expires, in seconds since 1970: `retention` after it is over.
    pub(in crate::spool::redis) fn expires(self, retention: Duration) -> u64 {
        let over = (self.0 + 1) * MILLIS / 1000;
        // No later than what Redis takes for a time in milliseconds.
        over.saturating_add(retention.as_secs())
            .min(i64::MAX as u64 / 2000)
    }

    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '/');
        let year = parts.next()?.parse().ok()?;
        let month = parts.next()?.parse().ok()?;
        let day = parts.next()?.parse().ok()?;
        let date = Date::new(year, month, day).ok()?;
        let start = date.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let millis = u64::try_from(start.as_millisecond()).ok()?;
        Some(Self::of(UnixMillis(millis)))
    }

    /// The lists of this day: ours, then the agent's, whose months and days have no
    /// leading zero, each with and without the braces of a hash tag.
    pub(super) fn keys(self, list: &str) -> Vec<String> {
        let date = self.date();
        let unpadded = format!("{}/{}/{}", date.year(), date.month(), date.day());
        let mut keys = vec![
            format!("{{{list}}}-{self}"),
            format!("{{{list}}}-{unpadded}"),
            format!("{list}-{self}"),
            format!("{list}-{unpadded}"),
        ];
        let mut seen = std::collections::BTreeSet::new();
        keys.retain(|key| seen.insert(key.clone()));
        keys
    }

    fn date(self) -> Date {
        let start = Timestamp::from_millisecond((self.0 * MILLIS) as i64);
        let start = start.unwrap_or(Timestamp::UNIX_EPOCH);
        start.to_zoned(TimeZone::UTC).date()
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let date = self.date();
        write!(
            f,
            "{:04}/{:02}/{:02}",
            date.year(),
            date.month(),
            date.day()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> Day {
        Day::read(text).expect("a day")
    }

    #[test]
    fn a_day_is_written_with_leading_zeros_and_read_again() {
        let moment = UnixMillis(1_767_657_599_999);
        assert_eq!(moment.to_string(), "2026-01-05T23:59:59.999Z");
        assert_eq!(Day::of(moment).to_string(), "2026/01/05");
        assert_eq!(Day::of(UnixMillis(moment.0 + 1)).to_string(), "2026/01/06");
        for text in ["1970/01/01", "2024/02/29", "2026/12/31"] {
            assert_eq!(day(text).to_string(), text);
        }
        for text in ["", "2026", "2026/02/30", "2026/1/x", "1969/12/31"] {
            assert_eq!(Day::read(text), None, "{text}");
        }
    }

    #[test]
    fn no_moment_is_too_late_for_a_day() {
        assert_eq!(Day::of(UnixMillis(u64::MAX)).to_string(), "9999/12/30");
    }

    #[test]
    fn a_list_expires_when_the_retention_is_over_for_its_last_moment() {
        let week = Duration::from_secs(7 * 86_400);
        let expires = day("2026/11/21").expires(week);
        assert_eq!(expires * 1000, day("2026/11/29").start().0);
        let never = day("2026/11/21").expires(Duration::MAX);
        assert!(
            never
                .checked_mul(1000)
                .is_some_and(|ms| ms < i64::MAX as u64)
        );
    }

    #[test]
    fn a_day_has_the_agents_names_too() {
        assert_eq!(
            day("2026/01/05").keys("web"),
            [
                "{web}-2026/01/05",
                "{web}-2026/1/5",
                "web-2026/01/05",
                "web-2026/1/5"
            ]
        );
        assert_eq!(day("2026/11/21").keys("web").len(), 2);
    }

    #[test]
    fn a_range_has_every_day_that_it_touches() {
        let from = UnixMillis(day("2026/02/27").start().0 + 5);
        let days: Vec<_> = Day::all(&(from..=day("2026/03/01").start())).collect();
        let days: Vec<_> = days.iter().map(Day::to_string).collect();
        assert_eq!(days, ["2026/02/27", "2026/02/28", "2026/03/01"]);
        assert_eq!(Day::all(&(from..=UnixMillis(0))).count(), 0);
    }
}
