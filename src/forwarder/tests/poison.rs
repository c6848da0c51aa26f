//! Events that the far side cannot take, and what must not be mistaken for them.

use super::*;

const POISON: &str = "poison";

#[tokio::test]
async fn a_poison_event_ends_as_the_only_dead_letter() {
    let logstash = Logstash::start_with(Script::ResetOn(POISON), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(5, 20).await;
    queue.put_marked(20, 7, POISON).await;
    queue.put(5, 20).await;
    let stats = queue.settled().await;
    assert_eq!(
        (stats.ledger.confirmed, stats.ledger.dead_letters),
        (219, 1)
    );
    assert_eq!((queue.kept_letters(), stats.unaccounted_events()), (1, 0));
    logstash.sink().assert_has(0..107);
    logstash.sink().assert_has(108..220);
    assert_eq!(logstash.sink().missing(0..220), [107]);
}

/// What was returned from the dead letters has its id and its attempt in itself.
#[tokio::test]
async fn a_returned_event_that_is_poison_again_is_a_letter_of_that_attempt() {
    let logstash = Logstash::start_with(Script::ResetOn(POISON), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    let returned =
        format!("{{\"@metadata\":{{\"_id\":\"own-7\",\"attempt\":2}},\"text\":\"{POISON}\"}}\n");
    queue.put_payload(returned, 1).await;
    queue.put(1, 10).await;
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, stats.ledger.dead_letters), (10, 1));
    assert!(queue.letters_say("\"attempt\":2"));
    assert!(queue.letters_say("\"id\":\"own-7\""));
}

#[tokio::test]
async fn a_poison_event_that_is_a_whole_batch_ends_as_a_dead_letter() {
    let logstash = Logstash::start_with(Script::ResetOn(POISON), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put_marked(1, 0, POISON).await;
    queue
        .wait_for(|endpoint| endpoint.consecutive_failures > 5)
        .await;
    assert_eq!(queue.kept_letters(), 0, "nothing else was confirmed yet");
    queue.put(1, 10).await;
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, stats.ledger.dead_letters), (10, 1));
}

#[tokio::test]
async fn a_port_that_breaks_every_connection_condemns_nothing() {
    let logstash = Logstash::start_with(Script::ResetOn("{"), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(10, 10).await;
    queue
        .wait_for(|endpoint| endpoint.consecutive_failures > 20)
        .await;
    assert_eq!(queue.kept_letters(), 0);
    logstash.script(Script::Read);
    let stats = queue.settled().await;
    assert_eq!((stats.ledger.confirmed, queue.kept_letters()), (100, 0));
}

#[tokio::test]
async fn an_event_at_which_the_whole_peer_dies_is_not_condemned() {
    let logstash = Logstash::start_with(Script::CrashOn(POISON), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]).started();
    queue.put(5, 20).await;
    queue.put_marked(20, 7, POISON).await;
    let dies_often = async {
        while logstash.crashes() < 20 {
            queue.put(1, 10).await;
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, dies_often).await.expect("dies often");
    assert_eq!(queue.kept_letters(), 0);
    logstash.script(Script::Read);
    queue.settled().await;
    logstash.sink().assert_has(0..queue.next);
    assert_eq!(queue.kept_letters(), 0);
}

#[tokio::test]
async fn a_batch_is_not_let_go_while_its_dead_letter_cannot_be_kept() {
    let logstash = Logstash::start_with(Script::ResetOn(POISON), Arc::default()).await;
    let mut queue = Queue::to(&[logstash.address()]);
    let folder = TempDir::new().expect("folder");
    queue.letters = DeadLetters::open(folder.path(), 1 << 20, u64::MAX).expect("opens");
    let mut queue = queue.started();
    queue.put_marked(20, 7, POISON).await;
    queue.put(5, 20).await;
    let innocent = async {
        let sink = logstash.sink();
        sink.wait_for(0..7).await;
        sink.wait_for(8..120).await;
        while queue.stats().ledger.confirmed < 100 {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(DEADLINE, innocent).await.expect("confirmed");
    // All that is left to do is to keep the letter.
    sleep(Duration::from_millis(200)).await;
    let stats = queue.drain().await;
    assert_eq!((stats.ledger.confirmed, stats.waiting_events), (100, 20));
    assert_eq!(
        (stats.ledger.dead_letters, stats.unaccounted_events()),
        (0, 0)
    );
}
