//! A listener survives a process that has no file left. Alone in its program,
//! for it takes the files of the whole process away.

#![allow(missing_docs)]

mod receiver_support;

use std::time::Duration;

use receiver_support::tcp::{connect, finish, serve};
use receiver_support::{Gateway, until};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::AsyncWriteExt;

#[tokio::test]
async fn a_listener_without_files_waits_and_goes_on() {
    let gateway = Gateway::new();
    let (address, _task) = serve(&gateway, "logstash").await;
    let mut first = connect(address).await;
    first.write_all(b"{\"a\":1}\n").await.expect("writes");
    until("the first is served", || gateway.accepted("logstash") == 1).await;

    let before = getrlimit(Resource::Nofile);
    let open = std::fs::read_dir("/proc/self/fd").expect("lists");
    let highest = open
        .filter_map(|fd| fd.ok()?.file_name().to_str()?.parse::<u64>().ok())
        .max();
    // Room for the client's own socket and not for the gateway's, whatever gaps
    // there are below.
    let mut fillers = Vec::new();
    let limit = highest.expect("some") + 1;
    let none = Rlimit {
        current: Some(limit),
        ..before
    };
    setrlimit(Resource::Nofile, none).expect("sets");
    while let Ok(file) = std::fs::File::open("/dev/null") {
        fillers.push(file);
    }
    fillers.pop();
    let mut second = connect(address).await;
    second.write_all(b"{\"b\":2}\n").await.expect("writes");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(gateway.accepted("logstash"), 1, "there was a file left");

    drop(fillers);
    setrlimit(Resource::Nofile, before).expect("sets");
    finish(second).await.expect("a clean end");
    finish(first).await.expect("a clean end");
    assert_eq!(gateway.accepted("logstash"), 2);
}
