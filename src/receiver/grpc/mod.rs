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
//! - Health says NOT_SERVING when a disk operation failed, too.
//! - Stopping: health says NOT_SERVING, the listener closes, calls that wait for
//!   room and streams end with UNAVAILABLE after everything in hand is answered.

mod answer;
mod deadline;
mod health;
mod service;
mod stream;
pub(super) mod transport;

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::codec::CompressionEncoding::{Gzip, Zstd};
use tonic::service::Routes;

use super::Intake;
use crate::net::Acceptor;
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
    let (health, reporter) = health::service().await;
    let told = health::tell(reporter, intake.clone());
    let mut routes = Routes::builder();
    routes.add_service(ingest(intake));
    routes.add_service(health);
    routes.add_service(reflection().build_v1()?);
    // Older tools know only this one.
    routes.add_service(reflection().build_v1alpha()?);
    transport::server(options.max_connection_age)
        .add_routes(routes.routes())
        .serve_with_incoming_shutdown(transport::incoming(acceptor), told)
        .await?;
    Ok(())
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
