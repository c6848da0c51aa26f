//! What the scripts in Redis mean, without Redis; and calls of them, made up.

use std::collections::{BTreeMap, VecDeque};

use proptest::prelude::*;

pub(crate) const HOLDERS: usize = 3;

#[derive(Debug, Clone)]
pub(crate) enum Op {
    /// A flush of records with so many events.
    Append(Vec<u32>),
    /// Others put something in: plain JSON, or a copy of a record.
    Foreign,
    Copied(u32),
    Register(usize),
    /// The numbers begin where the holder's ended, or so much earlier.
    Lease {
        holder: usize,
        back: u64,
        most: usize,
        bytes: usize,
        ordered: bool,
    },
    /// Ends those leases, some of which may be gone.
    Settle {
        holder: usize,
        numbers: Vec<u64>,
        damaged: bool,
        dead: u32,
    },
    GiveBack {
        holder: usize,
        numbers: Vec<u64>,
    },
    Beat(usize),
    /// The heartbeat's time is over.
    FallSilent(usize),
    Reclaim {
        holder: usize,
        own: bool,
    },
    Resume {
        holder: usize,
        ahead: u64,
    },
    /// The last call again, as after a lost answer.
    Again,
    /// Whether Redis refuses everything that takes memory.
    Full(bool),
}

pub(crate) fn op() -> impl Strategy<Value = Op> {
    let holder = 0..HOLDERS;
    let numbers = || proptest::collection::vec(1..30u64, 1..6);
    prop_oneof![
        6 => proptest::collection::vec(1..9u32, 1..5).prop_map(Op::Append),
        2 => Just(Op::Foreign),
        2 => (1..9u32).prop_map(Op::Copied),
        3 => holder.clone().prop_map(Op::Register),
        8 => (holder.clone(), prop_oneof![4 => Just(0), 1 => 1..3u64], 1..5usize, 80..400usize, proptest::bool::weighted(0.2))
            .prop_map(|(holder, back, most, bytes, ordered)| Op::Lease { holder, back, most, bytes, ordered }),
        5 => (holder.clone(), numbers(), proptest::bool::weighted(0.2), 0..3u32)
            .prop_map(|(holder, numbers, damaged, dead)| Op::Settle { holder, numbers, damaged, dead }),
        3 => (holder.clone(), numbers()).prop_map(|(holder, numbers)| Op::GiveBack { holder, numbers }),
        1 => holder.clone().prop_map(Op::Beat),
        2 => holder.clone().prop_map(Op::FallSilent),
        3 => (holder.clone(), any::<bool>()).prop_map(|(holder, own)| Op::Reclaim { holder, own }),
        2 => (holder, 0..3u64).prop_map(|(holder, ahead)| Op::Resume { holder, ahead }),
        3 => Just(Op::Again),
        1 => any::<bool>().prop_map(Op::Full),
    ]
}

/// An element as the scripts see it: ours with its events, or not.
pub(crate) fn element(serial: u64, events: Option<u32>) -> Vec<u8> {
    match events {
        None => format!("{{\"foreign\":{serial}}}").into_bytes(),
        Some(events) => {
            let mut record = vec![0; 72 + (serial % 40) as usize];
            record[..4].copy_from_slice(b"\xF5SG\x01");
            record[16..20].copy_from_slice(&events.to_le_bytes());
            record[24..32].copy_from_slice(&serial.to_le_bytes());
            record
        }
    }
}

pub(crate) fn events_of(element: &[u8]) -> (i64, bool) {
    match element.starts_with(b"\xF5SG\x01") {
        true => (
            i64::from(u32::from_le_bytes([
                element[16],
                element[17],
                element[18],
                element[19],
            ])),
            true,
        ),
        false => (1, false),
    }
}

/// What the scripts mean.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Twin {
    pub(crate) list: VecDeque<Vec<u8>>,
    /// Last lease number, and leases.
    pub(crate) holders: BTreeMap<usize, (u64, BTreeMap<u64, Vec<u8>>)>,
    pub(crate) beating: BTreeMap<usize, bool>,
    pub(crate) ledger: BTreeMap<&'static str, i64>,
    pub(crate) quarantine: Vec<Vec<u8>>,
}

impl Twin {
    pub(crate) fn book(&mut self, field: &'static str, change: i64) {
        let value = self.ledger.entry(field).or_default();
        *value += change;
        if *value == 0 {
            self.ledger.remove(field);
        }
    }

    pub(crate) fn get(&self, field: &str) -> i64 {
        self.ledger.get(field).copied().unwrap_or(0)
    }

    pub(crate) fn wait(&mut self, element: &[u8], sign: i64) {
        let (events, _) = events_of(element);
        self.book("waiting_events", sign * events);
        self.book("waiting_batches", sign);
        self.book("waiting_bytes", sign * element.len() as i64);
    }

    pub(crate) fn hold(&mut self, element: &[u8], sign: i64) {
        let (events, _) = events_of(element);
        self.book("leased_events", sign * events);
        self.book("leased_batches", sign);
        self.book("leased_bytes", sign * element.len() as i64);
    }

    pub(crate) fn append(&mut self, elements: Vec<Vec<u8>>) {
        self.book("appends", 1);
        for element in elements {
            self.book("accepted", events_of(&element).0);
            self.wait(&element, 1);
            self.list.push_back(element);
        }
    }

    pub(crate) fn lease(
        &mut self,
        holder: usize,
        first: u64,
        most: usize,
        bytes: usize,
        ordered: bool,
    ) -> &'static str {
        let Some((last, _)) = self.holders.get(&holder) else {
            return "unknown";
        };
        if first <= *last {
            return "stale";
        }
        let mut others = self.holders.iter().filter(|(id, _)| **id != holder);
        if ordered && others.any(|(_, (_, leases))| !leases.is_empty()) {
            return "ordered";
        }
        let (mut taken, mut length) = (0, 0);
        while taken < most && length < bytes {
            let Some(element) = self.list.pop_front() else {
                break;
            };
            length += element.len();
            let (events, ours) = events_of(&element);
            if ours && self.get("waiting_batches") > 0 {
                self.wait(&element, -1);
            } else {
                self.book("foreign", events);
            }
            self.hold(&element, 1);
            let entry = self.holders.entry(holder).or_default();
            entry.0 = first + taken as u64;
            entry.1.insert(first + taken as u64, element);
            taken += 1;
        }
        if taken > 0 && self.list.is_empty() && self.get("waiting_batches") == 0 {
            let left = self.get("waiting_events");
            self.book("waiting_events", -left);
            self.book("foreign", -left);
            self.book("waiting_bytes", -self.get("waiting_bytes"));
        }
        "ok"
    }

    pub(crate) fn settle(
        &mut self,
        holder: usize,
        numbers: &[u64],
        damaged: bool,
        dead: u32,
    ) -> &'static str {
        if !self.holders.contains_key(&holder) {
            return "unknown";
        }
        for number in numbers {
            let Some((_, leases)) = self.holders.get_mut(&holder) else {
                continue;
            };
            let Some(element) = leases.remove(number) else {
                continue;
            };
            self.hold(&element, -1);
            let (events, _) = events_of(&element);
            if damaged {
                self.book("quarantined", events);
                self.book("quarantined_records", 1);
                self.quarantine.push(element);
            } else {
                let dead = i64::from(dead).min(events);
                self.book("dead_letters", dead);
                self.book("confirmed", events - dead);
            }
        }
        "ok"
    }

    pub(crate) fn put_back(&mut self, holder: usize, mut numbers: Vec<u64>) -> i64 {
        numbers.sort_unstable_by(|a, b| b.cmp(a));
        let mut count = 0;
        for number in numbers {
            let leases = self.holders.get_mut(&holder);
            let Some(element) = leases.and_then(|(_, leases)| leases.remove(&number)) else {
                continue;
            };
            self.hold(&element, -1);
            match events_of(&element) {
                (_, true) => self.wait(&element, 1),
                (events, false) => self.book("foreign", -events),
            }
            self.list.push_front(element);
            count += 1;
        }
        count
    }

    pub(crate) fn reclaim(&mut self, holder: usize, own: bool) -> &'static str {
        let Some((_, leases)) = self.holders.get(&holder) else {
            return "unknown";
        };
        if !own && self.beating.contains_key(&holder) {
            return "alive";
        }
        let numbers = leases.keys().copied().collect();
        self.beating.remove(&holder);
        let count = self.put_back(holder, numbers);
        self.holders.remove(&holder);
        if !own {
            self.book("reclaimed_batches", count);
        }
        "ok"
    }
}
