//! A stand-in for Logstash's tcp input, as measured: it takes lines, answers a
//! half-close with a close once it has read everything, and, when it is stopped,
//! closes its listener first and its connections later, with what they hold
//! unread.

mod count;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(super) use count::Received;
use count::{Counter, Lines};

/// From the end of the listener to the end of the connections.
const QUIET: Duration = Duration::from_millis(1000);
/// From there to the new listener.
const AWAY: Duration = Duration::from_millis(1500);

/// What the stand-in is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum State {
    #[default]
    Running,
    Stopping,
    Away,
    Back,
}

/// A stand-in for Logstash.
pub(super) struct StandIn {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    counter: Counter,
    state: watch::Sender<State>,
    /// The life that runs now; cancelled, it reads nothing more.
    life: watch::Sender<CancellationToken>,
}

impl StandIn {
    /// Starts one that expects events numbered below `events`.
    pub(super) async fn start(events: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            counter: Counter::new(events),
            state: watch::Sender::default(),
            life: watch::Sender::default(),
        });
        shared.begin(listener);
        Ok(Self { address, shared })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn state(&self) -> State {
        *self.shared.state.borrow()
    }

    pub(super) fn received(&self) -> Received {
        self.shared.counter.received()
    }

    /// Stops as Logstash does, stays away, and comes back at the same address.
    pub(super) fn upgrade(&self) -> JoinHandle<io::Result<()>> {
        let (shared, address) = (self.shared.clone(), self.address);
        tokio::spawn(async move {
            shared.state.send_replace(State::Stopping);
            shared.life.borrow().cancel();
            tokio::time::sleep(QUIET).await;
            shared.state.send_replace(State::Away);
            tokio::time::sleep(AWAY).await;
            shared.begin(listen(address)?);
            shared.state.send_replace(State::Back);
            Ok(())
        })
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Old connections are in TIME_WAIT on the same port.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

impl Shared {
    fn begin(self: &Arc<Self>, listener: TcpListener) {
        let life = CancellationToken::new();
        self.life.send_replace(life.clone());
        let shared = self.clone();
        tokio::spawn(async move {
            while let Some(Ok((stream, _))) = life.run_until_cancelled(listener.accept()).await {
                tokio::spawn(shared.clone().serve(stream, life.clone()));
            }
        });
    }

    async fn serve(self: Arc<Self>, mut stream: TcpStream, life: CancellationToken) {
        let mut lines = Lines::default();
        let ended = life.run_until_cancelled(async {
            while let Ok(1..) = stream.read_buf(lines.room()).await {
                lines.take(&self.counter);
            }
        });
        if ended.await.is_none() {
            tokio::time::sleep(QUIET).await;
        }
    }
}
