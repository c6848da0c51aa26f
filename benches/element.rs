//! What an element of a Redis list costs: encoding and decoding, compressed and
//! not, for batches of varied events. Prints the bytes an event too.

use std::hint::black_box;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use stashgate::batch::{Batch, BatchId, UnixMillis};
use stashgate::spool::redis::element::{Compression, Element, decode, encode};

const WORDS: [&str; 12] = [
    "order", "payment", "timeout", "user", "cache", "session", "retry", "shard", "failed",
    "accepted", "customer", "upstream",
];

/// Events of several services: ids, addresses and numbers that do not repeat.
fn varied(events: usize) -> Batch {
    let mut random = fastrand::Rng::with_seed(11);
    let payload: String = (0..events).map(|i| event(i, &mut random)).collect();
    Batch {
        id: BatchId::generate(),
        accepted_at: UnixMillis::now(),
        events: events as u32,
        payload: Bytes::from(payload),
        payload_hash: 1,
        rejected: [].into(),
        own_metadata: false,
        foreign: false,
        timestamps: stashgate::batch::Timestamps::None,
        origin: stashgate::batch::Origin::Accepted,
    }
}

fn event(number: usize, random: &mut fastrand::Rng) -> String {
    let time = format!(
        "2026-11-21T20:{:02}:{:02}.{:06}Z",
        random.u32(..60),
        random.u32(..60),
        random.u32(..1_000_000)
    );
    let word = WORDS[random.usize(..WORDS.len())];
    let text: Vec<_> = (0..random.usize(3..14))
        .map(|_| WORDS[random.usize(..WORDS.len())])
        .collect();
    let text = text.join(" ");
    let (id, more) = (random.u128(..), random.u64(..));
    let (a, b, c) = (random.u8(..), random.u8(..), random.u32(..5_000_000));
    match number % 3 {
        0 => format!(
            "{{\"@timestamp\":\"{time}\",\"log\":{{\"level\":\"info\",\"logger\":\"com.acme.{word}.Handler\"}},\
             \"trace\":{{\"id\":\"{id:032x}\"}},\"client\":{{\"ip\":\"10.{a}.{b}.7\"}},\"user_agent\":\"Mozilla/5.0 \
             (Windows NT 10.0; Win64; x64) Chrome/130.0.0.0\",\"http\":{{\"path\":\"/v1/{word}/{b}\",\"status\":200}},\
             \"duration_us\":{c}}}\n"
        ),
        1 => format!(
            "{{\"@timestamp\":\"{time}\",\"level\":\"WARN\",\"service\":\"{word}\",\"message\":\"{text} {c}\",\
             \"request_id\":\"{id:032x}\",\"attempt\":{a},\"host\":\"ip-10-{a}-{b}-7\"}}\n"
        ),
        _ => format!(
            "{{\"@timestamp\":\"{time}\",\"kubernetes\":{{\"pod\":\"{word}-{more:016x}\",\"namespace\":\"prod\"}},\
             \"stream\":\"stderr\",\"message\":\"{id:032x}: {text}\",\"metrics\":{{\"p50\":{a}.{b},\"p99\":{c}}}}}\n"
        ),
    }
}

fn elements(criterion: &mut Criterion) {
    for events in [10, 500] {
        let batch = varied(events);
        let mut group = criterion.benchmark_group(format!("element of {events} events"));
        group.throughput(Throughput::Elements(events as u64));
        for compression in [Compression::None, Compression::Zstd] {
            let element = Bytes::from(encode(&batch, compression));
            println!("{compression:?}: {} bytes an event", element.len() / events);
            group.bench_function(format!("encode, {compression:?}"), |b| {
                b.iter(|| encode(black_box(&batch), compression));
            });
            group.bench_function(format!("decode, {compression:?}"), |b| {
                b.iter(|| match decode(black_box(element.clone())) {
                    Element::Record(_, payload) => payload.block().expect("expands"),
                    other => panic!("{other:?}"),
                });
            });
        }
    }
}

criterion_group!(benches, elements);
criterion_main!(benches);
