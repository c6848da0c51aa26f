//! `confirm = "written"`: the peer's kernel acknowledged every byte.
//!
//! The length of the send queue (what `SIOCOUTQ` tells) is read from
//! `/proc/net/tcp`, since there is no safe call for it. That costs a pass over
//! the machine's sockets, a few times a second for each connection.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::time::sleep;

use crate::forwarder::connection::Connection;
use crate::forwarder::outcome::Unknown;
use crate::forwarder::vigil::Vigil;

/// Long enough that a peer that reads has acknowledged everything.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Waits until the peer's kernel has all of `connection`; gives it back.
pub(super) async fn by_kernel(
    connection: Connection,
    vigil: &Vigil<'_>,
) -> Result<Connection, Unknown> {
    tokio::select! {
        biased;
        end = connection.ended() => return Err(end),
        taken = vigil.patiently(taken(&connection, vigil.timing.json_lines.look)) => {
            taken?.map_err(Unknown::Unaccounted)?;
        }
    }
    Ok(connection)
}

async fn taken(connection: &Connection, longest_pause: Duration) -> io::Result<()> {
    let mut pause = FIRST_PAUSE.min(longest_pause);
    loop {
        sleep(pause).await;
        if unacknowledged(connection).await? == 0 {
            return Ok(());
        }
        pause = (pause * 2).min(longest_pause);
    }
}

/// Bytes of `connection` that the peer's kernel did not acknowledge.
async fn unacknowledged(connection: &Connection) -> io::Result<u64> {
    let local = connection.local_addr()?;
    let table = match local {
        SocketAddr::V4(_) => "/proc/net/tcp",
        SocketAddr::V6(_) => "/proc/net/tcp6",
    };
    let table = tokio::fs::read_to_string(table).await?;
    send_queue(&table, local, connection.peer())
        .ok_or_else(|| io::Error::other("the kernel's table of sockets does not show it"))
}

/// The length of the send queue of the socket between `local` and `peer`.
fn send_queue(table: &str, local: SocketAddr, peer: SocketAddr) -> Option<u64> {
    let pair = format!(" {} {} ", as_in_table(local), as_in_table(peer));
    let (_, rest) = table.split_once(&pair)?;
    let queues = rest.split_ascii_whitespace().nth(1)?;
    u64::from_str_radix(queues.split_once(':')?.0, 16).ok()
}

/// `0100007F:1F90`: the address as words in the machine's byte order, and the port.
fn as_in_table(address: SocketAddr) -> String {
    let words = |octets: &[u8]| -> String {
        octets
            .chunks_exact(4)
            .map(|w| format!("{:08X}", u32::from_ne_bytes([w[0], w[1], w[2], w[3]])))
            .collect()
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    };
    format!("{ip}:{:04X}", address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_send_queue_of_one_socket_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when\n   \
            0: 0100007F:1388 00000000:0000 0A 00000000:00000000 00:00000000\n   \
            1: 0100007F:1388 0100007F:C350 01 00000007:00000000 00:00000000\n   \
            2: 0100007F:C350 0100007F:1388 01 000001FF:00000003 00:00000000\n";
        let server: SocketAddr = ([127, 0, 0, 1], 5000).into();
        let client: SocketAddr = ([127, 0, 0, 1], 50_000).into();
        if cfg!(target_endian = "little") {
            assert_eq!(send_queue(table, client, server), Some(0x1FF));
            assert_eq!(send_queue(table, server, client), Some(7));
            assert_eq!(send_queue(table, client, client), None);
        }
    }
}
