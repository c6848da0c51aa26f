//! What is held, as status and metrics show it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::store::{Books, Store, Summary};
use super::{DeadLetters, Place};
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
    /// Of those that are sorted in, letters for each reason.
    pub reasons: BTreeMap<String, u64>,
    /// Whether the budget of a place is used up.
    pub full: bool,
    /// Why nothing more is taken until a restart.
    pub poisoned: Option<String>,
    /// Why the store cannot be used now, or the inbox not be read, if so.
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
    /// Letters that were set aside in the inbox's quarantine: in records found damaged, or
    /// in lines that make no sense to this release.
    pub quarantined: u64,
    /// What the books leave over; 0, or letters were lost or made.
    pub unaccounted: i64,
    /// Length of the letters held, in bytes.
    pub bytes: u64,
    /// Whether its budget is used up: the store's, so that letters wait in the inbox, or
    /// the inbox's, so that no more are kept.
    pub full: bool,
    /// Why it takes nothing more until a restart.
    pub poisoned: Option<String>,
}

impl DeadLetterStats {
    /// What inbox and store hold now.
    pub fn of(letters: &DeadLetters, store: Option<&Store>) -> Self {
        let summary = store.map(Store::summary).unwrap_or_default();
        let waiting = letters.waiting().into_iter();
        let waiting: Vec<_> = waiting
            .map(|(place, stats)| {
                let unfiled = stats.waiting_events + stats.leased_events;
                (
                    place,
                    unfiled.saturating_sub(letters.progress(place)),
                    stats,
                )
            })
            .collect();
        let unfiled = waiting.iter().map(|(_, unfiled, _)| unfiled).sum();
        let places = waiting
            .into_iter()
            .map(|(place, unfiled, stats)| PlaceStats::of(place, stats, unfiled, &summary));
        let places: Vec<_> = places.collect();
        let reasons = summary.reasons.iter();
        let reasons = reasons.map(|(reason, events)| (reason.as_str().to_owned(), *events));
        let reasons = reasons.collect();
        let Summary {
            trouble, expiring, ..
        } = summary;
        Self {
            held: places.iter().map(|place| place.held).sum(),
            bytes: places.iter().map(|place| place.bytes).sum(),
            unfiled,
            expiring,
            reasons,
            full: places.iter().any(|place| place.full),
            poisoned: places.iter().find_map(|place| place.poisoned.clone()),
            trouble: trouble.or_else(|| letters.trouble()),
            places,
        }
    }
}

impl PlaceStats {
    fn of(place: Place, inbox: QueueStats, unfiled: u64, store: &Summary) -> Self {
        let quarantined = inbox.ledger.quarantined;
        let filed: Books = store.places.get(&place).copied().unwrap_or_default();
        Self {
            place: place.as_str().to_owned(),
            received: filed.received + unfiled + quarantined,
            held: filed.held + unfiled,
            returned: filed.returned,
            sent_elsewhere: filed.sent_elsewhere,
            discarded: filed.discarded,
            expired: filed.expired,
            quarantined,
            unaccounted: inbox.unaccounted_events() + filed.unaccounted(),
            bytes: inbox.waiting_bytes + filed.bytes,
            full: inbox.full.is_some() || store.full.contains(&place),
            poisoned: inbox.poisoned,
        }
    }
}
