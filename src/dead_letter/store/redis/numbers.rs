//! The numbers of several sorted sets, merged.
//!
//! Each round asks every set for some of its next numbers. Up to the nearest end of
//! what was given nothing can be missing; the next round goes on there. What is asked for
//! doubles each time: few sets with many numbers take few rounds, and many sets with
//! one each do not give many that nobody wants.

use deadpool_redis::redis::{Pipeline, from_redis_value};

use super::super::{Order, Span};
use crate::spool::redis::nodes::{Conn, Fault};

/// Asked of each set beyond its share.
const SPARE: usize = 16;
/// Most that are asked of a set at a time.
const AT_ONCE: usize = 10_000;

/// The first `limit` numbers in `span` that are in any of the sets.
pub(super) async fn merged(
    mut conn: Conn,
    mut sets: Vec<String>,
    mut span: Span,
    order: Order,
    limit: usize,
) -> Result<Vec<u64>, Fault> {
    let mut found = Vec::new();
    let mut share = (limit / sets.len().max(1)).min(AT_ONCE) + SPARE;
    while found.len() < limit && !sets.is_empty() && span.from <= span.to {
        let given = ask(&mut conn, &sets, span, order, share).await?;
        // Those that gave less have no more.
        let ends = given.iter().filter(|numbers| numbers.len() == share);
        let ends = ends.filter_map(|numbers| numbers.last().copied());
        let horizon = match order {
            Order::OldestFirst => ends.min().unwrap_or(span.to),
            Order::NewestFirst => ends.max().unwrap_or(span.from),
        };
        let is_near = |number: &u64| match order {
            Order::OldestFirst => *number <= horizon,
            Order::NewestFirst => *number >= horizon,
        };
        let mut given = given.into_iter();
        let mut near = Vec::new();
        sets.retain(|_| {
            let numbers = given.next().unwrap_or_default();
            let has_more = numbers.len() == share || !numbers.iter().all(is_near);
            near.extend(numbers.into_iter().filter(is_near));
            has_more
        });
        near.sort_unstable();
        match order {
            Order::OldestFirst => span.from = horizon.saturating_add(1),
            Order::NewestFirst if horizon == 0 => sets.clear(),
            Order::NewestFirst => span.to = horizon - 1,
        }
        if order == Order::NewestFirst {
            near.reverse();
        }
        found.extend(near);
        share = (share * 2).min(limit.max(SPARE)).min(AT_ONCE);
    }
    found.truncate(limit);
    Ok(found)
}

async fn ask(
    conn: &mut Conn,
    sets: &[String],
    span: Span,
    order: Order,
    count: usize,
) -> Result<Vec<Vec<u64>>, Fault> {
    let mut questions = Pipeline::with_capacity(sets.len());
    for set in sets {
        let question = questions.cmd("ZRANGE").arg(set);
        match order {
            Order::OldestFirst => question.arg(span.from).arg(span.to).arg("BYSCORE"),
            Order::NewestFirst => {
                let question = question.arg(span.to).arg(span.from);
                question.arg("BYSCORE").arg("REV")
            }
        };
        question.arg("LIMIT").arg(0).arg(count);
    }
    let answers = conn.each(&questions).await?;
    let numbers = answers.into_iter().map(|answer| {
        let numbers = from_redis_value(answer?);
        numbers.map_err(|error| Fault::Lost(error.to_string()))
    });
    numbers.collect()
}
