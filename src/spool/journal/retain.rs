//! Retention: a segment goes when every record in it is settled and it is past
//! its time, or its room is needed. The oldest goes first and alone, so that
//! what is stored has no holes. Unsettled records are never deleted. For want of
//! disk one goes at a time, and the disk is looked at before the next, so that no
//! more of the archive is lost than needs be.

use std::time::Duration;

use super::layout::segment_path;
use super::remover::Turn;
use super::writer::Writer;
use crate::batch::UnixMillis;

/// The segment that is written goes only when nothing came for so long.
const IDLE: Duration = Duration::from_secs(10);

impl Writer {
    /// Removes segments, oldest first, as long as one may go. With a `turn` that
    /// was got before the last look at the disk, one may go for want of disk.
    pub(super) fn retain(&mut self, turn: Option<Turn>) {
        let mut for_disk = turn.is_some();
        while let Some((first, end)) = self.removable(for_disk) {
            // The cursor file first: if it still asked for the segment after a
            // crash, its records would be taken for lost.
            if self.cursor_file.lowest() < end {
                self.write_cursor();
            }
            if self.cursor_file.lowest() < end {
                break;
            }
            self.remove(first);
            for_disk = false;
        }
        if let Some(turn) = turn {
            self.remover.give_back(turn);
        }
        if let Some((oldest, _)) = self.queue.look(|state| state.segments().oldest()) {
            // The statistics say since when records are stored.
            self.queue.stored_since(oldest);
        }
    }

    /// The oldest segment, and the sequence after its last, if it may go.
    fn removable(&mut self, for_disk: bool) -> Option<(u64, u64)> {
        let (oldest, end, lowest) = self.queue.look(|state| {
            let (first, _) = state.segments().oldest()?;
            let next = state.segments().after(first);
            let end = next.map_or(state.tail().sequence, |(next, _)| next);
            Some((first, end, state.lowest_unsettled()))
        })?;
        let is_empty = oldest == end;
        if lowest < end || is_empty {
            return None;
        }
        let room = &self.queue.room;
        let for_disk = for_disk && room.is_disk_full();
        let newest = self.newest_in(oldest);
        let go = if self.log.active() == Some(oldest) {
            let idle = is_past(newest, self.retention.max(IDLE));
            idle || for_disk
        } else {
            let past = is_past(newest, self.retention);
            past || for_disk || room.is_overstocked(self.queue.index)
        };
        go.then_some((oldest, end))
    }

    fn remove(&mut self, first: u64) {
        if self.log.active() == Some(first) {
            self.log.forget_segment();
        }
        self.queue.change(|state| state.remove_segment(first));
        self.remover.remove(segment_path(&self.queue.dir, first));
    }

    /// When the newest record in a segment arrived, or one shortly after it.
    fn newest_in(&self, first: u64) -> UnixMillis {
        let mut at = first;
        while let Some(next) = self.queue.look(|state| state.segments().after(at)) {
            at = next.0;
            if let Some(since) = self.queue.stored_since(at) {
                return since;
            }
        }
        self.queue.look(|state| state.last_accepted())
    }
}

fn is_past(moment: UnixMillis, age: Duration) -> bool {
    let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
    moment.0.saturating_add(age) <= UnixMillis::now().0
}
