//! Filing: brings letters from the inbox into the store.
//!
//! One task a place, so that a full budget or a flood of one does not hold up the
//! others. A record leaves the inbox when all its letters are in the store. Filing
//! twice changes nothing, so after a crash, or an answer that was lost, it is done
//! again. While the store cannot be used, or a budget is full, letters wait in the
//! inbox, which is durable and bounded.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::inbox::DeadLetters;
use super::store::{Filed, Store, StoreError};
use super::{DeadLetter, Place, letter};
use crate::batch::UnixMillis;
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
                Ok(lease) => self.file_record(lease).await,
                Err(LeaseError::Closed) => return,
                Err(error) => self.wait(&error.to_string()).await,
            }
        }
    }

    async fn file_record(&mut self, lease: Lease) {
        let mut letters = loop {
            match read(&lease).await {
                Ok(letters) => break letters,
                Err(error) => self.wait(&error).await,
            }
        };
        let count = letters.len();
        while !letters.is_empty() {
            let filed = file_some(&self.store, &mut letters).await;
            let done = count - letters.len();
            self.letters.set_progress(self.place, done as u64);
            match filed {
                Ok(true) => {
                    if self.complaints.recovered().is_some() {
                        tracing::info!(place = self.place.as_str(), "dead letters are filed again");
                    }
                }
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
        if let Err(error) = lease.ack(0).await {
            tracing::error!(%error, "filed dead letters stay in the inbox; they are filed again");
        }
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

/// The letters of a record.
async fn read(lease: &Lease) -> Result<Vec<DeadLetter>, String> {
    let payload = lease.payload().await.map_err(|error| error.to_string())?;
    let lines = payload.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.is_empty());
    let letters = lines.map(letter::read_line).collect::<Result<_, _>>();
    letters.map_err(|error| format!("a letter of another release: {error}"))
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
    let mut complaints = Complaints::default();
    let mut tick = tokio::time::interval(EXPIRE_EVERY);
    loop {
        tick.tick().await;
        loop {
            match store.expire(UnixMillis::now(), EXPIRE_AT_ONCE).await {
                Ok(0) => {
                    complaints.recovered();
                    break;
                }
                Ok(events) => {
                    tracing::error!(
                        events,
                        "dead letters were past dead_letters.retention and are gone"
                    );
                }
                Err(error) => {
                    if let Some(failures) = complaints.failed(Instant::now()) {
                        tracing::error!(failures, "old dead letters stay: {error}");
                    }
                    break;
                }
            }
        }
    }
}
