//! Replays over a journal, as the gateway runs them: what retention takes meanwhile, a disk
//! that fails, a stop, a file that cannot be kept.

mod journal_support;

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use journal_support::disk::Disk;
use journal_support::*;
use stashgate::batch::{Origin, QueueName, UnixMillis};
use stashgate::jq::Runner;
use stashgate::replay::{Command, Job, Refused, Replays, State, Wanted};
use stashgate::spool::Spool;
use stashgate::spool::journal::Options;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The name of a program that is not there.
const PROGRAM: &str = "stashgate";

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
        Self::with(|_| ())
    }

    fn with(change: impl FnOnce(&mut Options)) -> Self {
        let dir = folder();
        let mut options = options(dir.path());
        options.segment_bytes = 700;
        options.retention = Duration::from_secs(3600);
        change(&mut options);
        Self::open((dir, Disk::new(), options))
    }

    fn open((dir, disk, options): (TempDir, Arc<Disk>, Options)) -> Self {
        let spool = open_on(&disk, &options);
        let runner = Runner::starting(dir.path().join(PROGRAM));
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
        self.restart_after(|_| ()).await
    }

    /// With `change` in between.
    async fn restart_after(mut self, change: impl FnOnce(&mut Self)) -> Self {
        self.closing.cancel();
        self.spool.close().await;
        (&mut self.running).await.expect("ended");
        change(&mut self);
        drop((self.spool, self.replays));
        Self::open((self.dir, self.disk, self.options))
    }

    /// Where the program lies that expressions are asked in.
    fn program(&self) -> PathBuf {
        self.dir.path().join(PROGRAM)
    }

    /// The file with the list.
    fn file(&self) -> PathBuf {
        self.dir.path().join("replays.json")
    }

    async fn start(&self, change: impl FnOnce(&mut Wanted)) -> u64 {
        let mut wanted = all();
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

/// All there is.
fn all() -> Wanted {
    Wanted {
        queue: queue(),
        to_queue: None,
        from: None,
        to: None,
        filter: None,
        rate: None,
        dry_run: false,
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
    // It would take some ten seconds.
    let id = place.start(|wanted| wanted.rate = Some(40)).await;
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
    let file = place.file();
    std::fs::create_dir(&file).expect("in its place");
    let refused = place.replays.start(all()).await;
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
        filter: Some(".a".into()),
        ..all()
    };
    let refused = place.replays.start(wanted).await;
    assert!(matches!(refused, Err(Refused::Jq(_))), "{refused:?}");
}

#[tokio::test]
async fn an_expression_that_cannot_be_asked_now_is_asked_later() {
    let place = Place::new();
    append_numbers(&place.spool, 0..10).await;
    ack_numbers(&place.spool, 0..10).await;
    symlink(env!("CARGO_BIN_EXE_stashgate"), place.program()).expect("a link");
    let id = place
        .start(|wanted| {
            wanted.filter = Some(".event == 0".into());
            wanted.dry_run = true;
        })
        .await;
    let counted = place.wait_for(id, State::Counted).await.counted;
    assert_eq!(counted.matching_events, 10);
    std::fs::remove_file(place.program()).expect("removed");
    let resumed = place.replays.command(id, Command::Resume).await;
    resumed.expect("counted");
    until("it says why", || place.job(id).reason.is_some()).await;
    assert_eq!(place.job(id).state, State::Running);
    symlink(env!("CARGO_BIN_EXE_stashgate"), place.program()).expect("a link");
    let done = place.wait_for(id, State::Done).await;
    assert_eq!((done.sent.events, done.reason), (10, None));
}

#[tokio::test]
async fn what_was_only_to_be_counted_is_not_sent_after_a_crash() {
    let place = Place::new();
    append_numbers(&place.spool, 0..10).await;
    ack_numbers(&place.spool, 0..10).await;
    let id = place.start(|wanted| wanted.dry_run = true).await;
    place.wait_for(id, State::Counted).await;
    // So it stands there when the count is just over.
    let just_counted = |place: &mut Place| {
        let kept = std::fs::read_to_string(place.file()).expect("kept");
        assert!(kept.contains("\"counted\",\"reason"), "{kept}");
        let kept = kept.replace("\"counted\",\"reason", "\"counting\",\"reason");
        std::fs::write(place.file(), kept).expect("written");
    };
    let place = place.restart_after(just_counted).await;
    until("it is at its end", || place.job(id).state.rests()).await;
    assert_eq!(place.job(id).state, State::Counted);
    assert_eq!(stats(&place.spool).ledger.replayed, 0);
}

#[tokio::test]
async fn a_queue_that_is_gone_from_the_settings_fails_the_replay_until_it_is_back() {
    let other: QueueName = "other".parse().expect("a name");
    let with_other = (other.clone(), 1 << 40);
    let place = Place::with(|options| options.queues.push(with_other.clone()));
    append_numbers(&place.spool, 0..10).await;
    ack_numbers(&place.spool, 0..10).await;
    let id = place
        .start(|wanted| {
            wanted.to_queue = Some(other.clone());
            wanted.dry_run = true;
        })
        .await;
    place.wait_for(id, State::Counted).await;
    let both = place.options.queues.clone();
    let mut place = place;
    // One of them it reads, to the other it sends.
    for gone in [queue(), other] {
        let without = |place: &mut Place| place.options.queues.retain(|(name, _)| *name != gone);
        place = place.restart_after(without).await;
        let resumed = place.replays.command(id, Command::Resume).await;
        resumed.expect("it rests");
        let failed = place.wait_for(id, State::Failed).await;
        let reason = failed.reason.expect("told");
        assert!(reason.contains(&format!("no queue `{gone}`")), "{reason}");
        place = place
            .restart_after(|place| place.options.queues = both.clone())
            .await;
    }
    let resumed = place.replays.command(id, Command::Resume).await;
    resumed.expect("failed");
    let done = place.wait_for(id, State::Done).await;
    assert_eq!((done.sent.batches, done.missing_events), (10, 0));
}

#[tokio::test]
async fn a_replay_leaves_the_room_of_a_full_queue_to_live_traffic() {
    const LIMIT: u64 = 2_000;
    let other: QueueName = "other".parse().expect("a name");
    let place = Place::with(|options| options.queues.push((other.clone(), LIMIT)));
    append_numbers(&place.spool, 0..64).await;
    ack_numbers(&place.spool, 0..64).await;
    let mut live = 0;
    let full = loop {
        let room = place.spool.permit(&other, 100, Some(Duration::ZERO)).await;
        match room {
            Ok(permit) => permit.append(batch(live)).await.expect("appended"),
            Err(full) => break full,
        };
        live += 1;
    };
    let id = place
        .start(|wanted| wanted.to_queue = Some(other.clone()))
        .await;
    until("it says why", || place.job(id).reason.is_some()).await;
    let job = place.job(id);
    assert_eq!(job.reason, Some(full.to_string()));
    assert_eq!((job.state, job.sent.events), (State::Running, 0));
    let done = || place.job(id).state == State::Done;
    let mut order = Vec::new();
    while order.len() < live as usize + 64 {
        let leased = place.spool.lease(&other).await.expect("leased");
        let payload = leased.payload().await.expect("readable");
        order.push(number(leased.header(), &payload));
        leased.ack(0).await.expect("settled");
    }
    until("done", done).await;
    assert_eq!(order, (0..live).chain(0..64).collect::<Vec<_>>());
}
