//! Which batches may hold an event that the far side cannot take.
//!
//! A stretch that breaks is no news: Logstash restarts, networks fail. To condemn
//! an innocent event is worse than to send a guilty one many times. So a break
//! counts against what was sent only if all of this holds:
//!
//! 1. The peer broke the connection itself (an early FIN, a RST), or answered that
//!    it choked on what it got (HTTP 400, 500, 413 for a single event). A refused
//!    connect, silence, trouble of this machine and our own stop never count.
//! 2. A connect right after it succeeds. A Logstash that is being stopped has
//!    closed its listener two seconds before.
//! 3. Once a batch is sent alone: a witness, a second connection opened before
//!    and never written to, is still open a second later. A peer that
//!    restarts, crashes or is killed closes every connection it has; a peer that
//!    chokes on an event closes that one.
//! 4. To bisect and to condemn: the same address confirmed other events since
//!    the batch first broke. A port that breaks every connection (TLS, another
//!    protocol, a proxy without a backend) condemns nothing, however long. With
//!    `ordered`, where nothing can pass the batch, it has to have confirmed
//!    something since it last was away.
//!
//! The steps: two breaks of its stretch (1, 2), and a batch is sent alone; two more
//! breaks alone (1 to 3), and it is set aside (`aside`), so that others can be
//! confirmed, and then bisected: each part is sent alone; an event that breaks
//! twice alone becomes a dead letter. Consequences: an event that kills the whole
//! process of the peer is sent for ever; and in a quiet queue the verdict waits for
//! other events: an empty connection that is closed as it should be shows that
//! somebody listens, not that any event can be taken there. Both are shown as a
//! failing endpoint.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::recent::Recent;
use crate::record::Header;

/// Breaks of its stretch after which a batch is sent alone, breaks alone after
/// which it is bisected, and breaks after which a single event is condemned.
pub(super) const BREAKS: u32 = 2;

/// Far more than stretches hold, so that none of those that break again and again
/// is forgotten in between.
const MOST: usize = 1 << 16;

/// The batches of a queue that were in a stretch that broke, until they are
/// settled. One that is forgotten begins anew: it is sent, and nothing is lost.
#[derive(Debug)]
pub(super) struct Suspects(Mutex<Recent<Suspicion>>);

impl Default for Suspects {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(MOST)))
    }
}

#[derive(Debug, Clone, Copy)]
struct Suspicion {
    since: Instant,
    breaks: u32,
    breaks_alone: u32,
}

/// How a batch is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Treatment {
    /// In a stretch with others.
    Normal,
    /// In a stretch of its own.
    Alone,
    /// In parts, if the endpoint confirmed other events since.
    Bisect { since: Instant },
}

impl Suspects {
    fn known(&self) -> MutexGuard<'_, Recent<Suspicion>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn treatment(&self, header: &Header) -> Treatment {
        match self.known().get(header) {
            Some(s) if s.breaks_alone >= BREAKS => Treatment::Bisect { since: s.since },
            Some(s) if s.breaks >= BREAKS => Treatment::Alone,
            _ => Treatment::Normal,
        }
    }

    /// A stretch with this batch broke.
    pub(super) fn broke(&self, header: &Header) {
        self.suspicion(header, |suspicion| suspicion.breaks += 1);
    }

    /// The batch broke alone, before a witness.
    pub(super) fn broke_alone(&self, header: &Header) {
        self.suspicion(header, |suspicion| suspicion.breaks_alone += 1);
    }

    fn suspicion(&self, header: &Header, count: impl FnOnce(&mut Suspicion)) {
        let mut known = self.known();
        count(known.of(header, || Suspicion {
            since: Instant::now(),
            breaks: 0,
            breaks_alone: 0,
        }));
    }

    /// The batch is settled.
    pub(super) fn clear(&self, header: &Header) {
        self.known().remove(header);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forwarder::recent::tests::headers;

    #[test]
    fn suspects_that_are_never_settled_here_do_not_pile_up() {
        let headers = headers(MOST as u64 + 1);
        let suspects = Suspects::default();
        let (last, first) = headers.split_last().expect("some");
        for header in first.iter().chain(first) {
            suspects.broke(header);
        }
        assert_eq!(suspects.treatment(&first[0]), Treatment::Alone);
        suspects.broke(last);
        assert_eq!(suspects.treatment(&first[0]), Treatment::Normal);
        assert_eq!(suspects.treatment(&first[1]), Treatment::Alone);
    }
}
