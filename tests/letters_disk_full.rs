//! A disk that takes no more: the change is not made, and the store goes on by itself
//! when there is room. Alone in its program, for it limits the whole process.

mod letters_support;

use letters_support::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use stashgate::dead_letter::store::Filed;
use tokio::signal::unix::{SignalKind, signal};

/// Linux's number of the signal that comes with `EFBIG`.
const SIGXFSZ: i32 = 25;

#[tokio::test]
async fn what_the_disk_does_not_take_is_not_filed_and_is_later() {
    // With somebody to listen, the signal does not end the process.
    let _listening = signal(SignalKind::from_raw(SIGXFSZ)).expect("listens");
    let folder = tempfile::tempdir().expect("a folder");
    let store = table_at(folder.path(), options());
    file(&store, (0..1000).map(refused)).await;
    let len = std::fs::metadata(folder.path().join("letters.redb"))
        .expect("is there")
        .len();

    let before = getrlimit(Resource::Fsize);
    let limited = Rlimit {
        current: Some(len),
        ..before
    };
    setrlimit(Resource::Fsize, limited).expect("sets");
    let mut next = 1000;
    let error = loop {
        match store.file((next..next + 1000).map(refused).collect()).await {
            Ok(_) => next += 1000,
            Err(error) => break error,
        }
        assert!(next < 1_000_000, "the file does not grow");
    };
    assert!(error.to_string().contains("letters.redb"), "{error}");
    assert!(store.summary().trouble.is_some());
    // What is there can be read, though nothing can be added.
    assert_eq!(held(&store).await.len() as u64, next);

    setrlimit(Resource::Fsize, before).expect("sets");
    let again = filed(&store, (next..next + 1000).map(refused)).await;
    assert_eq!(again, vec![Filed::Kept; 1000]);
    assert_eq!(logstash(&store).held, next + 1000);
    assert_eq!(names(&store).await.len() as u64, next + 1000);
}
