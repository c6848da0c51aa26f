//! The store of dead letters against a plain model, under operations in any order, with
//! the store opened again among them.

mod letters_redis_support;
mod letters_support;
mod redis_support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use letters_support::*;
use proptest::prelude::*;
use redis_support::{RedisServer, ServerKind};
use stashgate::batch::UnixMillis;
use stashgate::dead_letter::store::{
    Books, Fate, Filed, Group, GroupKey, Handle, Letter, Options, Order, Selection, Store,
};
use stashgate::dead_letter::{DeadLetter, Place, Reason, Source, Unindexable};

#[derive(Debug, Clone)]
enum Op {
    File(Vec<DeadLetter>),
    /// What becomes of one of those held.
    Settle(usize, Fate),
    Rewrite(usize, u8),
    /// One of those that were held once, perhaps with another event.
    Restore(usize, Option<u8>),
    /// All that is there, or nothing.
    Expire(bool),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let pick = 0..1000usize;
    let fate = prop_oneof![
        Just(Fate::Returned),
        Just(Fate::SentElsewhere),
        Just(Fate::Discarded),
        Just(Fate::Expired),
    ];
    prop_oneof![
        10 => prop::collection::vec(letter(), 0..12).prop_map(Op::File),
        8 => (pick.clone(), fate).prop_map(|(which, fate)| Op::Settle(which, fate)),
        4 => (pick.clone(), any::<u8>()).prop_map(|(which, event)| Op::Rewrite(which, event)),
        3 => (pick, prop::option::of(any::<u8>())).prop_map(|(which, event)| Op::Restore(which, event)),
        1 => any::<bool>().prop_map(Op::Expire),
        2 => Just(Op::Reopen),
    ]
}

/// Few ids, attempts and events, so that they meet.
fn letter() -> impl Strategy<Value = DeadLetter> {
    let ids = prop::option::weighted(0.9, 0..6u8);
    let kinds = (0..2usize, 0..3usize, 0..3usize, 0..3usize);
    (ids, 1..4u32, 0..3u8, 0..4u64, kinds).prop_map(|(id, attempt, event, at, kinds)| {
        let (queue_, reason, field, source) = kinds;
        DeadLetter {
            queue: queue(["logstash", "other"][queue_]),
            id: id.map(|id| format!("id-{id}")),
            reason: Reason::Unindexable(Unindexable::ALL[reason]),
            field: [None, Some("a"), Some("b")][field].map(str::to_owned),
            detail: format!("detail {at}"),
            source: [Source::Http, Source::Forwarder, Source::Logstash][source],
            attempt,
            at: UnixMillis(at),
            event: bytes_of(event),
        }
    })
}

fn bytes_of(event: u8) -> Bytes {
    Bytes::from(format!(
        "{{\"event\":\"{}\"}}",
        "x".repeat(usize::from(event))
    ))
}

/// What a store that looks at every letter each time would do.
#[derive(Debug, Default)]
struct Model {
    held: Vec<Held>,
    buried: BTreeSet<Same>,
    /// Id and attempt of those that left.
    left: BTreeSet<(String, u32)>,
    books: BTreeMap<Place, Books>,
}

#[derive(Debug, Clone, PartialEq)]
struct Held {
    letter: Letter,
    /// Another was kept beside it.
    shared: bool,
}

/// Queue, id, attempt, content.
type Same = (String, String, u32, u128);

fn base(letter: &Letter) -> String {
    let hash = || format!("{:032x}", letter.content);
    letter.letter.id.clone().unwrap_or_else(hash)
}

fn same(letter: &Letter) -> Same {
    let dead = &letter.letter;
    (
        dead.queue.to_string(),
        base(letter),
        dead.attempt,
        letter.content,
    )
}

impl Model {
    fn books(&mut self, letter: &Letter) -> &mut Books {
        self.books.entry(letter.letter.source.place()).or_default()
    }

    fn file(&mut self, dead: &DeadLetter) -> Filed {
        let letter = Letter {
            number: 0,
            name: String::new(),
            first_at: dead.at,
            times: 1,
            content: xxhash_rust::xxh3::xxh3_128(&dead.event),
            original: None,
            revision: 0,
            letter: dead.clone(),
        };
        if self.buried.contains(&same(&letter)) {
            return Filed::Buried;
        }
        if let Some(held) = self.held_as(&letter) {
            if dead.attempt == held.letter.letter.attempt && dead.at > held.letter.letter.at {
                held.letter.letter.at = dead.at;
                held.letter.times += 1;
            }
            return Filed::Known;
        }
        let (_, base, attempt, _) = same(&letter);
        let before = (base, attempt.saturating_sub(1));
        let is_next = !self.left.contains(&before);
        self.keep(letter, is_next)
    }

    fn restore(&mut self, letter: &Letter) -> Filed {
        match self.held_as(letter) {
            Some(held) if same(&held.letter) != same(letter) => Filed::Known,
            Some(held) if held.letter.letter.event == letter.letter.event => Filed::Known,
            Some(held) => {
                rewrite(&mut held.letter, letter.letter.event.clone());
                Filed::Kept
            }
            None => {
                self.buried.remove(&same(letter));
                self.keep(letter.clone(), false)
            }
        }
    }

    /// The same event as of this attempt or else a later one.
    fn held_as(&mut self, letter: &Letter) -> Option<&mut Held> {
        let (queue, base, attempt, content) = same(letter);
        let as_of = |held: &&mut Held| {
            let held = same(&held.letter);
            let is_same = (held.0, held.1, held.3) == (queue.clone(), base.clone(), content);
            is_same.then_some(held.2).filter(|held| *held >= attempt)
        };
        let held = self.held.iter_mut().filter(|held| as_of(held).is_some());
        held.min_by_key(as_of)
    }

    fn keep(&mut self, mut letter: Letter, is_next: bool) -> Filed {
        let base = base(&letter);
        let content = format!("{:032x}", letter.content);
        let names = [
            base.clone(),
            format!("{base}~{}", &content[..8]),
            format!("{base}~{content}"),
            format!("{base}~{content}~"),
        ];
        let named = |name: &String| {
            self.held.iter().position(|held| {
                held.letter.letter.queue == letter.letter.queue && held.letter.name == *name
            })
        };
        let earlier = names.iter().filter_map(named).find(|at| {
            let held = &self.held[*at];
            let own = held.letter.content == letter.content
                || (is_next && held.letter.name == base && !held.shared);
            let is_earlier = held.letter.letter.attempt < letter.letter.attempt;
            own && is_earlier && held.letter.revision == 0
        });
        let free = names.iter().find(|name| named(name).is_none());
        letter.name = match earlier {
            Some(at) => self.held[at].letter.name.clone(),
            None => free.expect("a free name").clone(),
        };
        let shared = earlier.is_some_and(|at| self.held[at].shared);
        if let Some(at) = earlier {
            self.settle(at, Fate::Returned);
        }
        if letter.name != base {
            let is_base = |held: &&mut Held| {
                held.letter.letter.queue == letter.letter.queue && held.letter.name == base
            };
            if let Some(held) = self.held.iter_mut().find(is_base) {
                held.shared = true;
            }
        }
        self.books(&letter).received += 1;
        self.held.push(Held { letter, shared });
        Filed::Kept
    }

    fn settle(&mut self, at: usize, fate: Fate) {
        let letter = self.held.remove(at).letter;
        let books = self.books(&letter);
        match fate {
            Fate::Returned => books.returned += 1,
            Fate::SentElsewhere => books.sent_elsewhere += 1,
            Fate::Discarded => books.discarded += 1,
            Fate::Expired => books.expired += 1,
        }
        if fate != Fate::Expired {
            self.buried.insert(same(&letter));
            let (_, base, attempt, _) = same(&letter);
            self.left.insert((base, attempt));
        }
    }

    /// All that is there goes; how many letters there were.
    fn expire(&mut self) -> u64 {
        let count = self.held.len();
        while !self.held.is_empty() {
            self.settle(0, Fate::Expired);
        }
        self.buried.clear();
        self.left.clear();
        count as u64
    }

    /// Takes over the numbers of new letters: only the store can tell them.
    fn number(&mut self, letters: &[Letter]) {
        let mut last = self
            .held
            .iter()
            .map(|held| held.letter.number)
            .max()
            .unwrap_or(0);
        for (held, letter) in self.held.iter_mut().zip(letters) {
            if held.letter.number == 0 {
                assert!(letter.number > last, "numbers go up");
                held.letter.number = letter.number;
                last = letter.number;
            }
        }
    }

    fn groups(&self, bytes: &BTreeMap<GroupKey, u64>) -> Vec<Group> {
        let mut groups: BTreeMap<GroupKey, Group> = BTreeMap::new();
        for Held { letter, .. } in &self.held {
            let key = key(letter);
            let group = groups.entry(key.clone()).or_insert_with(|| Group {
                bytes: bytes.get(&key).copied().unwrap_or_default(),
                key,
                events: 0,
                attempts: BTreeMap::new(),
                first: letter.filed_at(),
                last: letter.filed_at(),
                detail: String::new(),
            });
            group.events += 1;
            *group.attempts.entry(letter.letter.attempt).or_default() += 1;
            group.last = letter.filed_at();
            group.detail.clone_from(&letter.letter.detail);
        }
        groups.into_values().collect()
    }
}

fn rewrite(letter: &mut Letter, event: Bytes) {
    let before = std::mem::replace(&mut letter.letter.event, event);
    letter.original.get_or_insert(before);
    letter.revision += 1;
}

fn key(letter: &Letter) -> GroupKey {
    GroupKey {
        queue: letter.letter.queue.clone(),
        reason: letter.letter.reason,
        field: letter.letter.field.clone(),
    }
}

/// `open` opens the store, which is empty at first.
async fn play(ops: Vec<Op>, open: impl Fn(Options) -> Store) {
    let mut store = open(options());
    let mut model = Model::default();
    let mut once: Vec<Letter> = Vec::new();
    for op in ops {
        match op {
            Op::Reopen => {
                drop(store);
                store = open(options());
            }
            Op::Expire(true) => {
                drop(store);
                store = open(forgetful());
                assert_eq!(expired(&store, usize::MAX).await, model.expire());
                drop(store);
                store = open(options());
            }
            op => step(&store, &mut model, &once, op).await,
        }
        compare(&store, &mut model).await;
        once.extend(model.held.iter().map(|held| held.letter.clone()));
    }
}

async fn step(store: &Store, model: &mut Model, once: &[Letter], op: Op) {
    let count = model.held.len();
    match op {
        Op::File(letters) => {
            let expected: Vec<_> = letters.iter().map(|letter| model.file(letter)).collect();
            assert_eq!(filed(store, letters).await, expected);
        }
        Op::Settle(which, fate) if count > 0 => {
            let handle = model.held[which % count].letter.handle();
            let stale = Handle {
                revision: handle.revision + 1,
                ..handle
            };
            model.settle(which % count, fate);
            assert_eq!(store.settle(&[stale, handle, handle], fate).await, Ok(1));
        }
        Op::Rewrite(which, event) if count > 0 => {
            let letter = &mut model.held[which % count].letter;
            let handle = letter.handle();
            rewrite(letter, bytes_of(event));
            assert_eq!(store.rewrite(vec![(handle, bytes_of(event))]).await, Ok(1));
        }
        Op::Restore(which, event) if !once.is_empty() => {
            let mut letter = once[which % once.len()].clone();
            if let Some(event) = event {
                letter.letter.event = bytes_of(event);
            }
            letter.number = 0;
            let expected = model.restore(&letter);
            assert_eq!(store.restore(vec![letter]).await, Ok(vec![expected]));
        }
        Op::Expire(false) => assert_eq!(expired(store, usize::MAX).await, 0),
        _ => {}
    }
}

async fn compare(store: &Store, model: &mut Model) {
    let letters = held(store).await;
    assert_eq!(letters.len(), model.held.len());
    model.number(&letters);
    for (letter, held) in letters.iter().zip(&model.held) {
        assert_eq!(*letter, held.letter);
        let found = store.find(&letter.letter.queue, &letter.name).await;
        assert_eq!(found, Ok(Some(letter.number)));
    }
    let groups = groups(store).await;
    let bytes = groups.iter().map(|group| (group.key.clone(), group.bytes));
    assert_eq!(groups, model.groups(&bytes.collect()));
    for group in &groups {
        let selection = Selection {
            queue: Some(group.key.queue.clone()),
            reason: Some(group.key.reason),
            field: group.key.field.clone(),
            ..Selection::default()
        };
        let mut newest = numbers(store, &selection, Order::NewestFirst).await;
        newest.reverse();
        let meant = letters.iter().filter(|letter| selection.has(&key(letter)));
        let meant: Vec<_> = meant.map(|letter| letter.number).collect();
        assert_eq!(newest, meant);
    }
    compare_books(store, model, &groups);
}

fn compare_books(store: &Store, model: &Model, groups: &[Group]) {
    let mut bytes = 0;
    for place in Place::ALL {
        let books = books(store, place);
        bytes += books.bytes;
        let held = |held: &&Held| held.letter.letter.source.place() == place;
        let expected = Books {
            held: model.held.iter().filter(held).count() as u64,
            bytes: books.bytes,
            ..model.books.get(&place).copied().unwrap_or_default()
        };
        assert_eq!(books, expected);
    }
    assert_eq!(bytes, groups.iter().map(|group| group.bytes).sum::<u64>());
    let mut reasons = BTreeMap::new();
    for held in &model.held {
        *reasons.entry(held.letter.letter.reason).or_insert(0) += 1;
    }
    assert_eq!(store.summary().reasons, reasons);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        ..ProptestConfig::default()
    })]

    #[test]
    fn the_table_is_as_the_model(ops in prop::collection::vec(op(), 1..40)) {
        let folder = tempfile::tempdir().expect("a folder");
        run(play(ops, |options| table_at(folder.path(), options)));
    }

    #[test]
    fn the_store_in_redis_is_as_the_model(ops in prop::collection::vec(op(), 1..40)) {
        let server = RedisServer::start_as(ServerKind {
            aof: None,
            ..ServerKind::default()
        });
        let server_at = letters_redis_support::at(&server.url());
        run(play(ops, |options| letters_redis_support::store_with(&server_at, 0, options)));
    }
}

fn run(play: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(play);
}
