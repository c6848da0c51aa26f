//! The books at the end of a demo.

use std::fmt;
use std::time::Duration;

use super::stand_in::Received;
use crate::cli::output::thousands;

/// What became of the events.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) sent: u64,
    pub(super) accepted: u64,
    pub(super) confirmed: u64,
    pub(super) unaccounted: i64,
    pub(super) received: Received,
    pub(super) took: Duration,
}

impl Report {
    /// Whether every event arrived and the books are right.
    pub(super) fn is_complete(&self) -> bool {
        self.accepted == self.sent
            && self.confirmed == self.accepted
            && self.unaccounted == 0
            && self.received.distinct == self.sent
            && self.received.renamed == 0
            && self.received.strange == 0
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let equal = if self.accepted == self.confirmed {
            "="
        } else {
            "is not"
        };
        writeln!(
            f,
            "\naccepted = confirmed: {} {equal} {}",
            self.accepted, self.confirmed
        )?;
        writeln!(f, "unaccounted: {}", self.unaccounted)?;
        self.tell_received(f)?;
        let seconds = self.took.as_secs_f64();
        let per_second = thousands((self.sent as f64 / seconds) as u64);
        writeln!(
            f,
            "took {seconds:.1} s, {per_second} events/s in all, with the upgrade in it"
        )
    }
}

impl Report {
    fn tell_received(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Received {
            distinct,
            duplicates,
            renamed,
            strange,
        } = self.received;
        writeln!(
            f,
            "arrived: {distinct} different events, {} missing",
            self.sent.saturating_sub(distinct)
        )?;
        writeln!(
            f,
            "arrived twice: {duplicates}, each under the same _id, so that Elasticsearch keeps one"
        )?;
        if renamed > 0 {
            writeln!(f, "arrived twice under another _id: {renamed}")?;
        }
        if strange > 0 {
            writeln!(f, "arrived and were never sent: {strange}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report {
            sent: 10,
            accepted: 10,
            confirmed: 10,
            unaccounted: 0,
            received: Received {
                distinct: 10,
                duplicates: 2,
                renamed: 0,
                strange: 0,
            },
            took: Duration::from_secs(2),
        }
    }

    #[test]
    fn the_books_are_told_in_words() {
        let text = report().to_string();
        assert!(
            text.contains("accepted = confirmed: 10 = 10\nunaccounted: 0\n"),
            "{text}"
        );
    }

    #[test]
    fn whatever_is_wrong_is_not_complete() {
        assert!(report().is_complete());
        let wrong: [fn(&mut Report); 6] = [
            |r| r.accepted = 9,
            |r| r.confirmed = 9,
            |r| r.unaccounted = 1,
            |r| r.received.distinct = 9,
            |r| r.received.renamed = 1,
            |r| r.received.strange = 1,
        ];
        for change in wrong {
            let mut report = report();
            change(&mut report);
            assert!(!report.is_complete(), "{report}");
        }
    }
}
