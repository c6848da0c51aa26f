//! Which core does what. A child inherits its parent's core, so the parent
//! moves to the child's core, starts it, and moves back.

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The core of whatever is measured.
pub(crate) const SUBJECT: usize = 0;
/// The core of the generator and the sink.
pub(crate) const LOAD: usize = 1;

/// Moves the calling thread, and the threads it starts from now on, to `core`.
/// On a machine that has no such core nothing moves, and the report says so.
pub(crate) fn move_to(core: usize) -> bool {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).is_ok()
}

/// Whether this machine gives us both cores.
pub(crate) fn has_both() -> bool {
    sched_getaffinity(None).is_ok_and(|set| set.is_set(SUBJECT) && set.is_set(LOAD))
}
