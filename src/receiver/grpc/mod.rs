//! gRPC: `stashgate.v1.IngestService`, health, and reflection.
//!
//! - A message may be twice as long as a batch, so that a batch that is too large
//!   is refused by the gateway, with the limit, and not by the transport. What is
//!   longer than that is refused before memory is taken for it; so is a message
//!   that grows beyond it when it is decompressed.
//! - Memory outside the spool's budget: what clients of streams sent and nobody read
//!   yet (`http2`), and a message for each of them that is being read.
//! - A call of its own waits a few seconds for room, but not beyond the client's
//!   deadline. A stream is not read while its last message waits, which slows the
//!   client down; only a message that waited long is refused.
//! - Stopping: health says NOT_SERVING, the listener closes, calls that wait for
//!   room and streams end with UNAVAILABLE after everything in hand is answered.

mod answer;
mod deadline;
mod health;
mod service;
mod stream;

use std::convert::Infallible;
use std::time::Duration;

use futures_util::stream::unfold;
use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpConnectInfo};

use super::Intake;
use super::accept::{Acceptor, Socket};
use super::http2;
use crate::proto;
use crate::proto::ingest_service_server::IngestServiceServer;

/// How the gRPC receiver works.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Most connections.
    pub max_connections: usize,
    /// How long a connection may live before the client is asked to make a new
    /// one; what runs on it then is finished. Zero: for ever.
    pub max_connection_age: Duration,
}

/// Why the receiver does not serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The transport failed as a whole.
    #[error("the gRPC receiver failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The contract built into this program cannot be shown to clients.
    #[error("the gRPC contract is damaged: {0}")]
    Contract(#[from] tonic_reflection::server::Error),
}

/// Serves until the intake is closing and every call in hand is answered.
pub async fn serve(
    listener: TcpListener,
    intake: Intake,
    options: Options,
) -> Result<(), ServeError> {
    let acceptor = Acceptor::new(listener, options.max_connections, "grpc");
    let incoming = unfold(acceptor, async |acceptor| {
        let socket = acceptor.accept().await.expect_greeting();
        Some((Ok::<_, Infallible>(socket), acceptor))
    });
    let (health, reporter) = health::service().await;
    let closing = intake.closing().clone();
    let drain = async move {
        closing.cancelled().await;
        health::stop(reporter).await;
    };
    let mut routes = Routes::builder();
    routes.add_service(ingest(intake));
    routes.add_service(health);
    routes.add_service(reflection().build_v1()?);
    // Older tools know only this one.
    routes.add_service(reflection().build_v1alpha()?);
    server(options)
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(incoming, drain)
        .await?;
    Ok(())
}

fn server(options: Options) -> Server {
    let server = Server::builder()
        .initial_stream_window_size(http2::STREAM_WINDOW)
        .initial_connection_window_size(http2::CONNECTION_WINDOW)
        .max_concurrent_streams(http2::MAX_STREAMS)
        .max_frame_size(http2::MAX_FRAME)
        .http2_keepalive_interval(Some(http2::PING_INTERVAL))
        .http2_keepalive_timeout(Some(http2::PING_TIMEOUT));
    if options.max_connection_age.is_zero() {
        server
    } else {
        server.max_connection_age(options.max_connection_age)
    }
}

fn ingest(intake: Intake) -> IngestServiceServer<service::Ingest> {
    let longest = intake.limits().max_batch_bytes.saturating_mul(2);
    IngestServiceServer::new(service::Ingest::new(intake))
        .max_decoding_message_size(longest)
        .accept_compressed(Gzip)
        .accept_compressed(Zstd)
        .send_compressed(Gzip)
        .send_compressed(Zstd)
}

/// The contract, for clients that ask the gateway itself and need no file.
fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(proto::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
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
