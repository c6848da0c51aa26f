//! What the kernel tells of the sockets of this machine.

use std::net::SocketAddr;

use tokio::net::TcpStream;

/// Bytes that were sent by `stream` and that the process on the other side did not read
/// yet. `None`: the other side's socket is not there any more.
pub(crate) fn unread(stream: &TcpStream) -> Option<u64> {
    let (own, peer) = (stream.local_addr().ok()?, stream.peer_addr().ok()?);
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let (_, received) = queues(&table, peer, own)?;
    let (under_way, _) = queues(&table, own, peer).unwrap_or_default();
    Some(under_way + received)
}

/// How many bytes the socket between `local` and `remote` has sent without a word that
/// they came, and received without being read.
fn queues(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<(u64, u64)> {
    let number = |text: &str| u64::from_str_radix(text, 16).ok();
    let is_at = |word: Option<&str>, address: SocketAddr| {
        let port = word.and_then(|word| number(word.rsplit_once(':')?.1));
        port == Some(u64::from(address.port()))
    };
    table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let is_it = is_at(words.next(), local) && is_at(words.next(), remote);
        let (sent, received) = words.nth(1)?.split_once(':')?;
        is_it.then_some((number(sent)?, number(received)?))
    })
}
