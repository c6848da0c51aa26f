//! A wire between client and gateway that can swallow answers and be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

#[derive(Clone)]
pub(crate) struct Wire {
    pub(crate) address: SocketAddr,
    swallow: Arc<AtomicBool>,
    to_gateway: Arc<AtomicU64>,
    cuts: watch::Sender<()>,
}

impl Wire {
    pub(crate) async fn to(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let wire = Self {
            address: listener.local_addr().expect("bound"),
            swallow: Arc::default(),
            to_gateway: Arc::default(),
            cuts: watch::Sender::new(()),
        };
        let for_task = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let wire = for_task.clone();
                let cut = wire.cuts.subscribe();
                tokio::spawn(async move {
                    if let Ok(gateway) = TcpStream::connect(gateway).await {
                        wire.carry(client, gateway, cut).await;
                    }
                });
            }
        });
        wire
    }

    /// From now on nothing that the gateway says arrives.
    pub(crate) fn swallow_answers(&self) {
        self.swallow.store(true, SeqCst);
    }

    /// Cuts what is connected; what connects later works.
    pub(crate) fn cut(&self) {
        self.swallow.store(false, SeqCst);
        self.cuts.send_replace(());
    }

    /// Bytes that clients sent so far.
    pub(crate) fn to_gateway(&self) -> u64 {
        self.to_gateway.load(SeqCst)
    }

    async fn carry(&self, client: TcpStream, gateway: TcpStream, mut cut: watch::Receiver<()>) {
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_gateway, mut to_gateway) = gateway.into_split();
        let out = async {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = from_client.read(&mut buffer).await {
                self.to_gateway.fetch_add(read as u64, SeqCst);
                if to_gateway.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        };
        let back = async {
            let mut buffer = vec![0; 64 << 10];
            while let Ok(read @ 1..) = from_gateway.read(&mut buffer).await {
                let swallowed = self.swallow.load(SeqCst);
                if !swallowed && to_client.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = out => {}
            () = back => {}
            _ = cut.changed() => {}
        }
    }
}
