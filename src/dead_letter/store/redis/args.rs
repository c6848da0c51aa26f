//! Letters as the scripts get them: see `file.lua`.

use deadpool_redis::redis::{RedisWrite, ToRedisArgs};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::batch::{QueueName, UnixMillis};
use crate::dead_letter::store::identity::Identity;
use crate::dead_letter::store::{GroupKey, Handle, Letter};
use crate::dead_letter::{DeadLetter, Reason, Source};

/// Lua counts in doubles: beyond this they are not exact. So it is the year 287396.
const EXACT: u64 = 1 << 53;

/// What no script has to know of a letter.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Rest {
    pub(super) queue: QueueName,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<String>,
    pub(super) reason: Reason,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) field: Option<String>,
    pub(super) source: Source,
    pub(super) first_at: UnixMillis,
}

/// A letter that is to be filed.
pub(super) struct Filing<'a> {
    letter: &'a DeadLetter,
    identity: Identity,
    first_at: UnixMillis,
    times: u64,
    revision: u32,
    original: &'a [u8],
}

impl<'a> Filing<'a> {
    /// A new one.
    pub(super) fn new(letter: &'a DeadLetter) -> Self {
        Self {
            letter,
            identity: Identity::of(letter),
            first_at: letter.at,
            times: 1,
            revision: 0,
            original: &[],
        }
    }

    /// One that was held before.
    pub(super) fn again(held: &'a Letter) -> Self {
        Self {
            letter: &held.letter,
            identity: Identity::of_stored(held),
            first_at: held.first_at,
            times: held.times,
            revision: held.revision,
            original: held.original.as_deref().unwrap_or_default(),
        }
    }

    fn rest(&self) -> Vec<u8> {
        let letter = self.letter;
        json(&Rest {
            queue: letter.queue.clone(),
            id: letter.id.clone(),
            reason: letter.reason,
            field: letter.field.clone(),
            source: letter.source,
            first_at: self.first_at,
        })
    }
}

impl ToRedisArgs for Filing<'_> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        let (letter, identity) = (self.letter, &self.identity);
        out.write_arg(name(&letter.queue, &identity.base).as_bytes());
        out.write_arg_fmt(letter.attempt);
        out.write_arg_fmt(format_args!("{:032x}", identity.content));
        out.write_arg_fmt(format_args!("{:032x}", identity.mark()));
        out.write_arg(letter.source.place().as_str().as_bytes());
        out.write_arg(letter.reason.as_str().as_bytes());
        let own = GroupKey::of(letter);
        for key in [own.clone(), own.among_others()] {
            let key = json(&key);
            out.write_arg(group(&key).as_bytes());
            out.write_arg(&key);
        }
        out.write_arg_fmt(self.revision);
        out.write_arg_fmt(letter.at.0.min(EXACT));
        out.write_arg_fmt(self.times.min(EXACT));
        out.write_arg(&self.rest());
        out.write_arg(letter.detail.as_bytes());
        out.write_arg(&letter.event);
        out.write_arg(self.original);
    }
}

impl ToRedisArgs for Handle {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        out.write_arg_fmt(self.number);
        out.write_arg_fmt(self.revision);
    }
}

/// A name as the scripts know it.
pub(super) fn name(queue: &QueueName, name: &str) -> String {
    format!("{queue}\0{name}")
}

/// What stands for a group in the names of keys.
pub(super) fn group(key: &[u8]) -> String {
    format!("{:032x}", xxh3_128(key))
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("invariant: words and numbers under string keys are written")
}
