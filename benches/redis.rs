//! What a batch of 500 events costs through a real Redis on this machine: appended,
//! leased and acknowledged; and what `RPUSH` and `LPOP` of the same bytes cost alone.
//! Needs `redis-server`; without it, it says so and measures nothing.

mod load;

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use deadpool_redis::redis::{self, cmd};
use load::{EVENTS, append, batch, drain, payload};
use stashgate::batch::QueueName;
use stashgate::spool::Spool;
use stashgate::spool::redis::element::{Compression, encode};
use stashgate::spool::redis::{Options, QueueOptions, Redis, ServerOptions};

const BATCHES: usize = 128;

/// A server in a folder of its own, ended when dropped.
struct Server {
    process: Child,
    port: u16,
    _dir: tempfile::TempDir,
}

impl Server {
    /// `None`: there is no redis-server.
    fn start(more: &[&str]) -> Option<Self> {
        let dir = tempfile::tempdir().expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        drop(listener);
        let process = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(port.to_string())
            .args(more)
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .spawn()
            .ok()?;
        let server = Self {
            process,
            port,
            _dir: dir,
        };
        while server.connect().is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Some(server)
    }

    fn connect(&self) -> redis::RedisResult<redis::Connection> {
        redis::Client::open(self.url())?.get_connection()
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// CPU seconds that it used.
    fn cpu(&self) -> f64 {
        let info: redis::InfoDict = cmd("INFO")
            .arg("cpu")
            .query(&mut self.connect().expect("connected"))
            .expect("answered");
        let of = |name| info.get::<f64>(name).unwrap_or_default();
        of("used_cpu_sys") + of("used_cpu_user")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn open(server: &Server, compression: Compression, pipeline_depth: usize) -> Spool {
    let options = Options {
        server: ServerOptions {
            url: server.url(),
            ..ServerOptions::default()
        },
        queues: vec![QueueOptions {
            name: QueueName::default(),
            max_bytes: 1 << 40,
            ordered: false,
        }],
        max_bytes: 1 << 40,
        max_in_flight_bytes: 64 << 20,
        shards: 1,
        pipeline_depth,
        heartbeat: Duration::from_secs(30),
        min_replicas: 0,
        max_event_bytes: 1 << 20,
        archive: stashgate::spool::redis::archive::ArchiveOptions::OFF,
        local_archive: None,
        compression,
    };
    Spool::Redis(Redis::open(options).await.expect("opens"))
}

fn redis_benches(c: &mut Criterion) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let payload = payload();
    let mut group = c.benchmark_group("redis");
    group.throughput(Throughput::Elements(BATCHES as u64 * EVENTS));
    let kinds: [(&str, &[&str]); 2] = [
        ("memory", &["--appendonly", "no"]),
        (
            "synced",
            &["--appendonly", "yes", "--appendfsync", "always"],
        ),
    ];
    for (kind, settings) in kinds {
        let Some(server) = Server::start(settings) else {
            println!("there is no redis-server: nothing is measured");
            return;
        };
        for compression in [Compression::None, Compression::Zstd] {
            for (callers, depth) in [(1, 4), (64, 1), (64, 4), (64, 8)] {
                let spool = runtime.block_on(open(&server, compression, depth));
                let name = format!("append_lease_ack/{kind}/{compression:?}/{callers}/{depth}");
                let (before, mut cycles) = (server.cpu(), 0);
                group.bench_function(name, |b| {
                    b.iter(|| {
                        cycles += 1;
                        runtime.block_on(async {
                            append(&spool, &payload, BATCHES, callers).await;
                            drain(&spool, BATCHES).await;
                        });
                    });
                });
                let millions = (cycles * BATCHES as u64 * EVENTS) as f64 / 1e6;
                let cpu = (server.cpu() - before) / millions;
                println!("                        Redis: {cpu:.3} CPU seconds a million events");
                runtime.block_on(spool.close());
            }
        }
        let element = encode(&batch(&payload), Compression::None);
        let mut connection = server.connect().expect("connected");
        group.bench_function(format!("bare_push_pop/{kind}"), |b| {
            b.iter(|| bare(&mut connection, &element));
        });
    }
    group.finish();
}

/// The same bytes in and out, without anything that makes it safe.
fn bare(connection: &mut redis::Connection, element: &[u8]) {
    const AT_ONCE: usize = 16;
    for _ in 0..BATCHES / AT_ONCE {
        let mut push = cmd("RPUSH");
        push.arg("bare");
        for _ in 0..AT_ONCE {
            push.arg(element);
        }
        push.query::<u64>(connection).expect("pushed");
        let mut pop = cmd("LPOP");
        let popped: Vec<Vec<u8>> = pop
            .arg("bare")
            .arg(AT_ONCE)
            .query(connection)
            .expect("popped");
        assert_eq!(popped.len(), AT_ONCE);
    }
}

criterion_group!(benches, redis_benches);
criterion_main!(benches);
