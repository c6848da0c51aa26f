//! Which events of a batch are sent again. Those that are not become rejected positions
//! of it, so that the others keep the positions, and with them the ids, that they had.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::batch::{Batch, Origin};
use crate::jq::Verdict;
use crate::record::Header;

/// A batch with what is left out of it.
#[derive(Debug)]
pub(super) struct Picked {
    /// `None`: nothing is left.
    pub(super) batch: Option<Batch>,
    pub(super) left_out: u64,
    pub(super) failed: u64,
}

impl Picked {
    /// A batch of which nothing is left out.
    pub(super) fn all((header, block): (Arc<Header>, Bytes)) -> Self {
        Self {
            batch: Some(whole(&header, block)),
            left_out: 0,
            failed: 0,
        }
    }
}

/// The events of a block, without their line breaks.
pub(super) fn events(block: &Bytes) -> impl Iterator<Item = Bytes> + '_ {
    let mut start = 0;
    memchr::memchr_iter(b'\n', block).map(move |end| {
        let event = block.slice(start..end);
        start = end + 1;
        event
    })
}

/// The whole batch, to be sent again.
fn whole(header: &Header, block: Bytes) -> Batch {
    Batch {
        id: header.id,
        accepted_at: header.accepted_at,
        events: header.events,
        payload: block,
        payload_hash: header.payload_hash,
        rejected: header.rejected.clone(),
        own_metadata: header.own_metadata,
        foreign: header.foreign,
        timestamps: header.timestamps,
        origin: Origin::Replayed,
    }
}

/// What `verdicts`, one an event, leave of the batch.
pub(super) fn pick(header: &Header, block: &Bytes, verdicts: &[Verdict]) -> Picked {
    let keeps = |verdict: &&Verdict| matches!(verdict, Verdict::Keep);
    let failed = |verdict: &&Verdict| matches!(verdict, Verdict::Failed(_));
    let kept = verdicts.iter().filter(keeps).count();
    let failed = verdicts.iter().filter(failed).count();
    let batch = match kept {
        0 => None,
        _ if kept == verdicts.len() => Some(whole(header, block.clone())),
        _ => Some(part(header, block, verdicts)),
    };
    Picked {
        batch,
        left_out: (verdicts.len() - kept - failed) as u64,
        failed: failed as u64,
    }
}

fn part(header: &Header, block: &Bytes, verdicts: &[Verdict]) -> Batch {
    let mut rejected = Vec::with_capacity(header.rejected.len() + verdicts.len());
    let mut before = header.rejected.iter().copied().peekable();
    let mut payload = BytesMut::with_capacity(block.len());
    let (mut position, mut kept) = (0, 0);
    for (event, verdict) in events(block).zip(verdicts) {
        while before.next_if_eq(&position).is_some() {
            rejected.push(position);
            position += 1;
        }
        if *verdict == Verdict::Keep {
            payload.extend_from_slice(&event);
            payload.extend_from_slice(b"\n");
            kept += 1;
        } else {
            rejected.push(position);
        }
        position += 1;
    }
    rejected.extend(before);
    Batch {
        events: kept,
        payload: payload.freeze(),
        rejected: rejected.into(),
        ..whole(header, Bytes::new())
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::batch::{BatchId, Timestamps, UnixMillis};
    use crate::event::Stamper;
    use crate::record::{Place, encode_header};

    /// A batch of which the client sent `sent` events; of those `true` passed the door.
    fn stored(sent: &[bool]) -> (Header, Bytes) {
        let accepted = sent.iter().enumerate().filter(|(_, ok)| **ok);
        let lines: String = accepted.map(|(n, _)| format!("{{\"n\":{n}}}\n")).collect();
        let refused = sent.iter().enumerate().filter(|(_, ok)| !**ok);
        let batch = Batch {
            id: BatchId::new(b"order-7").expect("valid"),
            accepted_at: UnixMillis(7),
            events: lines.lines().count() as u32,
            payload: lines.into(),
            payload_hash: 9,
            rejected: refused.map(|(n, _)| n as u32).collect(),
            own_metadata: false,
            foreign: false,
            timestamps: Timestamps::None,
            origin: Origin::Accepted,
        };
        let header = encode_header(&batch, Place::default(), &mut Vec::new());
        (header, batch.payload)
    }

    fn stamped(header: &Header, block: &[u8]) -> Vec<String> {
        let mut out = Vec::new();
        Stamper::new(header, true).stamp(block, 0, &mut out);
        let text = String::from_utf8(out).expect("text");
        text.lines().map(str::to_owned).collect()
    }

    proptest! {
        #[test]
        fn what_is_picked_is_stamped_as_it_was(
            sent in vec(any::<bool>(), 1..40),
            keep in vec(0..4, 40),
        ) {
            let (header, block) = stored(&sent);
            let verdicts: Vec<Verdict> = events(&block)
                .zip(keep)
                .map(|(_, keep)| match keep {
                    0 => Verdict::Drop,
                    1 => Verdict::Failed("of it".into()),
                    _ => Verdict::Keep,
                })
                .collect();
            let before = stamped(&header, &block).into_iter().zip(&verdicts);
            let expected: Vec<String> = before
                .filter(|(_, verdict)| **verdict == Verdict::Keep)
                .map(|(event, _)| event)
                .collect();
            let picked = pick(&header, &block, &verdicts);
            let lost = picked.left_out + picked.failed;
            prop_assert_eq!(lost as usize + expected.len(), verdicts.len());
            let Some(batch) = picked.batch else {
                prop_assert!(expected.is_empty());
                return Ok(());
            };
            let again = encode_header(&batch, Place::default(), &mut Vec::new());
            prop_assert_eq!(again.events as usize, expected.len());
            prop_assert!(again.rejected.is_sorted());
            prop_assert_eq!(batch.origin, Origin::Replayed);
            prop_assert_eq!(stamped(&again, &batch.payload), expected);
        }
    }
}
