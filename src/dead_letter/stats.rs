//! What is held, as status and metrics show it.

use serde::{Deserialize, Serialize};

use super::DeadLetters;
use super::store::{Books, Store, Summary};
use crate::spool::QueueStats;

/// What is held, as of now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterStats {
    /// Letters held, by any source.
    pub held: u64,
    /// Their length as stored, in bytes.
    pub bytes: u64,
    /// Of those held, letters that are durable but not sorted into the store yet.
    pub unfiled: u64,
    /// Letters that will be past their retention within three days.
    pub expiring: u64,
    /// Whether the budget of a place is used up.
    pub full: bool,
    /// Why nothing more is taken until a restart.
    pub poisoned: Option<String>,
    /// Why the store cannot be used now, if it cannot.
    pub trouble: Option<String>,
    /// The same for each place, with its books.
    pub places: Vec<PlaceStats>,
}

/// What a place holds. Letters, since it was made: received = held + returned + sent
/// elsewhere + discarded + expired + quarantined + unaccounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlaceStats {
    /// `door` (the receivers), `forwarder` or `logstash`.
    pub place: String,
    /// Letters that were stored; one that came twice counts once, when it is filed.
    pub received: u64,
    /// Letters held.
    pub held: u64,
    /// Put into their queue again.
    pub returned: u64,
    /// Put into another queue, or taken out into a file.
    pub sent_elsewhere: u64,
    /// Thrown away by a person.
    pub discarded: u64,
    /// Thrown away because they were past their retention.
    pub expired: u64,
    /// Letters in records found damaged and set aside.
    pub quarantined: u64,
    /// What the books leave over; 0, or letters were lost or made.
    pub unaccounted: i64,
    /// Length of the letters held, in bytes.
    pub bytes: u64,
    /// Whether its budget is used up.
    pub full: bool,
    /// Why it takes nothing more until a restart.
    pub poisoned: Option<String>,
}

impl DeadLetterStats {
    /// What inbox and store hold now.
    pub fn of(letters: &DeadLetters, store: Option<&Store>) -> Self {
        let summary = store.map(Store::summary).unwrap_or_default();
        let waiting = letters.waiting();
        let unfiled = waiting.iter().map(|(_, stats)| unfiled(stats)).sum();
        let places = waiting.into_iter().map(|(place, stats)| {
            let held = summary.places.get(&place).cloned().unwrap_or_default();
            PlaceStats::of(place.as_str(), stats, &held)
        });
        let places: Vec<_> = places.collect();
        let Summary {
            trouble, expiring, ..
        } = summary;
        Self {
            held: places.iter().map(|place| place.held).sum(),
            bytes: places.iter().map(|place| place.bytes).sum(),
            unfiled,
            expiring,
            full: places.iter().any(|place| place.full),
            poisoned: places.iter().find_map(|place| place.poisoned.clone()),
            trouble,
            places,
        }
    }
}

impl PlaceStats {
    fn of(place: &str, inbox: QueueStats, filed: &Books) -> Self {
        let quarantined = inbox.ledger.quarantined;
        Self {
            place: place.to_owned(),
            received: filed.received + unfiled(&inbox) + quarantined,
            held: filed.held + unfiled(&inbox),
            returned: filed.returned,
            sent_elsewhere: filed.sent_elsewhere,
            discarded: filed.discarded,
            expired: filed.expired,
            quarantined,
            unaccounted: inbox.unaccounted_events() + filed.unaccounted(),
            bytes: inbox.waiting_bytes + filed.bytes,
            full: inbox.full.is_some(),
            poisoned: inbox.poisoned,
        }
    }
}

fn unfiled(inbox: &QueueStats) -> u64 {
    inbox.waiting_events + inbox.leased_events
}
