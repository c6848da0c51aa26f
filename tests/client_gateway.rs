//! The client against the real gateway.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/sink.rs"]
mod sink;
#[path = "support/wire.rs"]
mod wire;

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use gateway::{PATIENCE, Setup, eventually};
use rustix::process::Signal;
use sink::Sink;
use stashgate::client::{Batch, Client, Compression, Gather, Outcome, PushError, SendError, State};
use stashgate::proto::RejectReason;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::Code;
use wire::Wire;

fn connect(to: SocketAddr) -> Client {
    Client::connect(&format!("http://{to}")).expect("an address")
}

fn batch(seqs: std::ops::Range<u64>) -> Batch {
    let lines: String = seqs
        .map(|seq| format!("{{\"seq\":{seq},\"text\":\"text that can be compressed\"}}\n"))
        .collect();
    Batch::new(lines)
}

async fn send(client: &Client, batch: Batch) -> Outcome {
    let answer = client.send(batch).await.expect("open");
    timeout(PATIENCE, answer).await.expect("answered in time")
}

/// A batcher whose outcomes can be awaited.
fn batcher(
    client: &Client,
    gather: Gather,
) -> (stashgate::client::Batcher, mpsc::UnboundedReceiver<Outcome>) {
    let (told, outcomes) = mpsc::unbounded_channel();
    let events = client.batcher(gather, move |outcome| {
        let _ = told.send(outcome);
    });
    (events, outcomes)
}

#[tokio::test]
async fn a_batch_is_answered_and_arrives() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let _gateway = setup.start_and_wait().await;
    let client = connect(setup.grpc);
    let receipt = send(&client, batch(0..100)).await.expect("durable");
    assert_eq!((receipt.accepted, receipt.rejected.len()), (100, 0));
    eventually("the events arrive", || sink.distinct() == 100).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn a_rejected_event_is_named_by_its_place_and_its_batch_goes_on() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let _gateway = setup.start_and_wait().await;
    let client = connect(setup.grpc);
    let lines = "{\"seq\":0}\n\n[1,2]\n\r\n{\"seq\":1}\n{broken\n";
    let receipt = send(&client, Batch::new(lines)).await.expect("durable");
    assert_eq!(receipt.accepted, 2);
    let rejected: Vec<_> = receipt
        .rejected
        .iter()
        .map(|event| (receipt.batch.event(event.index), event.reason, event.kept))
        .collect();
    assert_eq!(
        rejected,
        [
            (Some(&b"[1,2]"[..]), RejectReason::NotAnObject, true),
            (Some(&b"{broken"[..]), RejectReason::InvalidJson, true),
        ]
    );
    let report = client.close().await.expect("closed once");
    assert_eq!((report.accepted, report.rejected), (2, 2));
    assert!(!report.all_accepted());
}

#[tokio::test]
async fn after_a_lost_answer_the_batch_is_sent_again_and_keeps_its_ids() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let _gateway = setup.start_and_wait().await;
    let wire = Wire::to(setup.grpc).await;
    let client = connect(wire.address);
    wire.swallow_answers();
    let answer = client.send(batch(0..10)).await.expect("open");
    eventually("the batch is stored and forwarded", || {
        sink.distinct() == 10
    })
    .await;
    wire.cut();
    let receipt = timeout(PATIENCE, answer).await.expect("in time");
    assert_eq!(receipt.expect("durable").accepted, 10);
    let report = client.close().await.expect("closed once");
    assert_eq!((report.accepted, report.resent), (10, 1));
    let twenty = |status: &serde_json::Value| status.to_string().contains("\"confirmed\":20");
    let until = std::time::Instant::now() + PATIENCE;
    while !twenty(&setup.status().await) {
        assert!(
            std::time::Instant::now() < until,
            "{}",
            setup.status().await
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(sink.faults(), Vec::<String>::new(), "two ids");
}

#[tokio::test]
async fn no_more_is_unanswered_than_the_window_holds() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let gateway = setup.start_and_wait().await;
    let client = Client::builder(&setup.url())
        .window(3, 1 << 20)
        .connect()
        .expect("an address");
    send(&client, batch(0..1)).await.expect("durable");
    gateway.signal(Signal::STOP);
    let mut answers = Vec::new();
    for seq in 1..4 {
        answers.push(client.send(batch(seq..seq + 1)).await.expect("open"));
    }
    {
        let mut fourth = std::pin::pin!(client.send(batch(4..5)));
        let waits = timeout(Duration::from_millis(300), &mut fourth).await;
        assert!(waits.is_err(), "a fourth batch fits into a window of three");
        gateway.signal(Signal::CONT);
        answers.push(
            timeout(PATIENCE, fourth)
                .await
                .expect("room")
                .expect("open"),
        );
    }
    for answer in answers {
        answer.await.expect("durable");
    }
    eventually("the events arrive", || sink.distinct() == 5).await;
}

#[tokio::test]
async fn a_full_gateway_is_waited_for_until_it_has_drained() {
    let blocked = TcpListener::bind("127.0.0.1:0").expect("a port");
    let setup = Setup::new(
        blocked.local_addr().expect("bound"),
        "[limits]\nmax_batch_bytes = \"64KiB\"\nmax_event_bytes = \"16KiB\"\n\
         [queues.logstash]\nmax_bytes = \"64KiB\"",
    );
    let _gateway = setup.start_and_wait().await;
    let client = Client::builder(&setup.url())
        .window(4, 1 << 20)
        .connect()
        .expect("an address");
    let mut state = client.state();
    let sender = tokio::spawn(async move {
        let mut answers = Vec::new();
        for first in (0..2_400).step_by(200) {
            answers.push(client.send(batch(first..first + 200)).await.expect("open"));
        }
        for answer in answers {
            answer.await.expect("durable");
        }
        client.close().await.expect("closed once")
    });
    let full = state.wait_for(|state| matches!(state, State::Retrying { .. }));
    let full = timeout(PATIENCE, full).await.expect("it fills up");
    eprintln!("{:?}", *full.expect("the client runs"));
    let sink = Sink::serve(blocked);
    let report = timeout(PATIENCE, sender)
        .await
        .expect("drained")
        .expect("no panic");
    assert_eq!(report.accepted, 2_400);
    assert!(report.resent > 0 && report.all_accepted(), "{report:?}");
    eventually("the events arrive", || sink.distinct() == 2_400).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
}

#[tokio::test]
async fn what_the_gateway_will_never_take_comes_back_whole() {
    let sink = Sink::start();
    let setup = Setup::new(
        sink.address,
        "[limits]\nmax_batch_events = 50\nmax_batch_bytes = \"64KiB\"\nmax_event_bytes = \"16KiB\"",
    );
    let _gateway = setup.start_and_wait().await;
    let client = connect(setup.grpc);
    let too_many = batch(0..51);
    let too_large = Batch::new(format!("{{\"text\":\"{}\"}}\n", "x".repeat(65 << 10)));
    // Above what the transport takes: the gateway ends the whole stream.
    let huge = Batch::new(format!("{{\"text\":\"{}\"}}\n", "x".repeat(20 << 20)));
    let mut answers = vec![client.send(batch(100..110)).await.expect("open")];
    for batch in [&too_many, &too_large, &huge] {
        answers.push(client.send(batch.clone()).await.expect("open"));
    }
    answers.push(client.send(batch(110..120)).await.expect("open"));
    let mut outcomes = Vec::new();
    for answer in answers {
        outcomes.push(timeout(PATIENCE, answer).await.expect("in time"));
    }
    assert_eq!(outcomes.pop().expect("five").expect("durable").accepted, 10);
    for batch in [huge, too_large, too_many] {
        let failed = outcomes.pop().expect("five").expect_err("too large");
        eprintln!("{failed}");
        assert_eq!(failed.batch, batch);
        assert!(matches!(failed.error, SendError::Refused { .. }));
    }
    assert!(outcomes.pop().expect("five").is_ok());
}

#[tokio::test]
async fn a_queue_that_is_not_there_is_refused() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let _gateway = setup.start_and_wait().await;
    let client = Client::builder(&setup.url())
        .queue("nobody")
        .connect()
        .expect("an address");
    let failed = send(&client, batch(0..1)).await.expect_err("no such queue");
    let SendError::Refused { code, message } = failed.error else {
        panic!("{failed:?}");
    };
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("nobody"), "{message}");
}

#[tokio::test]
async fn compressed_batches_arrive_and_are_smaller_on_the_wire() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let _gateway = setup.start_and_wait().await;
    let mut sent = 0;
    let mut bytes = Vec::new();
    for compression in [Compression::None, Compression::Gzip, Compression::Zstd] {
        let wire = Wire::to(setup.grpc).await;
        let client = Client::builder(&format!("http://{}", wire.address))
            .compression(compression)
            .connect()
            .expect("an address");
        send(&client, batch(sent..sent + 1_000))
            .await
            .expect("durable");
        sent += 1_000;
        bytes.push(wire.to_gateway());
    }
    eventually("the events arrive", || sink.distinct() == 3_000).await;
    assert!(
        bytes[0] > 3 * bytes[1] && bytes[0] > 3 * bytes[2],
        "{bytes:?}"
    );
}

#[tokio::test]
async fn single_events_are_sent_when_they_are_many_or_old() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let _gateway = setup.start_and_wait().await;
    let client = connect(setup.grpc);
    let never = Duration::from_secs(3_600);
    let by_count = Gather {
        events: 10,
        age: never,
        ..Gather::default()
    };
    let (events, mut outcomes) = batcher(&client, by_count);
    for seq in 0..25 {
        let event = format!("{{\n  \"seq\": {seq}\r\n}}");
        events.push(event.as_bytes()).await.expect("taken");
    }
    for _ in 0..2 {
        let outcome = timeout(PATIENCE, outcomes.recv()).await.expect("in time");
        assert_eq!(outcome.expect("told").expect("durable").accepted, 10);
    }
    assert!(
        outcomes.try_recv().is_err(),
        "five are neither many nor old"
    );
    events.flush().await.expect("open");
    let rest = outcomes.try_recv().expect("told before flush returns");
    assert_eq!(rest.expect("durable").accepted, 5);

    let by_age = Gather {
        age: Duration::from_millis(30),
        ..Gather::default()
    };
    let (events, mut outcomes) = batcher(&client, by_age);
    for seq in 25..27 {
        let event = format!("{{\"seq\":{seq}}}");
        events.push(event.as_bytes()).await.expect("taken");
        let outcome = timeout(PATIENCE, outcomes.recv()).await.expect("by age");
        assert_eq!(outcome.expect("told").expect("durable").accepted, 1);
    }
    eventually("the events arrive", || sink.distinct() == 27).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
    assert_eq!(events.push(b" \n").await, Err(PushError::Blank));
}

#[tokio::test]
async fn a_push_that_is_cancelled_while_it_waits_has_taken_nothing() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let client = Client::builder(&setup.url())
        .window(1, 1 << 20)
        .connect()
        .expect("an address");
    let one_each = Gather {
        events: 1,
        age: Duration::from_secs(3_600),
        ..Gather::default()
    };
    let (events, _outcomes) = batcher(&client, one_each);
    // One in the window, one in the open block: the third has to wait.
    for seq in 0..2 {
        let event = format!("{{\"seq\":{seq}}}");
        events.push(event.as_bytes()).await.expect("taken");
    }
    let third = timeout(Duration::from_millis(100), events.push(b"{\"seq\":2}"));
    assert!(third.await.is_err(), "there is no gateway to take it");
    let _gateway = setup.start_and_wait().await;
    events.flush().await.expect("open");
    let report = client.close().await.expect("closed once");
    assert_eq!(report.accepted, 2);
    eventually("the events arrive", || sink.distinct() == 2).await;
    assert!(!sink.has(2));
}

#[tokio::test]
async fn closing_waits_for_every_answer_and_then_takes_nothing_more() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let client = connect(setup.grpc);
    let other = client.clone();
    for seq in 0..10 {
        client.send(batch(seq..seq + 1)).await.expect("open");
    }
    let closing = tokio::spawn(client.close());
    let _gateway = setup.start_and_wait().await;
    let report = timeout(PATIENCE, closing).await.expect("in time");
    let report = report.expect("no panic").expect("closed once");
    assert_eq!((report.batches, report.accepted), (10, 10));
    let unsent = batch(10..11);
    let closed = other.send(unsent.clone()).await.expect_err("closed");
    assert_eq!(closed.0, unsent);
    assert!(other.close().await.is_err());
}

#[tokio::test]
async fn a_batch_that_was_given_up_can_be_sent_later_under_its_id() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let client = Client::builder(&setup.url())
        .give_up_after(Duration::from_secs(3))
        .connect()
        .expect("an address");
    let failed = send(&client, batch(0..5)).await.expect_err("no gateway");
    assert!(failed.to_string().contains("refused"), "{failed}");
    let _gateway = setup.start_and_wait().await;
    let patient = connect(setup.grpc);
    let receipt = send(&patient, failed.batch.clone()).await.expect("durable");
    assert_eq!(receipt.batch.id(), failed.batch.id());
    eventually("the events arrive", || sink.distinct() == 5).await;
}

#[tokio::test]
async fn a_client_that_is_dropped_still_delivers_what_it_was_given() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let client = connect(setup.grpc);
    let (events, _outcomes) = batcher(&client, Gather::default());
    client.send(batch(0..1)).await.expect("open");
    events.push(b"{\"seq\":1}").await.expect("taken");
    drop((client, events));
    let _gateway = setup.start_and_wait().await;
    eventually("the events arrive", || sink.distinct() == 2).await;
}

#[tokio::test]
async fn a_gateway_that_stops_properly_loses_no_batch_of_a_client() {
    let sink = Sink::start();
    let setup = Setup::new(sink.address, "");
    let gateway = setup.start_and_wait().await;
    let client = connect(setup.grpc);
    let sender = tokio::spawn(async move {
        for seq in 0..2_000 {
            client.send(batch(seq..seq + 1)).await.expect("open");
        }
        client.close().await.expect("closed once")
    });
    eventually("events arrive", || sink.distinct() > 100).await;
    assert_eq!(gateway.terminate().await, Some(0));
    let _gateway = setup.start_and_wait().await;
    let report = timeout(PATIENCE, sender).await.expect("in time");
    assert_eq!(report.expect("no panic").accepted, 2_000);
    eventually("the events arrive", || sink.distinct() == 2_000).await;
    assert_eq!(sink.faults(), Vec::<String>::new());
}
