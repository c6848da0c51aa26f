//! How many events a replay goes through in a second, of late: for the time that is left.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// What counts as of late.
const WINDOW: Duration = Duration::from_secs(10);
/// How far marks are apart.
const STEP: Duration = Duration::from_secs(1);
/// The speed is told once it is known for so long.
const MEASURED: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Speed {
    /// By this time, so many events; the first is where the window begins.
    marks: VecDeque<(Instant, u64)>,
    until: Instant,
    events: u64,
}

impl Speed {
    /// Measured from `now` on.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            marks: VecDeque::from([(now, 0)]),
            until: now,
            events: 0,
        }
    }

    /// Has gone through `events` more, which are all there is until `until`.
    pub(super) fn went(&mut self, events: u64, until: Instant) {
        self.events += events;
        self.until = until;
        let is_due = |(last, _): &(Instant, u64)| *last + STEP <= until;
        if self.marks.back().is_none_or(is_due) {
            self.marks.push_back((until, self.events));
        }
        while self.marks.len() > 2 && self.marks[1].0 + WINDOW <= until {
            self.marks.pop_front();
        }
    }

    /// Events a second, once that can be told.
    pub(super) fn per_second(&self) -> Option<f64> {
        let (since, before) = *self.marks.front()?;
        let took = self.until.saturating_duration_since(since);
        let events = (self.events - before) as f64;
        (took >= MEASURED).then(|| events / took.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn speed(of: &Speed) -> f64 {
        of.per_second().expect("known").round()
    }

    #[test]
    fn the_speed_is_that_of_the_last_seconds() {
        let begun = Instant::now();
        let mut of = Speed::new(begun);
        of.went(100, begun + Duration::from_millis(100));
        assert_eq!(of.per_second(), None, "nobody can tell yet");
        for second in 1..=60 {
            of.went(1_000, begun + Duration::from_secs(second));
        }
        for second in 61..=75 {
            of.went(50, begun + Duration::from_secs(second));
        }
        assert_eq!(speed(&of), 50.0);
    }

    #[test]
    fn a_batch_lasts_as_long_as_the_rate_has_it() {
        let begun = Instant::now();
        let mut of = Speed::new(begun);
        // A batch of 50 events, one event a second.
        for batch in 1..=5 {
            of.went(50, begun + Duration::from_secs(50 * batch));
            assert_eq!(speed(&of), 1.0);
        }
    }
}
