//! The rules that every kind of store of dead letters keeps: a function each.

mod filing;
mod looking;
mod settling;

use stashgate::dead_letter::store::{Options, Store};

pub(crate) use filing::*;
pub(crate) use looking::*;
pub(crate) use settling::*;

use crate::letters_support::options;

/// Makes stores, each of them empty.
pub(crate) trait Maker {
    async fn make(&self, options: Options) -> Store;

    async fn usual(&self) -> Store {
        self.make(options()).await
    }
}
