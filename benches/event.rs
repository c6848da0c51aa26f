//! What an event costs at the door and on the way out, against serde_json on
//! the same lines: 500 log events of about 300 bytes.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use serde::de::IgnoredAny;
use stashgate::batch::{Batch, BatchId, UnixMillis};
use stashgate::event::{Limits, Stamper, json_document, list, ndjson};
use stashgate::record::{Header, Place, decode_header, encode_header};

const EVENTS: usize = 500;

/// Log events as a web service writes them: 15 members, escapes, numbers, and
/// lengths that differ from event to event.
fn events(own_metadata: bool) -> Vec<Bytes> {
    let mut random = fastrand::Rng::with_seed(7);
    let levels = ["INFO", "WARN", "ERROR", "DEBUG"];
    let messages = [
        "GET /api/v1/orders completed",
        "payment provider answered late, retrying with backoff",
        "cache miss for key \\\"user:profile\\\"",
        "connection reset by peer",
    ];
    let metadata = if own_metadata {
        r#""@metadata":{"pipeline":"web"},"#
    } else {
        ""
    };
    let event = |_| {
        let level = levels[random.usize(..levels.len())];
        let message = messages[random.usize(..messages.len())];
        let second = random.u32(..60);
        let trace = random.u64(..);
        let user = random.u32(..1_000_000);
        let micros = random.u32(..100_000);
        format!(
            "{{{metadata}\"@timestamp\":\"2026-11-21T20:53:{second:02}.120Z\",\"level\":\"{level}\",\
             \"service\":\"checkout\",\"host\":{{\"name\":\"web-{user}\",\"ip\":\"10.0.3.17\"}},\
             \"trace_id\":\"{trace:016x}\",\"message\":\"{message}\",\"duration_ms\":{micros}.5,\
             \"status\":200,\"user_id\":{user},\"cached\":false,\"tags\":[\"http\",\"prod\"]}}"
        )
        .into()
    };
    (0..EVENTS).map(event).collect()
}

fn lines(events: &[Bytes]) -> Bytes {
    let mut block = events.join(&b"\n"[..]);
    block.push(b'\n');
    block.into()
}

fn header(block: &Bytes, own_metadata: bool) -> Header {
    let batch = Batch {
        id: BatchId::generate(),
        accepted_at: UnixMillis::now(),
        events: EVENTS as u32,
        payload: block.clone(),
        payload_hash: 1,
        rejected: [].into(),
        own_metadata,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    };
    let mut header = Vec::new();
    encode_header(&batch, Place::default(), &mut header);
    decode_header(&header).expect("decodes")
}

fn door(criterion: &mut Criterion) {
    let limits = Limits::default();
    let events = events(false);
    let block = lines(&events);
    let array: Bytes = [b"[", &events.join(&b","[..])[..], b"]"].concat().into();
    println!("{} bytes an event", block.len() / EVENTS);

    let mut group = criterion.benchmark_group("door");
    group.throughput(Throughput::Elements(EVENTS as u64));
    group.bench_function("ndjson", |b| {
        b.iter(|| ndjson(black_box(block.clone()), &limits).expect("valid"));
    });
    group.bench_function("list", |b| {
        b.iter(|| list(black_box(&events), &limits).expect("valid"));
    });
    group.bench_function("json_document", |b| {
        b.iter(|| json_document(black_box(array.clone()), &limits).expect("valid"));
    });
    let own = lines(&self::events(true));
    group.bench_function("ndjson, own metadata", |b| {
        b.iter(|| ndjson(black_box(own.clone()), &limits).expect("valid"));
    });
    group.bench_function("serde_json, line by line", |b| {
        b.iter(|| {
            for line in black_box(&events) {
                serde_json::from_slice::<IgnoredAny>(line).expect("valid");
            }
        });
    });
    group.finish();
}

fn stamp(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stamp");
    group.throughput(Throughput::Elements(EVENTS as u64));
    for (name, own_metadata) in [("plain", false), ("own metadata", true)] {
        let block = lines(&events(own_metadata));
        let header = header(&block, own_metadata);
        let mut out = Vec::new();
        group.bench_function(name, |b| {
            b.iter(|| {
                out.clear();
                Stamper::new(black_box(&header), true).stamp(black_box(&block), 0, &mut out);
                black_box(&out);
            });
        });
    }
    group.finish();
}

criterion_group!(benches, door, stamp);
criterion_main!(benches);
