//! Counts what a replay will have to do, before it does anything.

use super::Ended;
use super::filter::Filter;
use super::job::{Counted, Job};
use crate::batch::UnixMillis;
use crate::record::Header;
use crate::spool::{ArchiveMark, Spool};

/// Most bytes of events that the expression is asked about at a time.
const ASKED_BYTES: usize = 512 << 10;

/// Reads all that `job` asks for, and gives `told` what was counted so far now and then;
/// in the end where the archive began and how far it reached, so that what is sent is what
/// was counted.
pub(super) async fn count(
    spool: &Spool,
    job: &Job,
    filter: Option<&Filter>,
    mut told: impl FnMut(&Counted),
) -> Result<(Counted, ArchiveMark), Ended> {
    let wanted = &job.wanted;
    let range = super::range(wanted);
    let mut archive = spool.archive(&wanted.queue, range).await?;
    let mark = archive.mark();
    let mut counted = Counted::default();
    let mut asked = Vec::new();
    let mut bytes = 0;
    while let Some((header, block)) = archive.next().await? {
        counted.add(&header);
        bytes += block.len();
        if filter.is_some() {
            asked.push((header, block));
        }
        if bytes >= ASKED_BYTES {
            counted.ask(filter, &mut asked).await?;
            told(&counted);
            bytes = 0;
        }
    }
    counted.ask(filter, &mut asked).await?;
    counted.unreadable = archive.missing();
    Ok((counted, mark))
}

impl Counted {
    fn add(&mut self, header: &Header) {
        let (events, bytes) = (u64::from(header.events), u64::from(header.payload_len));
        let at = header.accepted_at;
        let day = self.days.entry(day(at)).or_default();
        for (batches, all, length) in [
            (&mut self.batches, &mut self.events, &mut self.bytes),
            (&mut day.batches, &mut day.events, &mut day.bytes),
        ] {
            *batches += 1;
            *all += events;
            *length += bytes;
        }
        self.foreign_events += if header.foreign { events } else { 0 };
        self.oldest = Some(self.oldest.map_or(at, |oldest| oldest.min(at)));
        self.newest = self.newest.max(Some(at));
    }

    async fn ask(
        &mut self,
        filter: Option<&Filter>,
        asked: &mut Vec<super::Record>,
    ) -> Result<(), Ended> {
        let Some(filter) = filter else {
            self.matching_events = self.events;
            return Ok(());
        };
        for picked in filter.pick(std::mem::take(asked)).await? {
            let batch = picked.batch.map_or(0, |batch| u64::from(batch.events));
            self.matching_events += batch;
            self.failed_events += picked.failed;
        }
        Ok(())
    }
}

/// The day in UTC: `2026-11-20`.
fn day(at: UnixMillis) -> String {
    let mut text = at.to_string();
    text.truncate("2026-11-20".len());
    text
}
