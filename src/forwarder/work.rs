//! What all workers of a queue share.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::aside::Aside;
use super::covered::Covered;
use super::duty::Orders;
use super::suspects::Suspects;
use super::timing::Timing;
use super::wire::Terms;
use crate::batch::QueueName;
use crate::config::Output;
use crate::dead_letter::DeadLetters;
use crate::log::SharedComplaints;
use crate::spool::Spool;
use crate::tls;

#[derive(Debug)]
pub(super) struct Work {
    pub(super) queue: QueueName,
    pub(super) output: Output,
    pub(super) tls: Option<tls::Client>,
    pub(super) orders: Orders,
    pub(super) terms: Terms,
    pub(super) spool: Spool,
    pub(super) letters: DeadLetters,
    pub(super) timing: Timing,
    pub(super) suspects: Suspects,
    pub(super) aside: Aside,
    pub(super) covered: Covered,
    /// The spool cannot be read.
    pub(super) unread: SharedComplaints,
    /// The spool does not take settlements.
    pub(super) unsettled: SharedComplaints,
    pub(super) tasks: TaskTracker,
    /// Nothing more is leased.
    pub(super) stop: CancellationToken,
    /// What is still in hand is given back.
    pub(super) give_up: CancellationToken,
}
