//! One connection to a scripted Logstash: bytes in, outcome out.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::confirm::by_close;
use super::probe::{Probed, probe};
use super::written::by_kernel;
use crate::forwarder::connect::Target;
use crate::forwarder::connection::{Connection, Seen};
use crate::forwarder::endpoint::{Endpoint, Link, LinkState};
use crate::forwarder::logstash::{DEADLINE, Fault, Logstash, Script};
use crate::forwarder::outcome::Unknown;
use crate::forwarder::status::EndpointState;
use crate::forwarder::timing::Timing;
use crate::forwarder::vigil::Vigil;

/// More than the kernels on both sides hold.
const MUCH: usize = 32 << 20;

struct Sender {
    logstash: Logstash,
    endpoint: Arc<Endpoint>,
    link: Link,
    timing: Timing,
}

impl Sender {
    async fn to(logstash: Logstash) -> Self {
        Self::with(logstash, unhurried())
    }

    fn with(logstash: Logstash, timing: Timing) -> Self {
        let stop = CancellationToken::new();
        let queue = crate::batch::QueueName::default();
        let address = logstash.address();
        let host = address.to_string();
        let endpoint = Endpoint::new(
            queue,
            host,
            Target::plain(address),
            &timing,
            stop,
            Default::default(),
        );
        let endpoint = Arc::new(endpoint);
        Self {
            logstash,
            link: Link::new(endpoint.clone()),
            endpoint,
            timing,
        }
    }

    fn vigil(&self) -> Vigil<'_> {
        Vigil {
            link: &self.link,
            timing: &self.timing,
        }
    }

    async fn connect(&self) -> Connection {
        let connection = Connection::open(&Target::plain(self.logstash.address()), DEADLINE).await;
        self.link.shows(LinkState::Open);
        connection.expect("connects")
    }

    async fn send(&self, lines: &[u8]) -> Result<Connection, Unknown> {
        let connection = self.connect().await;
        connection.write_all(lines, &self.vigil()).await?;
        by_close(connection, &self.vigil()).await
    }

    async fn wait_for_state(&self, state: EndpointState) {
        let reached = async {
            while self.endpoint.status().state != state {
                sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(DEADLINE, reached).await.expect("reaches the state");
    }
}

fn lines(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers
        .flat_map(|n| format!("{{\"n\":{n}}}\n").into_bytes())
        .collect()
}

/// On a busy machine an answer may take longer than the window.
fn unhurried() -> Timing {
    Timing {
        json_lines: super::Timing {
            window: DEADLINE,
            ..Default::default()
        },
        ..Timing::default()
    }
}

fn impatient() -> Timing {
    Timing {
        blocked: Duration::from_millis(50),
        alive: Duration::from_millis(150),
        json_lines: super::Timing {
            probe: Duration::from_secs(2),
            look: Duration::from_millis(10),
            window: DEADLINE,
            ..Default::default()
        },
        ..Timing::default()
    }
}

#[tokio::test]
async fn what_logstash_read_to_the_end_is_confirmed_and_the_new_connection_works() {
    let sender = Sender::to(Logstash::start().await).await;
    let next = sender.send(&lines(0..1000)).await.expect("confirmed");
    sender.logstash.sink().assert_has(0..1000);
    let vigil = sender.vigil();
    next.write_all(&lines(1000..1010), &vigil)
        .await
        .expect("written");
    by_close(next, &vigil).await.expect("confirmed");
    sender.logstash.sink().assert_has(0..1010);
}

#[tokio::test]
async fn what_a_stopping_logstash_took_and_lost_is_not_confirmed_though_it_closed_cleanly() {
    let mut sender =
        Sender::to(Logstash::start_with(Script::Stall, Default::default()).await).await;
    let connection = sender.connect().await;
    let vigil = sender.vigil();
    connection
        .write_all(&lines(0..1000), &vigil)
        .await
        .expect("written");
    sender.logstash.wait_for_connection().await;
    let (link, timing) = (&sender.link, &sender.timing);
    let vigil = Vigil { link, timing };
    let (outcome, ()) = tokio::join!(
        by_close(connection, &vigil),
        sender.logstash.stop(Duration::from_millis(300)),
    );
    assert!(
        matches!(outcome, Err(Unknown::ListenerGone(_))),
        "{outcome:?}"
    );
    assert_eq!(sender.logstash.sink().distinct(), 0);
    assert!(sender.logstash.received() > 0);
}

#[tokio::test]
async fn a_reset_in_mid_stretch_is_unknown() {
    let sender = Sender::to(Logstash::start().await).await;
    sender.logstash.faults([Fault::Reset]);
    let outcome = sender.send(&vec![b' '; MUCH]).await;
    assert!(matches!(outcome, Err(Unknown::Reset(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_fin_before_our_half_close_is_unknown() {
    let sender = Sender::to(Logstash::start().await).await;
    sender.logstash.faults([Fault::Close]);
    let connection = sender.connect().await;
    let vigil = sender.vigil();
    connection
        .write_all(b"{}\n", &vigil)
        .await
        .expect("written");
    let end = timeout(DEADLINE, connection.ended()).await.expect("ends");
    assert!(matches!(end, Unknown::ClosedEarly), "{end:?}");
    let outcome = by_close(connection, &vigil).await;
    assert!(matches!(outcome, Err(Unknown::ClosedEarly)), "{outcome:?}");
}

#[tokio::test]
async fn a_fin_while_bytes_are_unacknowledged_is_unknown() {
    let sender = Sender::to(Logstash::start().await).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = listener.local_addr().expect("bound");
    let connection = Connection::open(&Target::plain(address), DEADLINE)
        .await
        .expect("connects");
    let (mut peer, _) = listener.accept().await.expect("accepts");
    let much = vec![b' '; MUCH];
    let vigil = sender.vigil();
    let full = timeout(
        Duration::from_millis(200),
        connection.write_all(&much, &vigil),
    )
    .await;
    assert!(full.is_err(), "the kernels took it all");
    let half_closed = async {
        sleep(Duration::from_millis(100)).await;
        tokio::io::AsyncWriteExt::shutdown(&mut peer)
            .await
            .expect("half-closes");
    };
    let (outcome, ()) = tokio::join!(by_close(connection, &vigil), half_closed);
    assert!(
        matches!(outcome, Err(Unknown::Unacknowledged)),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_blocked_logstash_is_shown_asked_whether_it_lives_and_waited_for() {
    let stalled = Logstash::start_with(Script::Stall, Default::default()).await;
    let sender = Sender::with(stalled, impatient());
    let much: Vec<u8> = lines(0..10).into_iter().chain(vec![b'\n'; MUCH]).collect();
    let unblock = async {
        sender.wait_for_state(EndpointState::Blocked).await;
        sleep(sender.timing.alive * 4).await;
        assert_eq!(sender.endpoint.status().state, EndpointState::Blocked);
        sender.logstash.script(Script::Read);
    };
    let (outcome, ()) = tokio::join!(sender.send(&much), unblock);
    outcome.expect("confirmed");
    sender.logstash.sink().assert_has(0..10);
    assert_eq!(sender.endpoint.status().state, EndpointState::Open);
}

#[tokio::test]
async fn a_fin_that_comes_late_still_confirms() {
    let sender = Sender::with(Logstash::start().await, impatient());
    sender
        .logstash
        .faults([Fault::LateFin(Duration::from_millis(700))]);
    sender.send(&lines(0..10)).await.expect("confirmed");
}

#[tokio::test]
async fn a_host_that_makes_no_progress_and_listens_no_more_is_given_up() {
    let stalled = Logstash::start_with(Script::Stall, Default::default()).await;
    let mut sender = Sender::with(stalled, impatient());
    let connection = sender.connect().await;
    connection
        .write_all(b"{}\n", &sender.vigil())
        .await
        .expect("written");
    sender.logstash.wait_for_connection().await;
    sender.logstash.stop_listening().await;
    let outcome = timeout(DEADLINE, by_close(connection, &sender.vigil())).await;
    let outcome = outcome.expect("given up");
    assert!(matches!(outcome, Err(Unknown::Dead(_))), "{outcome:?}");
}

#[tokio::test]
async fn data_from_the_peer_changes_nothing() {
    let sender = Sender::to(Logstash::start().await).await;
    sender.logstash.faults([Fault::Chatter]);
    let connection = sender.connect().await;
    let vigil = sender.vigil();
    connection
        .write_all(&lines(0..1), &vigil)
        .await
        .expect("written");
    by_close(connection, &vigil).await.expect("confirmed");
}

#[tokio::test]
async fn a_look_sees_a_close_that_the_runtime_has_not_heard_of() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("bound");
    let connection = Connection::open(&Target::plain(address), DEADLINE)
        .await
        .expect("connects");
    assert_eq!(connection.look().expect("looks"), Seen::Open);
    drop(listener.accept().expect("accepts"));
    // Nothing is awaited here: the runtime's only thread does not turn.
    let begun = std::time::Instant::now();
    while connection.look().expect("looks") == Seen::Open {
        assert!(begun.elapsed() < DEADLINE);
    }
}

#[tokio::test]
async fn an_empty_half_close_tells_a_receiver_that_closes_from_one_that_does_not() {
    let sender = Sender::with(Logstash::start().await, impatient());
    let probed = probe(&sender.endpoint, &sender.timing).await;
    assert!(matches!(probed, Probed::Closes), "{probed:?}");
    sender.logstash.script(Script::NeverClose);
    let probed = probe(&sender.endpoint, &sender.timing).await;
    assert!(matches!(probed, Probed::DoesNotClose), "{probed:?}");
    let address = sender.logstash.address();
    drop(sender.logstash);
    let endpoint = Endpoint::new(
        crate::batch::QueueName::default(),
        address.to_string(),
        Target::plain(address),
        &sender.timing,
        CancellationToken::new(),
        Default::default(),
    );
    let gone = async {
        while !matches!(
            probe(&endpoint, &sender.timing).await,
            Probed::Unreachable(_)
        ) {}
    };
    timeout(DEADLINE, gone).await.expect("the listener is gone");
}

#[tokio::test]
async fn written_waits_until_the_peers_kernel_has_everything() {
    let stalled = Logstash::start_with(Script::Stall, Default::default()).await;
    let sender = Sender::with(stalled, impatient());
    let connection = sender.connect().await;
    let vigil = sender.vigil();
    // As much as our kernel takes at once; the stalled peer's takes less.
    let much = vec![b'\n'; MUCH];
    let full = timeout(
        Duration::from_millis(300),
        connection.write_all(&much, &vigil),
    )
    .await;
    assert!(full.is_err());
    sender.link.shows(LinkState::Open);
    let unblock = async {
        sender.wait_for_state(EndpointState::Blocked).await;
        sender.logstash.script(Script::Read);
    };
    let (outcome, ()) = tokio::join!(by_kernel(connection, &vigil), unblock);
    outcome.expect("written");
}
