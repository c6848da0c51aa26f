//! Filing: brings letters from the inbox into the store.
//!
//! One task a place, so that a full budget or a flood of one does not hold up the
//! others. A record leaves the inbox when all its letters are in the store. Filing
//! twice changes nothing, so after a crash, or an answer that was lost, it is done
//! again. While the store cannot be used, or a budget is full, letters wait in the
//! inbox, which is durable and bounded.
//!
//! Nothing that cannot be read holds up what follows it. A record whose bytes rotted is
//! set aside by the journal. A line of a good record that makes no sense to this release
//! (one of a later release was here before) is set aside here, and the others of its
//! record are filed. Both count as quarantined.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::inbox::DeadLetters;
use super::store::{Aged, Filed, Store, StoreError};
use super::{DeadLetter, Place, letter};
use crate::log::Complaints;
use crate::spool::{Lease, LeaseError};

/// Most letters in one change of the store, and most bytes, unless one is longer.
const LETTERS: usize = 1000;
const BYTES: usize = 4 << 20;
/// How long is waited before the store is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// How often is looked for what is past its retention.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);
/// Most letters that go at a time.
const EXPIRE_AT_ONCE: usize = 1000;
const HOUR_MS: u64 = 3_600_000;

/// Files letters, and takes out those that are past their retention, until `closing`.
pub async fn run(letters: DeadLetters, store: Store, closing: CancellationToken) {
    let places = Place::ALL.map(|place| Filing {
        place,
        letters: letters.clone(),
        store: store.clone(),
        complaints: Complaints::default(),
    });
    let filing = async {
        let [door, forwarder, logstash] = places.map(|filing| Box::pin(filing.run()));
        tokio::join!(door, forwarder, logstash, expire(&store));
    };
    closing.run_until_cancelled(filing).await;
}

struct Filing {
    place: Place,
    letters: DeadLetters,
    store: Store,
    complaints: Complaints,
}

impl Filing {
    async fn run(mut self) {
        loop {
            match self.letters.lease(self.place).await {
                Ok(lease) => {
                    if let Err(error) = self.file_record(lease).await {
                        self.stop_for(error).await;
                    }
                }
                Err(LeaseError::Closed) => return,
                Err(error) => self.stop_for(error.to_string()).await,
            }
        }
    }

    /// After an error the record is where it was.
    async fn file_record(&mut self, lease: Lease) -> Result<(), String> {
        let (mut letters, unreadable) = match lease.payload().await {
            Ok(payload) => read(&payload),
            // The journal tells of it. Given back, it is out of the way.
            Err(LeaseError::Damaged) => return Ok(()),
            Err(error) => return Err(error.to_string()),
        };
        let count = letters.len();
        while !letters.is_empty() {
            let filed = file_some(&self.store, &mut letters).await;
            let done = count - letters.len();
            self.letters.set_progress(self.place, done as u64);
            match filed {
                Ok(true) => {}
                Ok(false) => {
                    self.wait(
                        "the store has no room for more of this place (dead_letters.max_bytes)",
                    )
                    .await;
                }
                Err(error) => self.wait(&error.to_string()).await,
            }
        }
        self.letters.set_progress(self.place, 0);
        self.settle(lease, unreadable).await?;
        self.letters.set_trouble(self.place, None);
        if self.complaints.recovered().is_some() {
            tracing::info!(place = self.place.as_str(), "dead letters are filed again");
        }
        Ok(())
    }

    async fn settle(&self, lease: Lease, unreadable: Unreadable) -> Result<(), String> {
        let Unreadable {
            letters,
            lines,
            why,
        } = unreadable;
        if letters == 0 {
            let settled = lease.ack(0).await;
            return settled.map_err(|error| format!("what is filed stays there: {error}"));
        }
        let settled = lease.ack_without(letters, lines.into()).await;
        settled.map_err(|error| format!("what cannot be read cannot be set aside: {error}"))?;
        tracing::error!(
            place = self.place.as_str(),
            letters,
            why,
            "dead letters cannot be read; their lines are in the quarantine folder of the inbox"
        );
        Ok(())
    }

    /// Waits for the inbox to be well again.
    async fn stop_for(&mut self, why: String) {
        self.letters.set_trouble(self.place, Some(why.clone()));
        self.wait(&why).await;
    }

    async fn wait(&mut self, why: &str) {
        if let Some(failures) = self.complaints.failed(Instant::now()) {
            let place = self.place.as_str();
            tracing::error!(
                place,
                failures,
                "dead letters wait in the inbox and cannot be listed yet: {why}"
            );
        }
        sleep(PAUSE).await;
    }
}

/// Lines of a record that are no letters.
#[derive(Debug, Default)]
struct Unreadable {
    /// How many.
    letters: u32,
    lines: Vec<u8>,
    /// What is wrong with the last of them.
    why: String,
}

fn read(payload: &[u8]) -> (Vec<DeadLetter>, Unreadable) {
    let (mut letters, mut unreadable) = (Vec::new(), Unreadable::default());
    for line in payload.split_inclusive(|byte| *byte == b'\n') {
        match letter::read_line(line) {
            Ok(letter) => letters.push(letter),
            Err(error) => {
                unreadable.letters += 1;
                unreadable.lines.extend_from_slice(line);
                unreadable.why = error.to_string();
            }
        }
    }
    (letters, unreadable)
}

/// Files the first of `letters`, and takes out those that need no more room; whether
/// all that were tried are done with.
async fn file_some(store: &Store, letters: &mut Vec<DeadLetter>) -> Result<bool, StoreError> {
    let count = next(letters);
    let filed = store.file(letters[..count].to_vec()).await?;
    let mut outcomes = filed.into_iter();
    let mut rest = std::mem::take(letters).into_iter();
    let tried = rest.by_ref().take(count);
    let full = tried.filter(|_| outcomes.next() == Some(Filed::Full));
    let full: Vec<_> = full.collect();
    let all = full.is_empty();
    letters.extend(full);
    letters.extend(rest);
    Ok(all)
}

/// How many letters make the next change.
fn next(letters: &[DeadLetter]) -> usize {
    let mut bytes = 0;
    let fits = |letter: &&DeadLetter| {
        bytes += letter.event.len();
        bytes <= BYTES
    };
    let count = letters.iter().take(LETTERS).take_while(fits).count();
    count.max(1)
}

/// Takes out what is past its retention, for ever.
async fn expire(store: &Store) {
    let mut ageing = Ageing::default();
    let mut tick = tokio::time::interval(EXPIRE_EVERY);
    loop {
        tick.tick().await;
        while ageing.saw(store.expire(EXPIRE_AT_ONCE).await) {}
    }
}

/// What is said about it in the log.
#[derive(Default)]
struct Ageing {
    failures: Complaints,
    kept: Complaints,
    ahead: Complaints,
}

impl Ageing {
    /// Says what has to be said; whether there is more to go.
    fn saw(&mut self, looked: Result<Aged, StoreError>) -> bool {
        let aged = match looked {
            Ok(aged) => aged,
            Err(error) => {
                if let Some(failures) = self.failures.failed(Instant::now()) {
                    tracing::error!(failures, "old dead letters stay: {error}");
                }
                return false;
            }
        };
        self.failures.recovered();
        if aged.gone > 0 {
            let events = aged.gone;
            tracing::error!(
                events,
                "dead letters were past dead_letters.retention and are gone"
            );
        }
        self.clock(&aged);
        aged.more
    }

    /// Warns of a clock that may be wrong.
    fn clock(&mut self, aged: &Aged) {
        match aged.kept {
            None => drop(self.kept.recovered()),
            Some(kept) if self.kept.failed(Instant::now()).is_some() => tracing::error!(
                events = kept.letters,
                "the clock moved on by more than a day at once, or no gateway ran so long: dead \
                 letters are past dead_letters.retention by it, and go at {}; mend the clock, or \
                 return or export them before",
                kept.until
            ),
            Some(_) => {}
        }
        if !aged.is_ahead() {
            self.ahead.recovered();
        } else if self.ahead.failed(Instant::now()).is_some() {
            tracing::error!(
                "the last dead letters were filed {} hours in the future: the clock was wrong \
                 then, or is now; they and those to come stay so much longer",
                aged.ahead_ms / HOUR_MS
            );
        }
    }
}
