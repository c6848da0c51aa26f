//! Letters out into a file, and in again.

use bytes::Bytes;

use super::change::bad;
use super::walk::Walk;
use super::{Cursor, Filter, Report, WorkError, Workbench, unknown};
use crate::dead_letter::letter;
use crate::dead_letter::store::{Filed, Handle, Letter, Order};

/// A chunk of letters, as a file has them.
#[derive(Debug, Clone, Default)]
pub struct Export {
    /// The letters, one JSON object a line.
    pub lines: Bytes,
    /// Names them, for [`Workbench::take`].
    pub handles: Vec<Handle>,
    /// How many were looked at.
    pub examined: u64,
    /// Where to go on; `None`: that was all.
    pub next: Option<Cursor>,
}

impl Workbench {
    /// The letters of a chunk, whole.
    pub async fn export(
        &self,
        filter: &Filter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Export, WorkError> {
        let found = self.walk(Walk {
            filter,
            after,
            examine: limit,
            find: usize::MAX,
            order: Order::OldestFirst,
        });
        let found = found.await?;
        Ok(Export {
            lines: letter::write_stored(&found.letters),
            handles: found.letters.iter().map(Letter::handle).collect(),
            examined: found.examined.len() as u64,
            next: found.next,
        })
    }

    /// Brings letters in, as they were exported or with another `event`; all of the
    /// lines or none. A letter that is held gets the event of its line, one that was
    /// settled is held again.
    pub async fn import(&self, lines: &[u8]) -> Result<Report, WorkError> {
        let mut letters = Vec::new();
        let lines = lines.split(|byte| *byte == b'\n').enumerate();
        for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            let read = letter::read_stored(line);
            let read = read.map_err(|error| bad(&format!("line {}: {error}", at + 1)))?;
            letters.push(read);
        }
        let examined = letters.len() as u64;
        let kept = letters.clone();
        let outcomes = self.store.restore(letters).await.map_err(unknown)?;
        let mut report = Report {
            examined,
            matched: examined,
            ..Report::default()
        };
        for (letter, filed) in kept.iter().zip(outcomes) {
            match filed {
                Filed::Kept => report.done += 1,
                Filed::Known | Filed::Buried => report.unchanged += 1,
                Filed::Full => report.failed(
                    letter,
                    "there is no room for it (dead_letters.max_bytes)".into(),
                ),
            }
        }
        Ok(report)
    }
}
