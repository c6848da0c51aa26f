//! The journal against a plain model, under operations in any order: stops,
//! crashes and power cuts among them.

mod journal_support;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use journal_support::disk::{Disk, Survives};
use journal_support::*;
use proptest::prelude::*;
use stashgate::spool::journal::Options;
use stashgate::spool::{Lease, Spool};

#[derive(Debug, Clone)]
enum Op {
    /// So many batches, one after the other or all at once.
    Append {
        batches: u64,
        at_once: bool,
        old: bool,
    },
    Lease,
    /// What becomes of one of the leases.
    Ack(usize),
    Requeue(usize),
    Drop(usize),
    /// Cursor, retention.
    Checkpoint,
    Stop,
    /// The process ends; appends that nobody waits for are on their way.
    Crash {
        unanswered: u64,
    },
    PowerCut {
        unanswered: u64,
        torn: Option<u64>,
    },
}

fn op() -> impl Strategy<Value = Op> {
    let pick = 0..8usize;
    prop_oneof![
        6 => (1..5u64, any::<bool>(), any::<bool>())
            .prop_map(|(batches, at_once, old)| Op::Append { batches, at_once, old }),
        8 => Just(Op::Lease),
        6 => pick.clone().prop_map(Op::Ack),
        2 => pick.clone().prop_map(Op::Requeue),
        2 => pick.prop_map(Op::Drop),
        2 => Just(Op::Checkpoint),
        1 => Just(Op::Stop),
        1 => (0..3u64).prop_map(|unanswered| Op::Crash { unanswered }),
        2 => (0..3u64, proptest::option::of(any::<u64>()))
            .prop_map(|(unanswered, torn)| Op::PowerCut { unanswered, torn }),
    ]
}

/// What must hold, by the numbers of the batches.
#[derive(Debug, Default)]
struct Model {
    next: u64,
    /// Answered and not acknowledged.
    waiting: BTreeSet<u64>,
    /// May come, and need not: never answered, or acknowledged before a crash.
    perhaps: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    /// Sequences of batches that were leased before.
    seen: BTreeMap<u64, u64>,
}

struct Run {
    disk: Arc<Disk>,
    options: Options,
    spool: Option<Spool>,
    model: Model,
    leases: BTreeMap<u64, Lease>,
    /// Events of rounds that power cuts may have left in pieces.
    torn_events: u64,
    _dir: tempfile::TempDir,
}

impl Run {
    fn new(keep: bool) -> Self {
        let dir = folder();
        let disk = Disk::new();
        let mut options = options(dir.path());
        options.segment_bytes = 600;
        if !keep {
            options.retention = std::time::Duration::ZERO;
        }
        let spool = open_on(&disk, &options);
        Self {
            disk,
            options,
            spool: Some(spool),
            model: Model::default(),
            leases: BTreeMap::new(),
            torn_events: 0,
            _dir: dir,
        }
    }

    fn spool(&self) -> &Spool {
        self.spool.as_ref().expect("open")
    }

    async fn apply(&mut self, op: Op) {
        match op {
            Op::Append {
                batches,
                at_once,
                old,
            } => self.append(batches, at_once, old).await,
            Op::Lease => self.lease().await,
            Op::Ack(pick) => {
                if let Some((number, lease)) = self.pick(pick) {
                    lease.ack(0).await.expect("settled");
                    self.model.waiting.remove(&number);
                    self.model.perhaps.remove(&number);
                    self.model.acked.insert(number);
                }
            }
            Op::Requeue(pick) => {
                if let Some((_, lease)) = self.pick(pick) {
                    lease.requeue(false).await.expect("settled");
                }
            }
            Op::Drop(pick) => drop(self.pick(pick)),
            Op::Checkpoint => checkpoint(self.spool()).await,
            Op::Stop => {
                self.spool().close().await;
                self.reopen(None);
            }
            Op::Crash { unanswered } => {
                self.append_unanswered(unanswered).await;
                self.reopen(None);
                self.forget_acks();
            }
            Op::PowerCut { unanswered, torn } => {
                let first = self.model.next;
                self.append_unanswered(unanswered).await;
                let round = first..self.model.next;
                self.torn_events += round.map(|n| u64::from(batch(n).events)).sum::<u64>();
                self.reopen(Some(torn.map_or(Survives::Nothing, Survives::Some)));
                self.forget_acks();
            }
        }
        let now = stats(self.spool());
        let quarantined = now.ledger.quarantined;
        assert!(quarantined <= self.torn_events, "nothing was damaged");
        assert_eq!(now.leased_batches, self.leases.len() as u64);
    }

    async fn append(&mut self, batches: u64, at_once: bool, old: bool) {
        let numbers = self.model.next..self.model.next + batches;
        self.model.next = numbers.end;
        let make = |number| {
            let mut batch = batch(number);
            if old {
                batch.accepted_at.0 = 1;
            }
            batch
        };
        if at_once {
            let appends = numbers.clone().map(|number| {
                let spool = self.spool().clone();
                let batch = make(number);
                tokio::spawn(async move { append(&spool, batch).await })
            });
            for append in appends.collect::<Vec<_>>() {
                append.await.expect("ran").expect("appended");
            }
        } else {
            for number in numbers.clone() {
                append(self.spool(), make(number)).await.expect("appended");
            }
        }
        self.model.waiting.extend(numbers);
    }

    /// Gives batches away and does not wait for the answer.
    async fn append_unanswered(&mut self, batches: u64) {
        for _ in 0..batches {
            let number = self.model.next;
            self.model.next += 1;
            self.model.perhaps.insert(number);
            let permit = self.spool().permit(&queue(), 1, None).await.expect("room");
            let append = permit.append(batch(number));
            drop(tokio::time::timeout(std::time::Duration::ZERO, append).await);
        }
    }

    async fn lease(&mut self) {
        let now = stats(self.spool());
        if now.waiting_events == 0 {
            assert!(
                self.model
                    .waiting
                    .iter()
                    .all(|n| self.leases.contains_key(n))
            );
            return;
        }
        let (number, lease) = lease_number(self.spool()).await;
        let known = self.model.waiting.contains(&number) || self.model.perhaps.contains(&number);
        assert!(known, "{number} was settled or never appended");
        let sequence = lease.header().place.sequence;
        for held in self.leases.values() {
            assert_ne!(held.header().place.sequence, sequence, "leased twice");
        }
        for (older, at) in &self.model.seen {
            let waits = self.model.waiting.contains(older) && !self.leases.contains_key(older);
            assert!(!waits || *at >= sequence, "{older} waits, {number} came");
        }
        self.model.seen.insert(number, sequence);
        self.leases.insert(number, lease);
    }

    fn pick(&mut self, pick: usize) -> Option<(u64, Lease)> {
        let number = *self.leases.keys().nth(pick % self.leases.len().max(1))?;
        let lease = self.leases.remove(&number)?;
        Some((number, lease))
    }

    fn reopen(&mut self, power: Option<Survives>) {
        self.leases.clear();
        // The old journal ends, and with it its threads and its lock, first.
        self.spool = None;
        if let Some(survives) = power {
            self.disk.cut_power(survives);
        }
        self.spool = Some(open_on(&self.disk, &self.options));
    }

    /// What was acknowledged may come again: the cursor may be older.
    fn forget_acks(&mut self) {
        self.model.perhaps.append(&mut self.model.acked);
    }

    async fn finish(mut self) {
        for (_, lease) in std::mem::take(&mut self.leases) {
            lease.requeue(true).await.expect("settled");
        }
        let got = drain(self.spool()).await;
        let unique: BTreeSet<u64> = got.iter().copied().collect();
        assert_eq!(unique.len(), got.len(), "doubled: {got:?}");
        let missing: Vec<_> = self.model.waiting.difference(&unique).collect();
        assert!(missing.is_empty(), "lost: {missing:?}");
        for number in unique.difference(&self.model.waiting) {
            assert!(
                self.model.perhaps.contains(number),
                "{number} came from nowhere"
            );
        }
        let end = stats(self.spool());
        assert_eq!((end.waiting_bytes, end.oldest_unsettled), (0, None));
    }
}

proptest! {
    #[test]
    fn the_journal_does_what_the_model_does(
        ops in proptest::collection::vec(op(), 1..60),
        keep in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let mut run = Run::new(keep);
            for op in ops {
                run.apply(op).await;
            }
            run.finish().await;
        });
    }
}
