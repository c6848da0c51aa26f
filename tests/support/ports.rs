//! Ports that belong to one test.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};

/// Whether nobody listens on the port, and no other test has it: from now on it is this
/// process's, also while nobody listens there, as between two starts of a gateway.
pub(crate) fn claim(port: u16) -> bool {
    let name = format!("stashgate-test-port-{port}");
    let name = SocketAddr::from_abstract_name(name).expect("short enough");
    let Ok(claimed) = UnixListener::bind_addr(&name) else {
        return false;
    };
    // Until the process ends.
    std::mem::forget(claimed);
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
