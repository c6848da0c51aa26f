//! Keeps connections from using up the file descriptors that the journal needs.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// For segments, cursors, connections to Logstash and the admin address.
const RESERVE: u64 = 256;

/// How many connections each of `receivers` may have: `wanted`, or fewer if the
/// process may not open that many files. Raises the soft limit to the hard one.
pub(super) fn connections_each(wanted: usize, receivers: usize) -> usize {
    let Some(files) = raise_limit() else {
        return wanted;
    };
    let each = share(wanted, receivers, files);
    if each < wanted {
        tracing::warn!(
            max_connections = wanted,
            files,
            receivers,
            each,
            "limits.max_connections is more than the limit of open files (ulimit -n, LimitNOFILE) allows; each receiver takes fewer"
        );
    }
    each
}

/// The most files the process may open; `None` without a limit.
fn raise_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(error) => {
            tracing::debug!(%error, "the limit of open files stays as it is");
            limit.current
        }
    }
}

fn share(wanted: usize, receivers: usize, files: u64) -> usize {
    // Half, where there are so few that the reserve would leave next to nothing.
    let free = files - RESERVE.min(files / 2);
    let each = free / receivers.max(1) as u64;
    usize::try_from(each).map_or(wanted, |each| wanted.min(each.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_receivers_together_leave_a_reserve_of_descriptors() {
        assert_eq!(share(10_000, 3, 20_000), (20_000 - 256) / 3);
        assert_eq!(share(10_000, 1, 1024), 768);
        assert_eq!(share(10_000, 3, 100), 16, "half of few");
    }

    #[test]
    fn what_fits_is_not_changed() {
        assert_eq!(share(10_000, 3, 1 << 20), 10_000);
        assert_eq!(share(5, 2, 1024), 5);
    }

    #[test]
    fn a_receiver_always_takes_a_connection() {
        assert_eq!(share(10_000, 3, 2), 1);
        assert_eq!(share(10_000, 0, 1024), 768);
    }

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        raise_limit();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
    }
}
