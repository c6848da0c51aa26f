//! Stands between a spool and its Redis, and loses answers.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// What happens to the next connection on which something is seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cut {
    /// The request goes on to Redis; the connection is cut when it has answered.
    AfterRequest(&'static str),
    /// The answer is seen; the connection is cut instead of passing it on.
    BeforeAnswer(&'static str),
    /// The connection is cut for the client; Redis gets the request only when
    /// [`Proxy::release`] says so.
    HoldRequest(&'static str),
}

#[derive(Debug, Default)]
struct Shared {
    cut: Mutex<Option<Cut>>,
    cuts: AtomicUsize,
    held: Mutex<Option<(OwnedWriteHalf, Vec<u8>)>>,
}

/// See the module. Ends with the runtime.
#[derive(Debug, Clone)]
pub struct Proxy {
    shared: Arc<Shared>,
    port: u16,
}

impl Proxy {
    pub async fn start(server: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let port = listener.local_addr().expect("an address").port();
        let shared = Arc::new(Shared::default());
        let proxy = Self {
            shared: shared.clone(),
            port,
        };
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.expect("accepted");
                let Ok(server) = TcpStream::connect(("127.0.0.1", server)).await else {
                    continue;
                };
                tokio::spawn(join(shared.clone(), client, server));
            }
        });
        proxy
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub fn cut(&self, cut: Cut) {
        *self.shared.cut.lock().expect("a lock") = Some(cut);
    }

    /// How many connections were cut.
    pub fn cuts(&self) -> usize {
        self.shared.cuts.load(SeqCst)
    }

    /// Gives the held request to Redis, if that still listens.
    pub async fn release(&self) {
        let held = self.shared.held.lock().expect("a lock").take();
        let (mut server, request) = held.expect("a request is held");
        let _ = server.write_all(&request).await;
        let _ = server.shutdown().await;
    }
}

impl Shared {
    /// Whether `chunk` is what the cut waits for, as `of` reads it; then it is used up.
    fn is_it(&self, chunk: &[u8], of: fn(&Cut) -> Option<&'static str>) -> bool {
        let mut cut = self.cut.lock().expect("a lock");
        let word = cut.as_ref().and_then(of);
        let seen = word.is_some_and(|word| {
            let mut windows = chunk.windows(word.len());
            windows.any(|window| window == word.as_bytes())
        });
        if seen {
            *cut = None;
            self.cuts.fetch_add(1, SeqCst);
        }
        seen
    }
}

async fn join(shared: Arc<Shared>, client: TcpStream, server: TcpStream) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (arm, mut armed) = oneshot::channel::<()>();
    let requests = shared.clone();
    let up = tokio::spawn(async move {
        let (mut arm, mut chunk) = (Some(arm), vec![0; 1 << 20]);
        while let Ok(len @ 1..) = from_client.read(&mut chunk).await {
            let request = &chunk[..len];
            let holds = |cut: &Cut| match cut {
                Cut::HoldRequest(word) => Some(*word),
                _ => None,
            };
            if requests.is_it(request, holds) {
                let held = (to_server, request.to_vec());
                *requests.held.lock().expect("a lock") = Some(held);
                return;
            }
            let cuts = |cut: &Cut| match cut {
                Cut::AfterRequest(word) => Some(*word),
                _ => None,
            };
            if requests.is_it(request, cuts) {
                let _ = arm.take().map(|arm| arm.send(()));
            }
            if to_server.write_all(request).await.is_err() {
                return;
            }
        }
    });
    let answers = shared;
    let down = async move {
        let mut chunk = vec![0; 1 << 20];
        while let Ok(len @ 1..) = from_server.read(&mut chunk).await {
            let cuts = |cut: &Cut| match cut {
                Cut::BeforeAnswer(word) => Some(*word),
                _ => None,
            };
            if armed.try_recv().is_ok() || answers.is_it(&chunk[..len], cuts) {
                return;
            }
            if to_client.write_all(&chunk[..len]).await.is_err() {
                return;
            }
        }
    };
    tokio::pin!(up);
    tokio::select! {
        _ = &mut up => {}
        () = down => {}
    }
    up.abort();
}
