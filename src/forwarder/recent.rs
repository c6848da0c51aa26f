//! What is known of some batches, and of so many at most.

use std::collections::{BTreeMap, HashMap};

use super::key::Key;
use crate::record::Header;

/// Values by batch. Where one more than `most` comes, the oldest gives way: a batch
/// that another gateway takes over is never settled here.
#[derive(Debug)]
pub(super) struct Recent<V> {
    most: usize,
    /// Each with its place in `order`.
    values: HashMap<Key, (u64, V)>,
    /// The keys of `values`, the oldest first.
    order: BTreeMap<u64, Key>,
    next: u64,
}

impl<V> Recent<V> {
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            values: HashMap::new(),
            order: BTreeMap::new(),
            next: 0,
        }
    }

    pub(super) fn get(&self, header: &Header) -> Option<&V> {
        if self.values.is_empty() {
            return None;
        }
        self.values.get(&Key::of(header)).map(|(_, value)| value)
    }

    /// The batch's value; `first` if it has none yet.
    pub(super) fn of(&mut self, header: &Header, first: impl FnOnce() -> V) -> &mut V {
        let key = Key::of(header);
        if !self.values.contains_key(&key) {
            self.make_room();
            self.order.insert(self.next, key);
        }
        let next = &mut self.next;
        let value = self.values.entry(key).or_insert_with(|| {
            *next += 1;
            (*next - 1, first())
        });
        &mut value.1
    }

    fn make_room(&mut self) {
        if self.values.len() >= self.most
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.values.remove(&oldest);
        }
    }

    /// The batch is settled.
    pub(super) fn remove(&mut self, header: &Header) {
        if self.values.is_empty() {
            return;
        }
        if let Some((place, _)) = self.values.remove(&Key::of(header)) {
            self.order.remove(&place);
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::batch::{Batch, BatchId, Timestamps, UnixMillis};
    use crate::record::{Place, encode_header};

    /// The headers of so many batches.
    pub(in crate::forwarder) fn headers(count: u64) -> Vec<Header> {
        let batch = Batch {
            id: BatchId::generate(),
            accepted_at: UnixMillis::now(),
            events: 1,
            payload: "{}\n".into(),
            payload_hash: 0,
            rejected: Box::default(),
            own_metadata: false,
            foreign: false,
            timestamps: Timestamps::None,
            origin: crate::batch::Origin::Accepted,
        };
        let place = |sequence| Place {
            sequence,
            ..Place::default()
        };
        let header = |sequence| encode_header(&batch, place(sequence), &mut Vec::new());
        (0..count).map(header).collect()
    }

    #[test]
    fn the_oldest_gives_way_and_what_is_settled_leaves_room() {
        let headers = headers(6);
        let mut recent = Recent::new(3);
        let known = |recent: &Recent<usize>| -> Vec<usize> {
            headers
                .iter()
                .filter_map(|h| recent.get(h).copied())
                .collect()
        };
        for (n, header) in headers[..4].iter().enumerate() {
            *recent.of(header, || 0) += n + 10;
        }
        assert_eq!(known(&recent), [11, 12, 13]);
        *recent.of(&headers[1], || 0) += 10;
        recent.remove(&headers[2]);
        recent.remove(&headers[5]);
        recent.of(&headers[4], || 14);
        assert_eq!(known(&recent), [21, 13, 14]);
        recent.of(&headers[5], || 15);
        assert_eq!(known(&recent), [13, 14, 15]);
        assert_eq!((recent.values.len(), recent.order.len()), (3, 3));
    }
}
