//! Replays over a journal, as the gateway runs them: what retention takes meanwhile, a disk
//! that fails, a stop, a file that cannot be kept.

mod journal_support;

use std::sync::Arc;
use std::time::Duration;

use journal_support::disk::Disk;
use journal_support::*;
use stashgate::batch::{Origin, UnixMillis};
use stashgate::jq::Runner;
use stashgate::replay::{Command, Job, Refused, Replays, State, Wanted};
use stashgate::spool::Spool;
use stashgate::spool::journal::Options;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A journal of small segments that keeps what is younger than an hour, and its replays.
struct Place {
    disk: Arc<Disk>,
    options: Options,
    spool: Spool,
    replays: Replays,
    closing: CancellationToken,
    running: JoinHandle<()>,
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        let dir = folder();
        let disk = Disk::new();
        let mut options = options(dir.path());
        options.segment_bytes = 700;
        options.retention = Duration::from_secs(3600);
        let spool = open_on(&disk, &options);
        Self::over((dir, disk, options), spool)
    }

    fn over((dir, disk, options): (TempDir, Arc<Disk>, Options), spool: Spool) -> Self {
        let runner = Runner::starting("no-such-program");
        let replays = Replays::open(dir.path(), spool.clone(), runner).expect("opens");
        let closing = CancellationToken::new();
        let running = tokio::spawn(replays.clone().run(closing.clone()));
        Self {
            disk,
            options,
            spool,
            replays,
            closing,
            running,
            dir,
        }
    }

    /// Stops as a gateway does, and starts again.
    async fn restart(self) -> Self {
        self.closing.cancel();
        self.spool.close().await;
        self.running.await.expect("ended");
        drop((self.spool, self.replays));
        let spool = open_on(&self.disk, &self.options);
        Self::over((self.dir, self.disk, self.options), spool)
    }

    async fn start(&self, change: impl FnOnce(&mut Wanted)) -> u64 {
        let mut wanted = Wanted {
            queue: queue(),
            to_queue: None,
            from: None,
            to: None,
            filter: None,
            rate: None,
            dry_run: false,
        };
        change(&mut wanted);
        // What is accepted in the millisecond of the start is not before it.
        let last = UnixMillis::now();
        until("a later time", || UnixMillis::now() > last).await;
        self.replays.start(wanted).await.expect("started").id
    }

    fn job(&self, id: u64) -> Job {
        self.replays.get(id).expect("there")
    }

    async fn wait_for(&self, id: u64, state: State) -> Job {
        until(state.as_str(), || self.job(id).state == state).await;
        self.job(id)
    }
}

#[tokio::test]
async fn a_replayed_batch_is_as_it_was() {
    let place = Place::new();
    let mut original = batch(3);
    original.accepted_at = UnixMillis(1_795_294_380_120);
    original.rejected = [1, 5].into();
    original.own_metadata = true;
    append(&place.spool, original.clone())
        .await
        .expect("appended");
    ack_numbers(&place.spool, 3..4).await;
    let id = place.start(|_| ()).await;
    let done = place.wait_for(id, State::Done).await;
    assert_eq!((done.sent.batches, done.sent.events), (1, 4));
    let (_, again) = lease_number(&place.spool).await;
    let header = again.header();
    assert_eq!(header.origin, Origin::Replayed);
    assert_eq!(
        (header.id, header.payload_hash),
        (original.id, original.payload_hash)
    );
    assert_eq!(
        (header.accepted_at, &header.rejected),
        (original.accepted_at, &original.rejected)
    );
    assert!(header.own_metadata);
}

#[tokio::test]
async fn what_retention_takes_between_count_and_sending_is_told() {
    let place = Place::new();
    for n in 0..30 {
        let mut batch = batch(n);
        batch.accepted_at.0 -= 2 * 3_600_000;
        append(&place.spool, batch).await.expect("appended");
    }
    append_numbers(&place.spool, 30..40).await;
    // What is not settled, and all behind it, stays.
    let (_, first) = lease_number(&place.spool).await;
    ack_numbers(&place.spool, 1..40).await;
    let id = place.start(|wanted| wanted.dry_run = true).await;
    let counted = place.wait_for(id, State::Counted).await.counted;
    assert_eq!(counted.batches, 40);
    first.ack(0).await.expect("settled");
    checkpoint(&place.spool).await;
    place
        .replays
        .command(id, Command::Resume)
        .await
        .expect("counted");
    let done = place.wait_for(id, State::Done).await;
    assert!(done.missing_events > 0 && done.sent.events > 0, "{done:?}");
    assert_eq!(done.sent.read_events + done.missing_events, counted.events);
    assert!(done.reason.expect("told").contains("gone"));
}

#[tokio::test]
async fn a_beginning_that_is_kept_no_longer_is_told() {
    let place = Place::new();
    append_numbers(&place.spool, 0..10).await;
    let from = UnixMillis(UnixMillis::now().0 - 3 * 3_600_000);
    let id = place.start(|wanted| wanted.from = Some(from)).await;
    let done = place.wait_for(id, State::Done).await;
    assert!(done.kept_since > Some(from), "{done:?}");
    checkpoint(&place.spool).await;
    let since = stats(&place.spool).stored_since;
    let id = place.start(|wanted| wanted.from = since).await;
    assert_eq!(place.wait_for(id, State::Done).await.kept_since, None);
}

#[tokio::test]
async fn a_replay_goes_on_after_a_stop_and_counts_nothing_twice() {
    let mut place = Place::new();
    append_numbers(&place.spool, 0..100).await;
    ack_numbers(&place.spool, 0..100).await;
    let whole: u64 = (0..100).map(|n| u64::from(batch(n).events)).sum();
    let id = place.start(|wanted| wanted.rate = Some(200)).await;
    let mut before = 0;
    for _ in 0..2 {
        until("it goes on", || place.job(id).sent.events > before).await;
        place = place.restart().await;
        before = place.job(id).sent.events;
        assert!(before > 0 && before < whole, "{before}");
    }
    let done = place.wait_for(id, State::Done).await;
    assert_eq!((done.sent.events, done.missing_events), (whole, 0));
    // What was put into the queue is what it says.
    assert_eq!(stats(&place.spool).ledger.replayed, whole);
    assert_eq!(drain(&place.spool).await, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_queue_that_takes_nothing_more_fails_the_replay_until_it_is_mended() {
    let place = Place::new();
    append_numbers(&place.spool, 0..10).await;
    ack_numbers(&place.spool, 0..10).await;
    place.disk.set(|faults| faults.sync = true);
    let id = place.start(|_| ()).await;
    let failed = place.wait_for(id, State::Failed).await;
    assert!(
        failed
            .reason
            .expect("told")
            .contains("disk operation failed")
    );
    place.disk.set(|faults| faults.sync = false);
    let place = place.restart().await;
    assert_eq!(place.job(id).state, State::Failed);
    place
        .replays
        .command(id, Command::Resume)
        .await
        .expect("failed");
    place.wait_for(id, State::Done).await;
    assert!(stats(&place.spool).oldest_unsettled.is_some());
}

#[tokio::test]
async fn an_archive_that_cannot_be_read_is_waited_for() {
    let place = Place::new();
    append_numbers(&place.spool, 0..10).await;
    ack_numbers(&place.spool, 0..10).await;
    place.disk.set(|faults| faults.read = true);
    let id = place.start(|_| ()).await;
    until("it says why", || place.job(id).reason.is_some()).await;
    assert_eq!(place.job(id).state, State::Counting);
    place.disk.set(|faults| faults.read = false);
    assert_eq!(place.wait_for(id, State::Done).await.reason, None);
}

#[tokio::test]
async fn what_cannot_be_kept_is_not_begun() {
    let place = Place::new();
    append_numbers(&place.spool, 0..10).await;
    ack_numbers(&place.spool, 0..10).await;
    let file = place.dir.path().join("replays.json");
    std::fs::create_dir(&file).expect("in its place");
    let wanted = Wanted {
        queue: queue(),
        to_queue: None,
        from: None,
        to: None,
        filter: None,
        rate: None,
        dry_run: false,
    };
    let refused = place.replays.start(wanted).await;
    assert!(matches!(refused, Err(Refused::NotKept(_))), "{refused:?}");
    assert!(place.replays.all().is_empty());
    std::fs::remove_dir(&file).expect("removed");
    let id = place.start(|_| ()).await;
    assert_eq!(id, 1);
    place.wait_for(id, State::Done).await;
}

#[tokio::test]
async fn an_expression_that_cannot_be_tried_is_refused() {
    let place = Place::new();
    let wanted = Wanted {
        queue: queue(),
        to_queue: None,
        from: None,
        to: None,
        filter: Some(".a".into()),
        rate: None,
        dry_run: false,
    };
    let refused = place.replays.start(wanted).await;
    assert!(matches!(refused, Err(Refused::Jq(_))), "{refused:?}");
}
