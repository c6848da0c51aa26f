//! What the scripts answer.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use deadpool_redis::redis::{FromRedisValue, ParsingError, Value, from_redis_value};

use super::args::Rest;
use crate::batch::UnixMillis;
use crate::dead_letter::store::{Aged, Books, Filed, Group, GroupKey, KeptBack, Letter, Summary};
use crate::dead_letter::{DeadLetter, Place, Reason};

/// Most characters of a group's detail.
const DETAIL: usize = 500;

/// The store at a glance.
#[derive(Debug)]
pub(super) struct Glance(pub(super) Summary);

impl FromRedisValue for Glance {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        type Answer = (HashMap<String, i64>, Vec<u64>, u64);
        let (books, held, expiring): Answer = from_redis_value(value)?;
        let figure = |subject: &str, what: &str| {
            let figure = books.get(&format!("{subject}:{what}"));
            figure.map_or(0, |figure| figure.max(&0).unsigned_abs())
        };
        let mut summary = Summary {
            expiring,
            ..Summary::default()
        };
        for (place, held) in Place::ALL.into_iter().zip(held) {
            let word = place.as_str();
            let of_place = Books {
                received: figure(word, "received"),
                held,
                bytes: figure(word, "bytes"),
                returned: figure(word, "returned"),
                sent_elsewhere: figure(word, "sent_elsewhere"),
                discarded: figure(word, "discarded"),
                expired: figure(word, "expired"),
            };
            summary.places.insert(place, of_place);
            if figure(word, "full") > 0 {
                summary.full.insert(place);
            }
        }
        let reasons = books.iter().filter_map(|(field, events)| {
            let reason = Reason::named(field.strip_prefix("reason:")?)?;
            (*events > 0).then_some((reason, events.unsigned_abs()))
        });
        summary.reasons = reasons.collect();
        Ok(Self(summary))
    }
}

impl FromRedisValue for Filed {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let word: String = from_redis_value(value)?;
        match word.as_str() {
            "kept" => Ok(Self::Kept),
            "known" => Ok(Self::Known),
            "buried" => Ok(Self::Buried),
            "full" => Ok(Self::Full),
            other => Err(bad(other)),
        }
    }
}

impl FromRedisValue for Aged {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let (gone, more, letters, until, ahead_ms) = from_redis_value(value)?;
        Ok(Self {
            gone,
            more,
            kept: (letters > 0).then_some(KeptBack {
                letters,
                until: UnixMillis(until),
            }),
            ahead_ms,
        })
    }
}

impl FromRedisValue for Group {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        type Answer = (Bytes, u64, Vec<(u32, u64)>, u64, u64, Bytes);
        let (key, bytes, attempts, first, last, detail): Answer = from_redis_value(value)?;
        let key: GroupKey = serde_json::from_slice(&key).map_err(bad)?;
        let attempts: BTreeMap<u32, u64> = attempts.into_iter().collect();
        let detail = String::from_utf8_lossy(&detail);
        Ok(Self {
            key,
            events: attempts.values().sum(),
            bytes,
            attempts,
            first: UnixMillis(first / 1000),
            last: UnixMillis(last / 1000),
            detail: detail.chars().take(DETAIL).collect(),
        })
    }
}

impl FromRedisValue for Letter {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        type Figures = (u64, String, u32, String, u32, u64, u64);
        type Texts = (Bytes, String, Bytes, Option<Bytes>);
        let mut figures: Vec<Value> = from_redis_value(value)?;
        let texts = Value::Array(figures.split_off(figures.len().min(7)));
        let (number, name, attempt, content, revision, at, times): Figures =
            from_redis_value(Value::Array(figures))?;
        let (rest, detail, event, original): Texts = from_redis_value(texts)?;
        let rest: Rest = serde_json::from_slice(&rest).map_err(bad)?;
        // Behind the queue's.
        let (_, name) = name.split_once('\0').ok_or_else(|| bad("a name"))?;
        Ok(Self {
            number,
            name: name.to_owned(),
            first_at: rest.first_at,
            times,
            content: u128::from_str_radix(&content, 16).map_err(bad)?,
            original,
            revision,
            letter: DeadLetter {
                queue: rest.queue,
                id: rest.id,
                reason: rest.reason,
                field: rest.field,
                detail,
                source: rest.source,
                attempt,
                at: UnixMillis(at),
                event,
            },
        })
    }
}

fn bad(what: impl std::fmt::Display) -> ParsingError {
    what.to_string().into()
}
