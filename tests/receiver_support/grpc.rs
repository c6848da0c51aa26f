//! A gRPC receiver and clients of it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use stashgate::proto::AppendRequest;
use stashgate::proto::ingest_service_client::IngestServiceClient;
use stashgate::receiver::grpc::{self, Options, ServeError};
use tokio::task::JoinHandle;
use tonic::transport::{Channel, Endpoint};

use super::{Gateway, listener};

pub async fn serve(gateway: &Gateway) -> (SocketAddr, JoinHandle<Result<(), ServeError>>) {
    let (listener, address) = listener().await;
    let options = Options {
        max_connections: 100,
        max_connection_age: Duration::ZERO,
    };
    let task = tokio::spawn(grpc::serve(listener, gateway.intake.clone(), options));
    (address, task)
}

pub async fn channel(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).expect("an address");
    endpoint.connect().await.expect("connects")
}

pub async fn client(address: SocketAddr) -> IngestServiceClient<Channel> {
    IngestServiceClient::new(channel(address).await)
}

pub fn ndjson(lines: &str) -> AppendRequest {
    batch("", lines)
}

pub fn batch(queue: &str, lines: &str) -> AppendRequest {
    AppendRequest {
        queue: queue.to_owned(),
        ndjson: Bytes::copy_from_slice(lines.as_bytes()),
        ..AppendRequest::default()
    }
}

pub fn events(events: &[&str]) -> AppendRequest {
    let events = events.iter().map(|e| Bytes::copy_from_slice(e.as_bytes()));
    AppendRequest {
        events: events.collect(),
        ..AppendRequest::default()
    }
}
