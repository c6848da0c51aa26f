//! Bad lines in a row: a client that speaks another protocol is told so by the
//! end of its connection, not by a million dead letters.

use crate::receiver::intake::Taken;

/// Counts bad lines over the batches of a connection.
#[derive(Debug, Default)]
pub(super) struct Streak {
    bad: usize,
}

impl Streak {
    /// Counts a batch; gives the longest row of bad lines that was in it, or
    /// reached into it.
    pub(super) fn count(&mut self, taken: &Taken) -> usize {
        let lines = taken.accepted as usize + taken.rejects.len();
        let mut longest = 0;
        let mut next = 0;
        for reject in &taken.rejects {
            let line = reject.index as usize;
            if line != next {
                self.bad = 0;
            }
            self.bad += 1;
            longest = longest.max(self.bad);
            next = line + 1;
        }
        if next != lines {
            self.bad = 0;
        }
        longest
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::batch::BatchId;
    use crate::event::{Reject, RejectReason};

    fn taken(lines: u32, bad: &[u32]) -> Taken {
        let rejects = bad.iter().map(|&index| Reject {
            index,
            reason: RejectReason::InvalidJson,
            detail: String::new(),
            event: Bytes::new(),
        });
        Taken {
            id: BatchId::generate(),
            accepted: lines - bad.len() as u32,
            rejects: rejects.collect(),
            kept: true,
        }
    }

    #[test]
    fn a_good_line_ends_the_row() {
        let mut streak = Streak::default();
        assert_eq!(streak.count(&taken(5, &[0, 1, 3])), 2);
        assert_eq!(streak.count(&taken(1, &[0])), 1);
    }

    #[test]
    fn a_row_goes_on_into_the_next_batch() {
        let mut streak = Streak::default();
        assert_eq!(streak.count(&taken(4, &[2, 3])), 2);
        assert_eq!(streak.count(&taken(2, &[0, 1])), 4);
        assert_eq!(streak.count(&taken(3, &[0])), 5);
        assert_eq!(streak.count(&taken(2, &[0, 1])), 2);
    }

    #[test]
    fn a_batch_that_is_good_throughout_ends_the_row() {
        let mut streak = Streak::default();
        assert_eq!(streak.count(&taken(2, &[0, 1])), 2);
        assert_eq!(streak.count(&taken(2, &[])), 0);
        assert_eq!(streak.count(&taken(1, &[0])), 1);
    }
}
