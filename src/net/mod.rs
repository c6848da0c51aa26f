//! Connections from outside, whatever is spoken on them: the receivers and the
//! admin address take them from here.

mod accept;

pub(crate) use accept::{Acceptor, Socket};
