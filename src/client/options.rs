//! Every setting of a client.

use std::time::Duration;

use tonic::codec::CompressionEncoding;
use tonic::transport::Endpoint;

use super::{Client, owner};
use crate::batch::{InvalidQueueName, QueueName};

/// How batches are compressed on their way to the gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all: the cheapest on a local or fast network.
    #[default]
    None,
    /// gzip: slower and larger than zstd, understood everywhere.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    pub(super) fn encoding(self) -> Option<CompressionEncoding> {
        match self {
            Self::None => None,
            Self::Gzip => Some(CompressionEncoding::Gzip),
            Self::Zstd => Some(CompressionEncoding::Zstd),
        }
    }
}

/// The settings of a client that is not there yet.
#[derive(Debug, Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct Builder {
    pub(super) to: String,
    pub(super) queue: String,
    pub(super) window_batches: usize,
    pub(super) window_bytes: usize,
    pub(super) compression: Compression,
    pub(super) give_up_after: Option<Duration>,
}

impl Builder {
    pub(super) fn new(to: &str) -> Self {
        Self {
            to: to.to_owned(),
            queue: String::new(),
            window_batches: 16,
            window_bytes: 16 << 20,
            compression: Compression::None,
            give_up_after: None,
        }
    }

    /// The queue its batches go to. Default: `logstash`.
    pub fn queue(mut self, name: &str) -> Self {
        self.queue = name.to_owned();
        self
    }

    /// How much may be unanswered at a time: so many batches, and so many bytes
    /// of events. A larger window hides a longer way to the gateway; more than
    /// a gateway's `limits.max_in_flight_bytes` does not help. Default: 16
    /// batches, 16 MiB.
    pub fn window(mut self, batches: usize, bytes: usize) -> Self {
        self.window_batches = batches;
        self.window_bytes = bytes;
        self
    }

    /// Default: [`Compression::None`].
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How long a batch is sent again and again before it is given back with
    /// [`SendError::GaveUp`](super::SendError::GaveUp); counted from the moment
    /// it got its place in the window. Default: for ever.
    pub fn give_up_after(mut self, patience: Duration) -> Self {
        self.give_up_after = Some(patience);
        self
    }

    /// Starts the client; see [`Client::connect`].
    pub fn connect(self) -> Result<Client, ConnectError> {
        let endpoint = self.endpoint()?;
        if !self.queue.is_empty() {
            self.queue.parse::<QueueName>()?;
        }
        let runtime = tokio::runtime::Handle::try_current().map_err(|_| ConnectError::NoRuntime)?;
        Ok(owner::start(&runtime, endpoint, self))
    }

    fn endpoint(&self) -> Result<Endpoint, ConnectError> {
        let address = || ConnectError::Address(self.to.clone());
        let endpoint = Endpoint::from_shared(self.to.clone()).map_err(|_| address())?;
        let uri = endpoint.uri();
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(address());
        }
        Ok(endpoint
            .connect_timeout(Duration::from_secs(10))
            .tcp_nodelay(true)
            // A gateway whose machine lost its power sends no FIN.
            .http2_keep_alive_interval(Duration::from_secs(20))
            .keep_alive_timeout(Duration::from_secs(20)))
    }
}

/// Why there is no client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Not an address of a gateway.
    #[error(
        "{0:?} is no address of a gateway: write it as http://HOST:PORT (gRPC, by default port 7171)"
    )]
    Address(String),
    /// Not a queue's name.
    #[error(transparent)]
    Queue(#[from] InvalidQueueName),
    /// There is nothing to run on.
    #[error("a client needs a tokio runtime: call connect inside one")]
    NoRuntime,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_no_address_is_named() {
        for to in ["", "127.0.0.1:7171", "https://gateway:7171", "http://"] {
            let error = Client::connect(to).expect_err(to);
            assert_eq!(error, ConnectError::Address(to.to_owned()));
        }
    }

    #[tokio::test]
    async fn what_is_no_queue_name_is_refused_before_anything_is_sent() {
        let error = Client::builder("http://127.0.0.1:1")
            .queue("Web Logs")
            .connect();
        assert!(matches!(error, Err(ConnectError::Queue(_))));
    }

    #[test]
    fn outside_a_runtime_there_is_an_error_and_no_panic() {
        let error = Client::connect("http://127.0.0.1:1").expect_err("no runtime");
        assert_eq!(error, ConnectError::NoRuntime);
    }
}
