//! The gRPC receiver on real sockets, a real journal and real dead letters: its
//! two calls.

#![allow(missing_docs)]

mod receiver_support;

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use receiver_support::grpc::{batch, client, events, ndjson, serve};
use receiver_support::{Gateway, Setup, ended, quiet, until};
use stashgate::event::Limits;
use stashgate::proto::{AppendRequest, AppendResponse, RejectReason};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::{Code, Request, Status, Streaming};
use tonic_types::{RpcStatusExt, StatusExt};

const QUEUE: &str = "logstash";

#[tokio::test]
async fn an_answered_batch_is_in_the_spool_under_its_id() {
    let gateway = Gateway::new();
    let mut client = client(serve(&gateway).await.0).await;
    let pretty = "{\n  \"a\": 1,\r\n  \"b\": [\n    2\n  ]\n}";
    let request = AppendRequest {
        batch_id: Bytes::from_static(b"order-7"),
        ..events(&[pretty, "{\"c\":3}"])
    };
    let answer = client.append(request).await.expect("taken").into_inner();
    assert_eq!((answer.accepted, answer.rejected.len()), (2, 0));
    assert_eq!(answer.batch_id, &b"order-7"[..]);
    let stored = gateway.events(QUEUE, 2).await;
    let stored: serde_json::Value = serde_json::from_str(&stored[0]).expect("JSON");
    assert_eq!(stored, serde_json::json!({"a": 1, "b": [2]}));

    let answer = client.append(ndjson("{\"a\":1}\n{\"b\":2}\n")).await;
    let answer = answer.expect("taken").into_inner();
    assert_eq!((answer.accepted, answer.batch_id.len()), (2, 16));
    let stored = gateway.events(QUEUE, 2).await;
    assert_eq!(stored, ["{\"a\":1}", "{\"b\":2}"]);
}

#[tokio::test]
async fn a_bad_event_is_reported_and_kept_and_the_rest_is_taken() {
    let gateway = Gateway::new();
    let mut client = client(serve(&gateway).await.0).await;
    let deep = "[".repeat(200_000);
    let bad = [
        ("{\"a\":}", RejectReason::InvalidJson),
        ("[1]", RejectReason::NotAnObject),
        (deep.as_str(), RejectReason::TooDeep),
        ("{\"@metadata\":[]}", RejectReason::InvalidMetadata),
    ];
    let mut request = events(&["{\"n\":0}"]);
    for (event, _) in bad {
        request
            .events
            .push(Bytes::copy_from_slice(event.as_bytes()));
        request.events.push(Bytes::from_static(b"{\"n\":1}"));
    }
    request.events.push(Bytes::from_static(b"{\"\xff\":1}"));
    let answer = client.append(request).await.expect("taken").into_inner();
    assert_eq!(answer.accepted, 5);
    let reported: Vec<_> = answer
        .rejected
        .iter()
        .map(|r| (r.index, r.reason(), r.kept))
        .collect();
    let mut expected: Vec<_> = (0..4)
        .map(|n| (2 * n + 1, bad[n as usize].1, true))
        .collect();
    expected.push((9, RejectReason::InvalidUtf8, true));
    assert_eq!(reported, expected);
    assert!(answer.rejected.iter().all(|r| !r.detail.is_empty()));
    gateway.events(QUEUE, 5).await;
    let letters = gateway.dead_letters().await;
    assert_eq!(letters.len(), 5);
    assert_eq!(letters[0]["event"], "{\"a\":}");
    assert_eq!(letters[0]["source"], "grpc");
}

#[tokio::test]
async fn what_cannot_be_kept_is_reported_as_not_kept() {
    let gateway = Gateway::with(Setup {
        letters: 1,
        ..Setup::default()
    });
    let mut client = client(serve(&gateway).await.0).await;
    // The first one fills the budget.
    let request = events(&["no json"]);
    let answer = client.append(request).await.expect("taken").into_inner();
    assert!(answer.rejected[0].kept);
    let answer = client.append(events(&["no json", "{\"a\":1}"])).await;
    let answer = answer.expect("good traffic goes on").into_inner();
    assert_eq!(answer.accepted, 1);
    assert!(!answer.rejected[0].kept);
    assert_eq!(gateway.events(QUEUE, 1).await, ["{\"a\":1}"]);
}

#[tokio::test]
async fn a_batch_without_events_is_no_error() {
    let gateway = Gateway::new();
    let mut client = client(serve(&gateway).await.0).await;
    for request in [AppendRequest::default(), ndjson("\n\n"), events(&["x"])] {
        let answer = client.append(request).await.expect("taken").into_inner();
        assert_eq!(answer.accepted, 0);
        assert!(!answer.batch_id.is_empty());
    }
    gateway.assert_empty(QUEUE);
}

#[tokio::test]
async fn a_wrong_request_is_told_which_field_is_wrong() {
    let gateway = Gateway::with(Setup {
        limits: Limits {
            max_batch_bytes: 1000,
            max_batch_events: 10,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let mut client = client(serve(&gateway).await.0).await;
    let both = AppendRequest {
        ndjson: Bytes::from_static(b"{}\n"),
        ..events(&["{}"])
    };
    let long_id = AppendRequest {
        batch_id: vec![b'x'; 65].into(),
        ..events(&["{}"])
    };
    let large = ndjson(&"{\"large\":true}\n".repeat(90));
    let many = ndjson(&"{}\n".repeat(11));
    let long_list = events(&["{}"; 11]);
    for (request, field, word) in [
        (both, "ndjson", "both"),
        (batch("nowhere", "{}\n"), "queue", "[queues.NAME]"),
        (batch("../x", "{}\n"), "queue", "../x"),
        (long_id, "batch_id", "64"),
        (large, "events", "limits.max_batch_bytes"),
        (many, "events", "limits.max_batch_events"),
        (long_list, "events", "limits.max_batch_events"),
    ] {
        let status = client.append(request).await.expect_err(field);
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert!(status.message().contains(word), "{status:?}");
        let details = status.get_details_bad_request().expect("details");
        assert_eq!(details.field_violations[0].field, field);
        assert!(status.get_details_retry_info().is_none());
    }
    gateway.assert_empty(QUEUE);
}

/// Opens a stream; gives what sends its requests, and its answers.
async fn open_stream(
    gateway: &Gateway,
) -> (mpsc::Sender<AppendRequest>, Streaming<AppendResponse>) {
    let mut client = client(serve(gateway).await.0).await;
    let (requests, receiver) = mpsc::channel(64);
    let answers = client.append_stream(ReceiverStream::new(receiver)).await;
    (requests, answers.expect("opens").into_inner())
}

/// All answers by ordinal, and what the stream ended with.
async fn collect(
    mut answers: Streaming<AppendResponse>,
) -> (BTreeMap<u64, AppendResponse>, Option<Status>) {
    let mut by_ordinal = BTreeMap::new();
    loop {
        match answers.message().await {
            Ok(Some(answer)) => {
                let again = by_ordinal.insert(answer.ordinal, answer);
                assert!(again.is_none(), "one answer each");
            }
            Ok(None) => return (by_ordinal, None),
            Err(status) => return (by_ordinal, Some(status)),
        }
    }
}

#[tokio::test]
async fn every_message_of_a_stream_gets_one_answer_whatever_is_wrong_with_it() {
    let gateway = Gateway::new();
    let (requests, answers) = open_stream(&gateway).await;
    let answers = tokio::spawn(collect(answers));
    for n in 0..200_u32 {
        let request = match n % 10 {
            3 => events(&["no json", "{\"a\":1}"]),
            5 => batch("nowhere", "{}\n"),
            7 => AppendRequest {
                ndjson: Bytes::from_static(b"{}\n"),
                ..events(&["{}"])
            },
            8 => AppendRequest::default(),
            _ => ndjson(&format!("{{\"n\":{n}}}\n")),
        };
        let batch_id = Bytes::from(format!("batch-{n}"));
        let request = AppendRequest {
            batch_id,
            ..request
        };
        requests.send(request).await.expect("the stream is open");
    }
    drop(requests);
    let (answers, status) = ended(answers).await;
    assert!(status.is_none(), "{status:?}");
    assert_eq!(answers.len(), 200);
    for (ordinal, answer) in answers {
        assert_eq!(answer.batch_id, format!("batch-{ordinal}"));
        match ordinal % 10 {
            5 | 7 => {
                let error = answer.error.expect("refused");
                assert_eq!(error.code, i32::from(Code::InvalidArgument));
                assert!(error.get_details_bad_request().is_some());
                assert_eq!(answer.accepted, 0);
            }
            3 => assert_eq!((answer.accepted, answer.rejected[0].index), (1, 0)),
            8 => assert_eq!((answer.accepted, answer.error), (0, None)),
            _ => assert_eq!((answer.accepted, answer.error), (1, None)),
        }
    }
    let stored = gateway.events(QUEUE, 160 - 20).await;
    assert_eq!(stored.iter().filter(|e| *e == "{\"a\":1}").count(), 20);
    // In the order of the stream.
    let numbers: Vec<u32> = stored
        .iter()
        .filter_map(|event| {
            event
                .strip_prefix("{\"n\":")?
                .trim_end_matches('}')
                .parse()
                .ok()
        })
        .collect();
    assert_eq!(numbers.len(), 120);
    assert!(numbers.is_sorted(), "{numbers:?}");
}

#[tokio::test]
async fn a_stream_goes_on_while_its_answers_are_not_read() {
    let gateway = Gateway::new();
    let (requests, answers) = open_stream(&gateway).await;
    for n in 0..1000 {
        let request = ndjson(&format!("{{\"n\":{n}}}\n"));
        requests.send(request).await.expect("the stream is open");
    }
    drop(requests);
    let (answers, status) = collect(answers).await;
    assert!(status.is_none() && answers.len() == 1000);
    gateway.events(QUEUE, 1000).await;
}

#[tokio::test]
async fn a_full_queue_is_answered_with_when_to_try_again() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let mut client = client(serve(&gateway).await.0).await;
    let large = format!("{{\"x\":\"{}\"}}\n", "x".repeat(500));
    let mut request = Request::new(batch("tiny", &large));
    // A fifth of it is left for the answer.
    request.set_timeout(Duration::from_secs(10));
    let status = client.append(request).await.expect_err("full");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert!(status.message().contains("max_bytes"), "{status:?}");
    let retry = status.get_details_retry_info().expect("details");
    assert!(retry.retry_delay.is_some_and(|delay| !delay.is_zero()));
    // Other queues are not concerned.
    client.append(ndjson("{}\n")).await.expect("taken");
}

#[tokio::test]
async fn a_stream_to_a_full_queue_waits_for_room() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let (requests, mut answers) = open_stream(&gateway).await;
    let large = format!("{{\"x\":\"{}\"}}\n", "x".repeat(500));
    let request = batch("tiny", &large);
    requests.send(request).await.expect("open");
    while gateway.waiting("tiny") > 0 {
        gateway.lease("tiny").await;
    }
    let answer = answers.message().await.expect("goes on").expect("answers");
    assert_eq!((answer.accepted, answer.error), (1, None));
}

#[tokio::test]
async fn stopping_answers_what_is_in_hand_and_ends_streams_as_unavailable() {
    let gateway = Gateway::new();
    let (address, task) = serve(&gateway).await;
    let mut client = client(address).await;
    let (requests, receiver) = mpsc::channel(64);
    let answers = client.append_stream(ReceiverStream::new(receiver)).await;
    let answers = tokio::spawn(collect(answers.expect("opens").into_inner()));
    for _ in 0..10 {
        requests.send(ndjson("{}\n")).await.expect("open");
    }
    until("all are durable", || gateway.accepted(QUEUE) == 10).await;
    gateway.closing.cancel();
    let (answers, status) = ended(answers).await;
    assert_eq!(answers.len(), 10);
    let status = status.expect("a reason");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_details_retry_info().is_some());
    ended(task).await.expect("drains");
    gateway.events(QUEUE, 10).await;
}

#[tokio::test]
async fn stopping_refuses_a_call_that_waits_for_room() {
    let gateway = Gateway::new();
    gateway.fill_tiny().await;
    let (address, task) = serve(&gateway).await;
    let mut waiting = client(address).await;
    let large = format!("{{\"x\":\"{}\"}}\n", "x".repeat(500));
    let call = tokio::spawn(async move { waiting.append(batch("tiny", &large)).await });
    quiet().await;
    gateway.closing.cancel();
    let status = ended(call).await.expect_err("refused");
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
    ended(task).await.expect("drains");
}

#[tokio::test]
async fn requests_and_answers_may_be_compressed_by_gzip_and_zstd() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway).await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
        let mut client = client(address)
            .await
            .send_compressed(encoding)
            .accept_compressed(encoding);
        // Only an answer that is worth it is compressed.
        let bad = "no json\n".repeat(100) + "{}\n";
        let answer = client.append(ndjson(&bad)).await.expect("taken");
        let header = answer.metadata().get("grpc-encoding").expect("compressed");
        assert_eq!(header, &encoding.to_string());
        assert_eq!(answer.into_inner().rejected.len(), 100);

        let requests = tokio_stream::iter([ndjson("{}\n"), ndjson("{}\n")]);
        let answers = client.append_stream(requests).await.expect("opens");
        let (answers, status) = collect(answers.into_inner()).await;
        assert!(status.is_none() && answers.len() == 2, "{status:?}");
    }
    gateway.events(QUEUE, 6).await;
}

#[tokio::test]
async fn a_message_too_long_for_the_transport_is_refused_with_a_status() {
    let gateway = Gateway::with(Setup {
        limits: Limits {
            max_batch_bytes: 1 << 16,
            ..Limits::default()
        },
        ..Setup::default()
    });
    let (address, _task) = serve(&gateway).await;
    // 256 MiB of zeros are a few KiB of zstd.
    let bomb = AppendRequest {
        ndjson: vec![0; 256 << 20].into(),
        ..AppendRequest::default()
    };
    let mut client = client(address)
        .await
        .send_compressed(CompressionEncoding::Zstd);
    let status = client.append(bomb.clone()).await.expect_err("refused");
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");

    let requests = tokio_stream::iter([ndjson("{\"a\":1}\n"), bomb]);
    let answers = client.append_stream(requests).await.expect("opens");
    let (answers, status) = collect(answers.into_inner()).await;
    assert_eq!(answers.len(), 1, "what came before is answered");
    let status = status.expect("the stream cannot go on");
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    assert!(status.message().contains("limits.max_batch_bytes"));
    gateway.events(QUEUE, 1).await;
}
