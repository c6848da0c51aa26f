//! The contract that every kind of store of dead letters keeps. Each rule takes a maker of
//! empty stores; another kind joins by one more macro call at the end.

mod letters_redis_support;
mod letters_rules;
mod letters_support;
mod redis_support;

use std::cell::Cell;

use letters_redis_support::{at, store_with};
use letters_rules::Maker;
use letters_support::table_at;
use redis_support::RedisServer;
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
            a_later_attempt_leaves_one_that_was_repaired
            an_id_stays_shared_when_its_own_name_goes_to_a_later_attempt
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
struct Tables(tempfile::TempDir);

impl Tables {
    async fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }
}

impl Maker for Tables {
    async fn make(&self, options: Options) -> Store {
        let folder = tempfile::tempdir_in(self.0.path()).expect("a folder");
        table_at(&folder.keep(), options)
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
}

impl Maker for Databases {
    async fn make(&self, options: Options) -> Store {
        let database = self.made.replace(self.made.get() + 1);
        let url = format!("{}/{database}", self.server.url());
        store_with(&at(&url), 0, options)
    }
}

every_rule!(redis, super::Databases::new());
