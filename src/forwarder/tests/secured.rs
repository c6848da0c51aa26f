//! TLS on the way to Logstash.

use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;

use super::*;
use crate::forwarder::beats::{self, Beats, Pace};
use crate::pki::{Authority, Front};
use crate::tls::{ClientSettings, server_config};

/// A Logstash behind TLS, and a queue that sends to it and trusts its authority.
struct Secured {
    folder: TempDir,
    authority: Authority,
    logstash: Logstash,
    front: Front,
    queue: Queue,
}

impl Secured {
    /// Its certificate is for `name`; with `mutual` it asks for one of ours.
    async fn new(name: &str, mutual: bool) -> Self {
        let folder = TempDir::new().expect("folder");
        let authority = Authority::new(folder.path(), "ca");
        let logstash = Logstash::start().await;
        let own = authority.certify(name);
        let clients = authority.file();
        let clients = mutual.then_some(clients.as_path());
        let config = server_config(&own.cert, &own.key, clients).expect("serves");
        let front = Front::start(config, logstash.address()).await;
        let mut queue = Queue::to(&[front.address]);
        queue.output.confirm = Confirm::Written;
        queue.output.tls = trusting(&authority.file());
        Self {
            folder,
            authority,
            logstash,
            front,
            queue,
        }
    }

    /// Waits until `what` is said of the endpoint; nothing was delivered.
    async fn fails_with(mut self, what: &str) {
        self.queue.start();
        self.queue.put(2, 5).await;
        let said = |e: &EndpointStatus| e.last_error.as_ref().is_some_and(|e| e.contains(what));
        self.queue.wait_for(said).await;
        assert_eq!(
            (
                self.queue.stats().ledger.confirmed,
                self.logstash.received()
            ),
            (0, 0)
        );
        assert_eq!(self.queue.kept_letters(), 0);
    }
}

fn trusting(authority: &Path) -> ClientSettings {
    ClientSettings {
        enabled: true,
        ca_file: Some(authority.to_owned()),
        ..ClientSettings::default()
    }
}

#[tokio::test]
async fn events_arrive_through_tls_whatever_their_number() {
    let mut secured = Secured::new("127.0.0.1", false).await;
    secured.queue.start();
    secured.queue.put(50, 2000).await;
    secured.logstash.sink().wait_for(0..100_000).await;
    secured.queue.settled().await;
    assert_eq!(secured.logstash.sink().faults(), 0);
}

#[tokio::test]
async fn a_blocked_logstash_behind_tls_is_waited_for() {
    let mut secured = Secured::new("127.0.0.1", false).await;
    secured.logstash.script(Script::Stall);
    secured.queue.timing.connect = Duration::from_millis(200);
    secured.queue.start();
    // More than the kernel holds for all connections.
    for n in 0..2_000 {
        let text = "x".repeat(20_000);
        let line = format!("{{\"n\":{n},\"text\":\"{text}\"}}\n");
        secured.queue.put_payload(line, 1).await;
    }
    secured.queue.wait_for_state(EndpointState::Blocked).await;
    // Its threads are all taken: it does not even shake hands.
    secured.front.silent.store(true, Relaxed);
    sleep(secured.queue.timing.alive * 4).await;
    let endpoint = secured.queue.endpoints().remove(0);
    assert_eq!(endpoint.consecutive_failures, 0, "{endpoint:?}");
    secured.logstash.script(Script::Read);
    secured.queue.settled().await;
    secured.logstash.sink().wait_for(0..2_000).await;
}

#[tokio::test]
async fn a_logstash_that_asks_for_our_certificate_gets_it() {
    let mut secured = Secured::new("127.0.0.1", true).await;
    let own = secured.authority.certify("gateway.example");
    secured.queue.output.tls.cert_file = Some(own.cert);
    secured.queue.output.tls.key_file = Some(own.key);
    secured.queue.start();
    secured.queue.put(3, 5).await;
    secured.logstash.sink().wait_for(0..15).await;
}

#[tokio::test]
async fn without_the_certificate_it_asks_for_nothing_is_delivered_and_nothing_confirmed() {
    let secured = Secured::new("127.0.0.1", true).await;
    secured
        .fails_with("CertificateRequired; the peer's log says more")
        .await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_not_trusted() {
    let mut secured = Secured::new("127.0.0.1", false).await;
    let other = Authority::new(secured.folder.path(), "other");
    secured.queue.output.tls = trusting(&other.file());
    secured.fails_with("tls.ca_file").await;
}

#[tokio::test]
async fn a_certificate_for_another_name_is_taken_only_if_that_name_is_expected() {
    let secured = Secured::new("logstash.example", false).await;
    secured.fails_with("name it in tls.server_name").await;
    let mut secured = Secured::new("logstash.example", false).await;
    secured.queue.output.tls.server_name = Some("logstash.example".into());
    secured.queue.start();
    secured.queue.put(1, 5).await;
    secured.logstash.sink().wait_for(0..5).await;
}

#[tokio::test]
async fn a_port_without_tls_is_said_to_be_one() {
    let mut secured = Secured::new("127.0.0.1", false).await;
    let plain = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = plain.local_addr().expect("bound");
    secured.queue.output.hosts = vec![address.to_string()];
    let _talker = tokio::spawn(async move {
        while let Ok((mut stream, _)) = plain.accept().await {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, b"220 hello\r\n").await;
        }
    });
    secured.fails_with("whether TLS is switched on").await;
}

#[tokio::test]
async fn a_port_that_is_silent_in_tls_holds_nothing_in_hand() {
    let mut secured = Secured::new("127.0.0.1", false).await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("bound");
    let address = silent.local_addr().expect("bound");
    secured.queue.output.hosts = vec![address.to_string(), secured.front.address.to_string()];
    secured.queue.timing.connect = Duration::from_millis(200);
    secured.queue.start();
    secured.queue.put(10, 5).await;
    secured.queue.settled().await;
    secured
        .queue
        .wait_for(|e| {
            e.last_error
                .as_ref()
                .is_some_and(|e| e.contains("no TLS: no answer"))
        })
        .await;
}

#[tokio::test]
async fn lumberjack_over_tls_is_acknowledged_and_a_blocked_logstash_waited_for() {
    let folder = TempDir::new().expect("folder");
    let authority = Authority::new(folder.path(), "ca");
    let beats = Beats::start_with(beats::Script::Block, Pace::default()).await;
    let own = authority.certify("127.0.0.1");
    let config = server_config(&own.cert, &own.key, None).expect("serves");
    let front = Front::start(config, beats.address()).await;
    let mut queue = Queue::by_lumberjack(&[front.address]);
    queue.output.tls = trusting(&authority.file());
    let mut queue = queue.started();
    // Longer than what TLS and the kernels hold.
    let long = "x".repeat(8 << 20);
    let batch = format!("{{\"n\":0,\"long\":\"{long}\"}}\n{{\"n\":1}}\n");
    queue.put_payload(batch, 2).await;
    queue.wait_for_state(EndpointState::Blocked).await;
    beats.script(beats::Script::Ack);
    queue.settled().await;
    assert_eq!(beats.sink().order(), [0, 1]);
}
