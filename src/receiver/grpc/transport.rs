//! How gRPC is carried: the same for every service that clients reach.

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpConnectInfo};

use crate::net::{Acceptor, Socket};
use crate::receiver::http2;

/// Serves connections that live for `max_connection_age` at most; zero: for ever.
pub(in crate::receiver) fn server(max_connection_age: Duration) -> Server {
    let server = Server::builder()
        .initial_stream_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_concurrent_streams(http2::MAX_STREAMS)
        .max_frame_size(http2::MAX_FRAME)
        .http2_keepalive_interval(Some(http2::PING_INTERVAL))
        .http2_keepalive_timeout(Some(http2::PING_TIMEOUT));
    if max_connection_age.is_zero() {
        server
    } else {
        server.max_connection_age(max_connection_age)
    }
}

/// The connections of clients that greet in time.
pub(in crate::receiver) fn incoming(
    acceptor: Acceptor,
) -> impl Stream<Item = Result<Socket, Infallible>> {
    unfold(acceptor, async |acceptor| {
        let socket = acceptor.accept().await.expect_greeting();
        Some((Ok(socket), acceptor))
    })
}

impl Connected for Socket {
    type ConnectInfo = TcpConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        TcpConnectInfo {
            local_addr: None,
            remote_addr: Some(self.peer()),
        }
    }
}
