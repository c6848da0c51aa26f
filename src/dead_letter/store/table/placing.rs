//! Where a letter belongs: filing and restoring.

use redb::{Error, ReadableTable};

use super::change::{Change, now_micros};
use super::rows::Row;
use crate::dead_letter::store::identity::Identity;
use crate::dead_letter::store::{Fate, Filed, Letter};
use crate::dead_letter::{DeadLetter, letter};

/// What the names that a letter may have lead to.
enum Spot {
    /// The letter is held already, as of this attempt or else a later one.
    Held(Box<Row>),
    /// There is a name for it.
    Open(Box<Opening>),
}

struct Opening {
    name: String,
    /// The earlier attempt that has this name.
    earlier: Option<Row>,
    /// Whether others were refused under the id besides that one.
    shared: bool,
}

impl Change<'_> {
    /// Files a letter.
    pub(super) fn file(&mut self, refused: DeadLetter) -> Result<Filed, Error> {
        let identity = Identity::of(&refused);
        if self.is_buried(identity.mark())? {
            return Ok(Filed::Buried);
        }
        let opening = match self.spot(&identity, self.is_next(&identity)?)? {
            Spot::Held(row) => return self.refused_again(*row, &refused),
            Spot::Open(opening) => *opening,
        };
        let letter = Letter {
            number: 0,
            name: String::new(),
            first_at: refused.at,
            times: 1,
            content: identity.content,
            original: None,
            revision: 0,
            letter: refused,
        };
        self.keep(&identity, letter, opening)
    }

    /// Brings a letter back from a file.
    pub(super) fn restore(&mut self, letter: Letter) -> Result<Filed, Error> {
        let identity = Identity::of_stored(&letter);
        match self.spot(&identity, false)? {
            Spot::Held(row) => {
                let held = &row.letter.letter;
                if held.attempt > identity.attempt || held.event == letter.letter.event {
                    return Ok(Filed::Known);
                }
                self.rewrite(*row, letter.letter.event)?;
                Ok(Filed::Kept)
            }
            Spot::Open(opening) => {
                let filed = self.keep(&identity, letter, *opening)?;
                if filed == Filed::Kept {
                    self.unbury(identity.mark())?;
                }
                Ok(filed)
            }
        }
    }

    /// Exchanges a letter's event.
    pub(super) fn rewrite(&mut self, mut row: Row, event: bytes::Bytes) -> Result<(), Error> {
        let letter = &mut row.letter;
        let before = std::mem::replace(&mut letter.letter.event, event);
        letter.original.get_or_insert(before);
        letter.revision += 1;
        self.replace(row)
    }

    fn refused_again(&mut self, mut row: Row, refused: &DeadLetter) -> Result<Filed, Error> {
        let held = &mut row.letter.letter;
        if held.attempt == refused.attempt && refused.at > held.at {
            held.at = refused.at;
            row.letter.times += 1;
            self.replace(row)?;
        }
        Ok(Filed::Known)
    }

    fn keep(
        &mut self,
        identity: &Identity,
        mut letter: Letter,
        opening: Opening,
    ) -> Result<Filed, Error> {
        let place = letter.letter.source.place();
        letter.name = opening.name;
        letter.number = self.next_number()?;
        let line = letter::write_one(&letter);
        let freed = opening.earlier.as_ref().filter(|row| row.place() == place);
        let held = self.bytes(place) - freed.map_or(0, |row| row.len);
        // One alone may be longer: else it would wait for ever, and all behind it.
        if held > 0 && held + line.len() as u64 > self.options.max_bytes {
            self.full.insert(place);
            return Ok(Filed::Full);
        }
        if let Some(earlier) = opening.earlier {
            self.settle(&earlier, Fate::Returned)?;
        }
        if letter.name != identity.base {
            self.share(identity)?;
        }
        self.add(letter, &line, opening.shared)?;
        Ok(Filed::Kept)
    }

    /// Whether an earlier attempt that is held under this id has to be the same event:
    /// not if one left, for then that is the one that came back.
    fn is_next(&self, identity: &Identity) -> Result<bool, Error> {
        let before = identity.attempt.saturating_sub(1);
        Ok(!self.is_buried(identity.left_mark(before))?)
    }

    /// `is_next`: an earlier attempt under this id makes room for it, whatever its bytes.
    fn spot(&self, identity: &Identity, is_next: bool) -> Result<Spot, Error> {
        let (mut free, mut earlier, mut later) = (None, None, None);
        for name in identity.names() {
            let entry = self.names.get((identity.queue.as_str(), name.as_str()))?;
            let Some((number, shared)) = entry.map(|entry| entry.value()) else {
                free.get_or_insert(name);
                continue;
            };
            let Some(row) = self.rows.get(number)? else {
                free.get_or_insert(name);
                continue;
            };
            let held = Identity::of_stored(&row.letter);
            let same = held.base == identity.base && held.content == identity.content;
            if same && held.attempt == identity.attempt {
                return Ok(Spot::Held(Box::new(row)));
            }
            if same && held.attempt > identity.attempt {
                later = Some(row);
                continue;
            }
            let alone = held.base == identity.base && name == identity.base && !shared;
            let is_its_own = same || (is_next && alone && held.attempt < identity.attempt);
            // The repair since it was sent is not in what came back.
            if is_its_own && row.letter.revision == 0 {
                earlier.get_or_insert((row, shared));
            }
        }
        if let Some(later) = later {
            return Ok(Spot::Held(Box::new(later)));
        }
        let name = match (&earlier, free) {
            (Some((row, _)), _) => row.letter.name.clone(),
            (None, Some(name)) => name,
            // All four are taken by ids made to look like these names.
            (None, None) => format!("{}~{}", identity.base, now_micros()),
        };
        let (earlier, shared) = earlier.unzip();
        Ok(Spot::Open(Box::new(Opening {
            name,
            earlier,
            shared: shared.unwrap_or(false),
        })))
    }

    /// Remembers that the letter held under this id does not have it for itself.
    fn share(&mut self, identity: &Identity) -> Result<(), Error> {
        let name = (identity.queue.as_str(), identity.base.as_str());
        let entry = self.names.get(name)?.map(|entry| entry.value());
        if let Some((number, false)) = entry {
            self.names.insert(name, (number, true))?;
        }
        Ok(())
    }
}
