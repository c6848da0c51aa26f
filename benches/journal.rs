//! What a batch of 500 events costs in the journal: durable, and without the
//! disk's part of it.

mod load;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use load::{EVENTS, append, drain, journal, payload};
use stashgate::spool::journal::Sync;

const BATCHES: usize = 128;

fn journal_benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let payload = payload();
    let mut group = c.benchmark_group("journal");
    group.throughput(Throughput::Elements(BATCHES as u64 * EVENTS));
    for (name, sync) in [("synced", Sync::Batch), ("unsynced", Sync::Os)] {
        for callers in [1, 64] {
            let dir = tempfile::tempdir().expect("a folder");
            let spool = journal(dir.path(), sync);
            group.bench_function(format!("append_lease_ack/{name}/{callers}"), |b| {
                b.iter(|| {
                    runtime.block_on(async {
                        append(&spool, &payload, BATCHES, callers).await;
                        drain(&spool, BATCHES).await;
                    });
                });
            });
            runtime.block_on(spool.close());
        }
    }
    group.finish();
}

criterion_group!(benches, journal_benches);
criterion_main!(benches);
