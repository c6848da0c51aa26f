//! The contract that every kind of store of dead letters keeps. Each rule takes a maker of
//! empty stores; another kind joins by one more macro call at the end.

mod letters_redis_support;
mod letters_rules;
mod letters_support;
mod redis_support;

use std::cell::{Cell, RefCell};
use std::path::PathBuf;

use letters_redis_support::{at, store_with};
use letters_rules::Maker;
use letters_support::table_at;
use redb::{Database, TableDefinition};
use redis_support::{RedisServer, ask, client};
use stashgate::dead_letter::store::{Options, Store};

/// One module of tests a kind of store.
macro_rules! contract {
    ($kind:ident, $maker:expr, [$($rule:ident)*]) => {
        mod $kind {
            $(
                #[tokio::test]
                async fn $rule() {
                    crate::letters_rules::$rule(&$maker.await).await;
                }
            )*
        }
    };
}

macro_rules! every_rule {
    ($kind:ident, $maker:expr) => {
        contract!($kind, $maker, [
            a_letter_is_read_as_it_was_filed
            numbers_are_the_order_and_the_time_of_filing
            a_number_is_never_given_twice
            the_same_refusal_again_is_known
            a_later_refusal_of_the_same_counts_times
            what_was_settled_is_buried
            a_letter_without_an_id_is_known_by_its_bytes
            another_event_of_the_same_id_is_kept_beside
            a_later_attempt_takes_the_place_of_an_earlier
            an_earlier_attempt_does_not_push_out_a_later
            a_later_attempt_under_a_shared_id_pushes_out_nothing
            a_later_attempt_that_was_returned_pushes_out_no_other_event
            a_later_attempt_of_what_left_otherwise_pushes_out_no_other_event
            a_later_attempt_from_another_queue_pushes_out_no_other_event
            a_later_attempt_leaves_one_that_was_repaired
            an_id_stays_shared_when_its_own_name_goes_to_a_later_attempt
            attempts_that_stay_beside_each_other_are_known_again
            what_comes_from_a_file_pushes_out_no_other_event
            a_letter_as_long_as_the_budget_is_filed_alone
            a_name_leads_to_the_letter_of_its_queue
            what_is_gone_is_left_out
            groups_are_kept_up_with_each_change
            a_group_shows_the_beginning_of_a_long_detail
            fields_beyond_the_most_groups_share_one
            a_very_long_field_has_no_group_of_its_own
            numbers_come_for_a_selection_in_order_and_span
            only_what_is_unchanged_is_settled
            the_books_tell_what_became_of_each
            a_repair_keeps_the_first_original
            a_full_place_does_not_take_the_room_of_another
            letters_past_their_retention_go
            whoever_looks_is_told_whether_more_is_to_go
            a_clock_that_jumps_lets_nothing_go_for_three_days
            a_clock_that_was_looked_at_some_hours_ago_did_not_jump
            a_clock_that_was_mended_lets_letters_go_again
            letters_filed_by_a_clock_that_was_ahead_stay_longer
            what_is_soon_to_go_is_counted
            what_was_exported_and_settled_is_held_again
            a_held_letter_gets_the_event_of_the_file
            what_finds_no_room_stays_buried
            ids_made_to_look_like_longer_names_hide_nothing
            nothing_is_no_change
        ]);
    };
}

/// Tables in folders that go with it.
struct Tables {
    folder: tempfile::TempDir,
    last: RefCell<PathBuf>,
}

impl Tables {
    async fn new() -> Self {
        Self {
            folder: tempfile::tempdir().expect("a folder"),
            last: RefCell::default(),
        }
    }
}

impl Maker for Tables {
    async fn make(&self, options: Options) -> Store {
        let folder = tempfile::tempdir_in(self.folder.path()).expect("a folder");
        self.last.replace(folder.keep());
        self.reopen(options).await
    }

    async fn reopen(&self, options: Options) -> Store {
        table_at(&self.last.borrow(), options)
    }

    fn note(&self, name: &'static str, number: u64) {
        const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
        let path = self.last.borrow().join("letters.redb");
        let database = Database::open(path).expect("opens");
        let txn = database.begin_write().expect("begins");
        let mut numbers = txn.open_table(NUMBERS).expect("opens");
        numbers.insert(name, number).expect("writes");
        drop(numbers);
        txn.commit().expect("commits");
    }
}

every_rule!(table, super::Tables::new());

/// A Redis; each store has a database of its own there.
struct Databases {
    server: RedisServer,
    made: Cell<usize>,
}

impl Databases {
    async fn new() -> Self {
        Self {
            server: RedisServer::start(),
            made: Cell::new(0),
        }
    }

    /// Of the database that was taken last.
    fn url(&self) -> String {
        format!("{}/{}", self.server.url(), self.made.get())
    }
}

impl Maker for Databases {
    async fn make(&self, options: Options) -> Store {
        self.made.set(self.made.get() + 1);
        self.reopen(options).await
    }

    async fn reopen(&self, options: Options) -> Store {
        store_with(&at(&self.url()), 0, options)
    }

    fn note(&self, name: &'static str, number: u64) {
        let key = "{stashgate}:letters:books";
        let number = number.to_string();
        let noted = ask::<u64>(&mut client(&self.url()), &["HSET", key, name, &number]);
        noted.expect("noted");
    }
}

every_rule!(redis, super::Databases::new());
