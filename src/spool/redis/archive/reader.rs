//! Reads a range of time, day by day and list by list: our own lists, with braces, and
//! the old agent's.
//!
//! Which lists there are, and how long each is, is asked once, at the beginning: what is
//! settled later is not read. Then they are read in windows of a few mebibytes, at most
//! [`MOST`] elements.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::day::Day;
use super::shelf::{ListMark, Shelf};
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
    read: VecDeque<Found>,
    /// After the batch that was handed out last: of its list, and those that follow.
    marks: VecDeque<ListMark>,
    missing_elements: u64,
    unreadable_elements: u64,
}

/// A batch, and where in its list the elements of it end.
#[derive(Debug)]
struct Found {
    header: Header,
    block: Bytes,
    end: ListMark,
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
        let latest = UnixMillis(UnixMillis::now().0.saturating_add(AHEAD_MILLIS));
        let days = *accepted.start()..=latest.min(*accepted.end());
        let (shelves, no_lists) = Shelf::find_all(&nodes, lists, Day::all(&days)).await?;
        Ok(Self {
            unreadable_elements: no_lists,
            ..Self::new(nodes, accepted, max_event_bytes, shelves.into())
        })
    }

    /// Goes on where one like it had come.
    pub(in crate::spool::redis) fn resume(
        nodes: Nodes,
        marks: &[ListMark],
        accepted: RangeInclusive<UnixMillis>,
        max_event_bytes: usize,
    ) -> Self {
        let shelves = marks.iter().filter_map(Shelf::resume).collect();
        Self::new(nodes, accepted, max_event_bytes, shelves)
    }

    fn new(
        nodes: Nodes,
        accepted: RangeInclusive<UnixMillis>,
        max_event_bytes: usize,
        shelves: VecDeque<Shelf>,
    ) -> Self {
        Self {
            nodes,
            accepted,
            max_event_bytes,
            marks: shelves.iter().map(Shelf::mark).collect(),
            shelves,
            window: 1,
            read: VecDeque::new(),
            missing_elements: 0,
            unreadable_elements: 0,
        }
    }

    /// The next batch: the oldest day first, and within a list in the order of
    /// settlement. The same again until [`Reader::handed_out`]. `None`: that was all.
    pub async fn peek(&mut self) -> Result<Option<(Header, Bytes)>, Fault> {
        while self.read.is_empty() && !self.shelves.is_empty() {
            // Boxed, as it is too deep a future for the compiler.
            let filling: BoxFuture<'_, _> = Box::pin(self.fill());
            filling.await?;
        }
        let next = self.read.front();
        Ok(next.map(|found| (found.header.clone(), found.block.clone())))
    }

    /// The next batch is somebody's now.
    pub fn handed_out(&mut self) {
        let Some(found) = self.read.pop_front() else {
            return;
        };
        while self
            .marks
            .front()
            .is_some_and(|mark| !mark.is_of(&found.end))
        {
            self.marks.pop_front();
        }
        if let Some(mark) = self.marks.front_mut() {
            *mark = found.end;
        }
    }

    /// What is still to be read after the batch that was handed out last.
    pub fn mark(&self) -> Vec<ListMark> {
        self.marks.iter().cloned().collect()
    }

    /// Elements that expired, or gave way, while this was reading.
    pub fn missing_elements(&self) -> u64 {
        self.missing_elements
    }

    /// Elements that are damaged, of another release, or no events; and a key that is no
    /// list.
    pub fn unreadable_elements(&self) -> u64 {
        self.unreadable_elements
    }

    /// Reads a window of the first list.
    async fn fill(&mut self) -> Result<(), Fault> {
        let Some(mut shelf) = self.shelves.pop_front() else {
            return Ok(());
        };
        let (gone, elements) = match shelf.read(&self.nodes, self.window).await {
            Ok(read) => read,
            Err(fault) => {
                self.shelves.push_front(shelf);
                return Err(fault);
            }
        };
        self.missing_elements += gone;
        let longest = elements.iter().map(|element| element.len() as u64).max();
        self.window = (WINDOW / longest.unwrap_or(0).max(1)).clamp(1, (self.window * 2).min(MOST));
        self.sort(elements, &shelf);
        if !shelf.is_read() {
            self.shelves.push_front(shelf);
        }
        Ok(())
    }

    /// `elements` were just read of `shelf`.
    fn sort(&mut self, elements: Vec<Bytes>, shelf: &Shelf) {
        let mut gathering = Gathering::new(self.max_event_bytes);
        let mut end = shelf.at() - elements.len() as u64;
        for element in elements {
            let before = end;
            end += 1;
            match element::decode(element) {
                Element::Record(header, payload) if self.accepted.contains(&header.accepted_at) => {
                    // What follows others' events stays behind them, so that a mark tells
                    // all.
                    self.gathered(&mut gathering, shelf, before);
                    match payload.block() {
                        Ok(block) => self.found(header, block, shelf, end),
                        Err(_) => self.unreadable_elements += 1,
                    }
                }
                Element::Record(..) => {}
                Element::Foreign(json) => {
                    gathering.add(&json);
                    if gathering.is_full() {
                        self.gathered(&mut gathering, shelf, end);
                    }
                }
                Element::OtherVersion(_) | Element::Damaged(_) => self.unreadable_elements += 1,
            }
        }
        self.gathered(&mut gathering, shelf, end);
    }

    /// What others wrote has no time but its list's day.
    fn gathered(&mut self, gathering: &mut Gathering, shelf: &Shelf, end: u64) {
        if gathering.is_empty() {
            return;
        }
        let foreign = gathering.finish(shelf.day.start());
        self.unreadable_elements += foreign.rejects.len() as u64;
        if foreign.header.events > 0 {
            self.found(foreign.header, foreign.block, shelf, end);
        }
    }

    fn found(&mut self, header: Header, block: Bytes, shelf: &Shelf, end: u64) {
        let end = shelf.mark().up_to(end);
        self.read.push_back(Found { header, block, end });
    }
}
