//! What a replay is asked to do, and how far it is: the form in the API, in the status and
//! in the file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::batch::{QueueName, UnixMillis};

/// What somebody wants to be sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// The queue whose archive is read.
    pub queue: QueueName,
    /// The queue that gets the events; the same if there is none.
    pub to_queue: Option<QueueName>,
    /// What was accepted at this time or later; `None`: all that is kept.
    pub from: Option<UnixMillis>,
    /// What was accepted before this time; never after the replay was asked for.
    pub to: Option<UnixMillis>,
    /// Only events for which this jq expression gives neither `false` nor `null`.
    #[serde(rename = "where")]
    pub filter: Option<String>,
    /// Most events a second.
    pub rate: Option<u64>,
    /// Only count, until somebody says `resume`.
    pub dry_run: bool,
}

impl Wanted {
    /// The queue that gets the events.
    pub fn target(&self) -> &QueueName {
        self.to_queue.as_ref().unwrap_or(&self.queue)
    }
}

/// A replay.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its number, from 1.
    pub id: u64,
    /// What it is to do; `to` is the fixed upper bound.
    #[serde(flatten)]
    pub wanted: Wanted,
    /// What it is doing.
    pub state: State,
    /// What it waits for, why it failed, or what it could not send.
    pub reason: Option<String>,
    /// When it was asked for.
    pub created_at: UnixMillis,
    /// When it came to its end.
    pub ended_at: Option<UnixMillis>,
    /// If it was to begin earlier: since when batches are kept.
    pub kept_since: Option<UnixMillis>,
    /// What there is to send; it grows while that is being counted.
    pub counted: Counted,
    /// How far it is.
    pub sent: Sent,
    /// Events that were counted and had gone when they were to be sent; known at the end.
    pub missing_events: u64,
    /// How many events it goes through in a second; 0 unless it runs.
    pub events_per_second: f64,
    /// How long it will take as fast as this.
    pub seconds_left: Option<f64>,
}

/// What a replay is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Its turn will come: one runs at a time.
    Waiting,
    /// It finds out how much there is.
    Counting,
    /// It was only to count; `resume` has it sent.
    Counted,
    /// It sends.
    Running,
    /// Somebody stopped it for a while.
    Paused,
    /// All is sent, or rather: in the queue.
    Done,
    /// Somebody stopped it for good.
    Cancelled,
    /// It cannot go on; `resume` tries again.
    Failed,
}

impl State {
    /// Those that are not over.
    pub const OPEN: [Self; 6] = [
        Self::Waiting,
        Self::Counting,
        Self::Counted,
        Self::Running,
        Self::Paused,
        Self::Failed,
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Counting => "counting",
            Self::Counted => "counted",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }

    /// Whether nothing more happens unless somebody asks for it.
    pub fn rests(self) -> bool {
        !matches!(self, Self::Waiting | Self::Counting | Self::Running)
    }

    /// Whether it is over for good.
    pub fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Cancelled)
    }
}

/// What the archive has of what is wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Counted {
    /// Batches.
    pub batches: u64,
    /// Their events.
    pub events: u64,
    /// Length of the events, in bytes.
    pub bytes: u64,
    /// Events that the expression picks; all of them without one.
    pub matching_events: u64,
    /// Events that the expression fails on: they are not sent.
    pub failed_events: u64,
    /// Events that others put into Redis as plain JSON: they have no stable id, so they
    /// become new documents each time they are sent.
    pub foreign_events: u64,
    /// What is damaged: in events in the journal, in elements in Redis.
    pub unreadable: u64,
    /// When the oldest batch was accepted.
    pub oldest: Option<UnixMillis>,
    /// When the newest batch was accepted.
    pub newest: Option<UnixMillis>,
    /// Of each day (UTC), written `2026-11-20`.
    pub days: BTreeMap<String, Day>,
}

/// What was accepted on a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Day {
    /// Batches.
    pub batches: u64,
    /// Their events.
    pub events: u64,
    /// Length of the events, in bytes.
    pub bytes: u64,
}

/// What a replay has gone through.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Sent {
    /// Events that it has read.
    pub read_events: u64,
    /// Batches that it put into the queue.
    pub batches: u64,
    /// Their events. What a crash has it put there twice counts once.
    pub events: u64,
    /// Events that the expression did not pick.
    pub left_out: u64,
    /// Events that the expression failed on.
    pub failed: u64,
}

impl Job {
    pub(super) fn new(id: u64, wanted: Wanted) -> Self {
        Self {
            id,
            wanted,
            state: State::Waiting,
            reason: None,
            created_at: UnixMillis::now(),
            ended_at: None,
            kept_since: None,
            counted: Counted::default(),
            sent: Sent::default(),
            missing_events: 0,
            events_per_second: 0.0,
            seconds_left: None,
        }
    }

    /// Events that it has not gone through.
    pub fn remaining_events(&self) -> u64 {
        match self.state.is_over() {
            true => 0,
            false => self.counted.events.saturating_sub(self.sent.read_events),
        }
    }
}
