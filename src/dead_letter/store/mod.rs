//! The store: letters, sorted.
//!
//! One contract, kept by each kind of store and held by the same tests:
//!
//! - A letter has a **number**: the microsecond in which it was filed, since 1970, made
//!   unique (one more than the last if need be). So numbers are in the order in which
//!   letters were filed, a range of time is a range of numbers, and a place in a list is
//!   one number.
//! - **The clock** is the store's own, that of Redis or of this machine: nobody tells it the
//!   time. Where it moved on by more than a day between two looks for what is past its
//!   retention, it may be wrong, and nothing goes for three days: so it makes nothing go that
//!   was not counted as [`Summary::expiring`] before. Where it goes back, numbers go on
//!   from the last one, and what was filed then stays longer, not shorter.
//! - A letter's **name** in its queue is its stable id, or the hash of its bytes (xxh3-128,
//!   32 hexadecimal digits) if it has none.
//! - What came before is not kept again. The same name, attempt and bytes: known; `times`
//!   and `at` change if it was refused later than the last time. So is an earlier attempt
//!   of the same bytes, and nothing changes. One that was settled is
//!   buried: its tombstone stays for the retention time. The same name and attempt with other
//!   bytes is another event under an id that a client reused: it is kept beside the first
//!   as `name~` and eight digits of the hash. A later attempt takes the place of an earlier
//!   one that is still held, which then counts as returned: only a return makes one. Not
//!   so where several events were refused under one id, for it may be another's, nor
//!   where an event of that id left as of the attempt before, from whatever queue, for then
//!   it is that one's, nor where the earlier one was repaired since it was sent, for the repair would be
//!   gone, nor for a letter from a file: the later attempt is then kept beside them too.
//! - **Groups** by queue, reason and field are kept up with each change and never counted
//!   by looking at letters. Beyond [`MOST_GROUPS`] a new field goes into the group
//!   of [`OTHER_FIELDS`], since what a field is called is an event's to say.
//! - Each place has a budget; [`Filed::Full`] when it is used up. Nothing else is
//!   pushed out for it. A letter that is alone there may be longer.
//! - Every change is durable when it returns, and whole or not at all.

mod identity;
mod redis;
mod table;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub use redis::{RedisStore, Replicas};
pub use table::Table;

use super::{DeadLetter, Place, Reason};
use crate::batch::{QueueName, UnixMillis};

/// Most groups.
pub const MOST_GROUPS: usize = 1000;

/// Letters are counted as expiring for so long before they go, in milliseconds.
const SOON_MS: u64 = 3 * 24 * 3600 * 1000;

/// A clock that moves on by more at once has jumped, in milliseconds; or nobody looked.
const JUMP_MS: u64 = 24 * 3600 * 1000;

/// A longer field than this, in bytes, has no group of its own.
pub const LONGEST_FIELD: usize = 256;

/// Stands for the fields that have no group of their own.
pub const OTHER_FIELDS: &str = "*";

/// The store of dead letters. Cheap to clone.
#[derive(Debug, Clone)]
pub enum Store {
    /// An embedded table on the local disk.
    Table(Table),
    /// In Redis, shared with other gateways.
    Redis(RedisStore),
}

/// How a store works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// Budget of each place, in bytes of letters as they are written.
    pub max_bytes: u64,
    /// How long letters and tombstones are kept, in milliseconds.
    pub retention_ms: u64,
    /// Nothing is filed while the disk has less left (table only).
    pub min_free_bytes: u64,
}

impl Options {
    /// What was filed before this is past its retention at `now`.
    fn filed_before(&self, now: UnixMillis) -> UnixMillis {
        UnixMillis(now.0.saturating_sub(self.retention_ms))
    }
}

/// A letter in the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Letter {
    /// When it was filed: microseconds since 1970, unique.
    pub number: u64,
    /// Its name in its queue: what a person calls it.
    pub name: String,
    /// What was refused, as of the last time. `event` is as it is after the repairs.
    pub letter: DeadLetter,
    /// When it was refused first.
    pub first_at: UnixMillis,
    /// How often it was refused in this attempt.
    pub times: u64,
    /// xxh3-128 of the event as it was refused.
    pub content: u128,
    /// The event as it was refused, if it was repaired since.
    pub original: Option<Bytes>,
    /// How often it was repaired.
    pub revision: u32,
}

/// Names a letter as it was when it was read: what changed since is left alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Handle {
    /// The letter's number.
    pub number: u64,
    /// Its revision.
    pub revision: u32,
}

impl Letter {
    /// Names it as it is.
    pub fn handle(&self) -> Handle {
        Handle {
            number: self.number,
            revision: self.revision,
        }
    }

    /// The group it is in.
    pub fn group(&self) -> GroupKey {
        GroupKey {
            queue: self.letter.queue.clone(),
            reason: self.letter.reason,
            field: self.letter.field.clone(),
        }
    }

    /// When it was filed.
    pub fn filed_at(&self) -> UnixMillis {
        UnixMillis(self.number / 1000)
    }
}

/// What became of a letter that was to be filed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filed {
    /// It is held now.
    Kept,
    /// It was held already.
    Known,
    /// It was settled before.
    Buried,
    /// There is no room for it in its place's budget.
    Full,
}

/// What a look for what is past its retention came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Aged {
    /// Letters that went.
    pub gone: u64,
    /// Whether there is more to go.
    pub more: bool,
    /// What does not go because the clock jumped.
    pub kept: Option<KeptBack>,
    /// By how much the numbers are ahead of the clock, in milliseconds: it was wrong when
    /// they were given, or is now.
    pub ahead_ms: u64,
}

/// Letters that are past their retention by a clock that may be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptBack {
    /// How many there are.
    pub letters: u64,
    /// How long they stay, by that clock.
    pub until: UnixMillis,
}

impl Aged {
    /// Whether the numbers are so far ahead that somebody ought to know.
    pub fn is_ahead(&self) -> bool {
        self.ahead_ms > JUMP_MS
    }
}

/// What becomes of a letter that is settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It is in its queue again.
    Returned,
    /// It is in another queue, or in a file.
    SentElsewhere,
    /// A person threw it away.
    Discarded,
    /// It was past its retention. Leaves no tombstone.
    Expired,
}

/// Which groups' letters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Selection {
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// For this reason.
    pub reason: Option<Reason>,
    /// With this field to blame.
    pub field: Option<String>,
    /// Those of [`OTHER_FIELDS`] too: one of them may have that field to blame.
    pub or_others: bool,
}

impl Selection {
    /// Whether all letters are meant.
    pub fn is_all(&self) -> bool {
        self.queue.is_none() && self.reason.is_none() && self.field.is_none()
    }

    /// Whether the letters of `group` are meant.
    pub fn has(&self, group: &GroupKey) -> bool {
        self.queue
            .as_ref()
            .is_none_or(|queue| *queue == group.queue)
            && self.reason.is_none_or(|reason| reason == group.reason)
            && self.has_field(group.field.as_deref())
    }

    fn has_field(&self, field: Option<&str>) -> bool {
        let is_other = field == Some(OTHER_FIELDS);
        self.field.is_none() || self.field.as_deref() == field || (self.or_others && is_other)
    }
}

/// Numbers from `from` to `to`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first number.
    pub from: u64,
    /// The last number.
    pub to: u64,
}

/// In which order numbers are given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// By number.
    OldestFirst,
    /// From the highest number down.
    NewestFirst,
}

/// What the letters of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct GroupKey {
    /// The queue they were sent to.
    pub queue: QueueName,
    /// The class of what is wrong.
    pub reason: Reason,
    /// The field that is to blame.
    pub field: Option<String>,
}

/// A group, as of now; never empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// What its letters have in common.
    #[serde(flatten)]
    pub key: GroupKey,
    /// How many there are.
    pub events: u64,
    /// Their length as stored, in bytes.
    pub bytes: u64,
    /// How many there are of each attempt.
    pub attempts: BTreeMap<u32, u64>,
    /// When the oldest of them was filed.
    pub first: UnixMillis,
    /// When the newest of them was filed.
    pub last: UnixMillis,
    /// What was said of the newest, at most 500 characters.
    pub detail: String,
}

/// The books of a place: letters, since the store was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Books {
    /// Letters that were kept.
    pub received: u64,
    /// Letters held now; counted from the letters, not from the books.
    pub held: u64,
    /// Their length as stored, in bytes.
    pub bytes: u64,
    /// See [`Fate::Returned`].
    pub returned: u64,
    /// See [`Fate::SentElsewhere`].
    pub sent_elsewhere: u64,
    /// See [`Fate::Discarded`].
    pub discarded: u64,
    /// See [`Fate::Expired`].
    pub expired: u64,
}

impl Books {
    /// What they leave over; 0, or letters were lost or made.
    pub fn unaccounted(&self) -> i64 {
        let went = self.returned + self.sent_elsewhere + self.discarded + self.expired;
        self.received as i64 - (went + self.held) as i64
    }
}

/// The store at a glance; as of the last change or look, seconds ago.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The books of each place.
    pub places: BTreeMap<Place, Books>,
    /// The places whose budget had no room for a letter the last time, and that nothing
    /// has left since.
    pub full: BTreeSet<Place>,
    /// Letters held for each reason.
    pub reasons: BTreeMap<Reason, u64>,
    /// Letters that will be past their retention within three days, to the hour.
    pub expiring: u64,
    /// Why the store could not be used the last time.
    pub trouble: Option<String>,
}

/// The store did not do it; the same may work later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the store of dead letters cannot be used: {0}")]
pub struct StoreError(pub String);

impl Store {
    /// Files letters, all in one change; tells what became of each.
    pub async fn file(&self, letters: Vec<DeadLetter>) -> Result<Vec<Filed>, StoreError> {
        match self {
            Self::Table(table) => table.file(letters).await,
            Self::Redis(store) => store.file(letters).await,
        }
    }

    /// All groups.
    pub async fn groups(&self) -> Result<Vec<Group>, StoreError> {
        match self {
            Self::Table(table) => table.groups().await,
            Self::Redis(store) => store.groups().await,
        }
    }

    /// The first `limit` numbers in `span` of letters that `selection` means.
    pub async fn numbers(
        &self,
        selection: &Selection,
        span: Span,
        order: Order,
        limit: usize,
    ) -> Result<Vec<u64>, StoreError> {
        match self {
            Self::Table(table) => table.numbers(selection, span, order, limit).await,
            Self::Redis(store) => store.numbers(selection, span, order, limit).await,
        }
    }

    /// The letters with these numbers, in this order; without those that are gone.
    pub async fn read(&self, numbers: &[u64]) -> Result<Vec<Letter>, StoreError> {
        match self {
            Self::Table(table) => table.read(numbers).await,
            Self::Redis(store) => store.read(numbers).await,
        }
    }

    /// The number of the letter that `queue` has by this name.
    pub async fn find(&self, queue: &QueueName, name: &str) -> Result<Option<u64>, StoreError> {
        match self {
            Self::Table(table) => table.find(queue, name).await,
            Self::Redis(store) => store.find(queue, name).await,
        }
    }

    /// Takes letters out, with their tombstones; how many there were. What was changed
    /// since its handle was made stays.
    pub async fn settle(&self, letters: &[Handle], fate: Fate) -> Result<u64, StoreError> {
        match self {
            Self::Table(table) => table.settle(letters, fate).await,
            Self::Redis(store) => store.settle(letters, fate).await,
        }
    }

    /// Exchanges the events of letters; how many there were. What was changed since its
    /// handle was made stays. The first exchange keeps the original.
    pub async fn rewrite(&self, events: Vec<(Handle, Bytes)>) -> Result<u64, StoreError> {
        match self {
            Self::Table(table) => table.rewrite(events).await,
            Self::Redis(store) => store.rewrite(events).await,
        }
    }

    /// Brings letters back from a file: a held letter of that name, attempt and content
    /// gets the event of the file, one that was settled is held again.
    pub async fn restore(&self, letters: Vec<Letter>) -> Result<Vec<Filed>, StoreError> {
        match self {
            Self::Table(table) => table.restore(letters).await,
            Self::Redis(store) => store.restore(letters).await,
        }
    }

    /// Takes out at most `limit` letters that are past their retention, and as many
    /// tombstones, by the store's clock. To be asked at least once an hour, or the clock
    /// seems to jump.
    pub async fn expire(&self, limit: usize) -> Result<Aged, StoreError> {
        match self {
            Self::Table(table) => table.expire(limit).await,
            Self::Redis(store) => store.expire(limit).await,
        }
    }

    /// The store at a glance; quick.
    pub fn summary(&self) -> Summary {
        match self {
            Self::Table(table) => table.summary(),
            Self::Redis(store) => store.summary(),
        }
    }
}
