//! Reads what is kept of a range of time, day by day and list by list: our own lists,
//! with braces, and the old agent's.
//!
//! How long each list is, is asked once, at the beginning: what is settled later is not
//! read. Then it is read in windows of a few mebibytes, at most [`MOST`] elements.
//! Positions count from the first element that a list ever had, so that one whose
//! head is taken away meanwhile is not misread: what is gone is counted.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::Bytes;
use deadpool_redis::redis::{Cmd, FromRedisValue, Pipeline, cmd};

use super::day::Day;
use crate::batch::UnixMillis;
use crate::record::Header;
use crate::spool::redis::element::{self, Element};
use crate::spool::redis::foreign::Gathering;
use crate::spool::redis::nodes::{Fault, Nodes};

/// A range may be open at its end, and each day costs questions. So far ahead of ours,
/// in milliseconds, the clock of whoever accepted a batch is looked for.
const AHEAD_MILLIS: u64 = 366 * 86_400_000;

/// Most elements of a window.
const MOST: u64 = 64;
/// About so many bytes are read at a time, as far as the last window tells.
const WINDOW: u64 = 4 << 20;

/// See the module.
#[derive(Debug)]
pub struct Reader {
    nodes: Nodes,
    accepted: RangeInclusive<UnixMillis>,
    max_event_bytes: usize,
    /// Lists that are still to be read, or are being read.
    shelves: VecDeque<Shelf>,
    /// Elements of the next window.
    window: u64,
    read: VecDeque<(Header, Bytes)>,
    missing_elements: u64,
    unreadable_elements: u64,
}

/// A list of one day.
#[derive(Debug)]
struct Shelf {
    key: String,
    /// Whether the settle script fills it, and the bound takes from it.
    is_ours: bool,
    /// The archive's books, and the field that tells how many elements are gone.
    books: (String, String),
    day: Day,
    gone: u64,
    at: u64,
    until: u64,
}

impl Reader {
    /// Looks which lists there are of `lists`, the lists of a queue, for events that
    /// were accepted in `accepted`.
    pub(in crate::spool::redis) async fn open(
        nodes: Nodes,
        lists: &[String],
        accepted: RangeInclusive<UnixMillis>,
        max_event_bytes: usize,
    ) -> Result<Self, Fault> {
        let mut shelves = VecDeque::new();
        let latest = UnixMillis(UnixMillis::now().0.saturating_add(AHEAD_MILLIS));
        let days = *accepted.start()..=latest.min(*accepted.end());
        for day in Day::all(&days) {
            for list in lists {
                for key in day.keys(list) {
                    shelves.extend(Shelf::find(&nodes, list, key, day).await?);
                }
            }
        }
        Ok(Self {
            nodes,
            accepted,
            max_event_bytes,
            shelves,
            window: 1,
            read: VecDeque::new(),
            missing_elements: 0,
            unreadable_elements: 0,
        })
    }

    /// The next batch: the oldest day first, and within a list in the order of
    /// settlement. `None`: that was all.
    pub async fn next(&mut self) -> Result<Option<(Header, Bytes)>, Fault> {
        while self.read.is_empty() {
            if self.shelves.is_empty() {
                return Ok(None);
            }
            self.fill().await?;
        }
        Ok(self.read.pop_front())
    }

    /// Elements that expired, or gave way, while this was reading.
    pub fn missing_elements(&self) -> u64 {
        self.missing_elements
    }

    /// Elements that are damaged, of another release, or no events.
    pub fn unreadable_elements(&self) -> u64 {
        self.unreadable_elements
    }

    /// Reads a window of the first list.
    async fn fill(&mut self) -> Result<(), Fault> {
        let Some(shelf) = self.shelves.front_mut() else {
            return Ok(());
        };
        let (gone, elements) = shelf.read(&self.nodes, self.window).await?;
        self.missing_elements += gone;
        if elements.is_empty() {
            self.missing_elements += shelf.until - shelf.at;
            shelf.at = shelf.until;
        }
        let day = shelf.day;
        if shelf.at == shelf.until {
            self.shelves.pop_front();
        }
        let longest = elements.iter().map(|element| element.len() as u64).max();
        self.window = (WINDOW / longest.unwrap_or(0).max(1)).clamp(1, (self.window * 2).min(MOST));
        self.sort(elements, day);
        Ok(())
    }

    fn sort(&mut self, elements: Vec<Bytes>, day: Day) {
        let mut gathering = Gathering::new(self.max_event_bytes);
        for element in elements {
            match element::decode(element) {
                Element::Record(header, payload) if self.accepted.contains(&header.accepted_at) => {
                    match payload.block() {
                        Ok(block) => self.read.push_back((header, block)),
                        Err(_) => self.unreadable_elements += 1,
                    }
                }
                Element::Record(..) => {}
                Element::Foreign(json) => {
                    gathering.add(&json);
                    if gathering.is_full() {
                        self.gathered(&mut gathering, day);
                    }
                }
                Element::OtherVersion(_) | Element::Damaged(_) => self.unreadable_elements += 1,
            }
        }
        self.gathered(&mut gathering, day);
    }

    /// What others wrote has no time but its list's day.
    fn gathered(&mut self, gathering: &mut Gathering, day: Day) {
        let foreign = gathering.finish(day.start());
        self.unreadable_elements += foreign.rejects.len() as u64;
        if foreign.header.events > 0 {
            self.read.push_back((foreign.header, foreign.block));
        }
    }
}

impl Shelf {
    async fn find(nodes: &Nodes, list: &str, key: String, day: Day) -> Result<Option<Self>, Fault> {
        let mut shelf = Self {
            is_ours: key == format!("{{{list}}}-{day}"),
            books: (format!("{{{list}}}:archive"), format!("gone:{day}")),
            key,
            day,
            gone: 0,
            at: 0,
            until: 0,
        };
        let (gone, length): (u64, u64) = shelf.ask(nodes, cmd("LLEN").arg(&shelf.key)).await?;
        (shelf.gone, shelf.at, shelf.until) = (gone, gone, gone + length);
        Ok((length > 0).then_some(shelf))
    }

    /// At most `most` elements from `at` on, and how many are gone that stood there.
    async fn read(&mut self, nodes: &Nodes, most: u64) -> Result<(u64, Vec<Bytes>), Fault> {
        loop {
            let missed = self.gone.saturating_sub(self.at).min(self.until - self.at);
            let at = self.at + missed;
            let most = most.min(self.until - at);
            if most == 0 {
                self.at = at;
                return Ok((missed, Vec::new()));
            }
            let first = at - self.gone;
            let mut question = cmd("LRANGE");
            question.arg(&self.key).arg(first).arg(first + most - 1);
            let (gone, elements): (u64, Vec<Bytes>) = self.ask(nodes, &question).await?;
            if gone == self.gone {
                self.at = at + elements.len() as u64;
                return Ok((missed, elements));
            }
            if gone < self.gone {
                // All of it went away, and a new list began.
                let missed = self.until - self.at;
                self.at = self.until;
                return Ok((missed, Vec::new()));
            }
            // Read at the wrong place: something was taken away in between.
            self.gone = gone;
        }
    }

    /// Asks about the list and, in the same moment, how many elements are gone.
    async fn ask<T: FromRedisValue>(
        &self,
        nodes: &Nodes,
        question: &Cmd,
    ) -> Result<(u64, T), Fault> {
        let mut conn = nodes.connect(&self.key).await?;
        if !self.is_ours {
            return Ok((0, conn.call(question).await?));
        }
        let (books, field) = &self.books;
        let mut both = Pipeline::new();
        both.atomic();
        both.cmd("HGET").arg(books).arg(field);
        both.add_command(question.clone());
        let (gone, answer): (Option<u64>, T) = conn.run(&both).await?;
        Ok((gone.unwrap_or(0), answer))
    }
}
