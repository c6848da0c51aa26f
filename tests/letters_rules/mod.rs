//! The rules that every kind of store of dead letters keeps: a function each.

mod ageing;
mod filing;
mod looking;
mod settling;

use stashgate::dead_letter::store::{Options, Store};

pub(crate) use ageing::*;
pub(crate) use filing::*;
pub(crate) use looking::*;
pub(crate) use settling::*;

use crate::letters_support::options;

/// Makes stores, each of them empty.
pub(crate) trait Maker {
    async fn make(&self, options: Options) -> Store;

    /// The store that was made last, which has to be dropped before.
    async fn reopen(&self, options: Options) -> Store;

    /// Changes a number that the store that was made last notes, and that is dropped.
    fn note(&self, name: &'static str, number: u64);

    async fn usual(&self) -> Store {
        self.make(options()).await
    }
}
