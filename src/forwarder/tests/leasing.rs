//! Leases that take a while.

use super::*;
use crate::forwarder::leasing::Leasing;
use crate::spool::LeaseError;

#[tokio::test]
async fn a_lease_that_reads_the_disk_is_begun_once() {
    let mut queue = Queue::to(&[nobody()]);
    queue.put(2, 10).await;
    let first = queue.spool.lease(&QueueName::default()).await;
    let second = queue.spool.lease(&QueueName::default()).await;
    second.expect("leased").ack(0).await.expect("settled");
    // Out at the end, and before one that is settled: its header is on disk only.
    queue.reopen().await;
    drop(first);
    queue.start();
    let forwarder = queue.forwarder.clone().expect("started");
    let mut leasing = Leasing::new(forwarder.work.clone());
    let lease = loop {
        if let Some(lease) = leasing.try_next().await {
            break lease.expect("leased");
        }
        tokio::task::yield_now().await;
    };
    assert_eq!((lease.header().events, lease.attempts()), (10, 0));
    assert!(leasing.try_next().await.is_none());
    queue.spool.close().await;
    let closed = leasing.next().await.map(|lease| lease.header().events);
    assert_eq!(closed, Err(LeaseError::Closed));
}
