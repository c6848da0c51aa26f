//! The number of allocations a batch takes does not depend on its number of
//! events.

#![allow(missing_docs)]

mod receiver_support;

use allocation_counter::measure;
use bytes::Bytes;
use receiver_support::Gateway;
use stashgate::dead_letter::Source;
use stashgate::receiver::intake::{Patience, Payload};

/// Allocations of the receiving thread for a block of so many lines; the least of
/// some runs, for a queue that grows now and then is not the batch's doing.
fn allocations(gateway: &Gateway, lines: usize) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    let block = Bytes::from("{\"message\":\"hello\",\"n\":1}\n".repeat(lines));
    let run = || {
        let payload = Payload::Ndjson(block.clone());
        let counted = measure(|| {
            let taken =
                gateway
                    .intake
                    .take(Source::Tcp, "logstash", payload, None, Patience::UntilRoom);
            let taken = runtime.block_on(taken).expect("taken");
            assert_eq!(taken.accepted as usize, lines);
        });
        counted.count_total
    };
    (0..10).map(|_| run()).min().expect("some runs")
}

#[test]
fn a_block_takes_as_many_allocations_however_many_lines_it_has() {
    let gateway = Gateway::new();
    let few = allocations(&gateway, 500);
    let many = allocations(&gateway, 5000);
    assert_eq!(few, many);
    assert!(few < 64, "{few} allocations for a batch");
}
