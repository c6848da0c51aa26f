//! The gateway's hold on a child.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;

use super::frame::{self, Kind};

/// A running child and its two pipes. Dropped, it is killed.
pub(super) struct Process {
    pub(super) input: Input,
    pub(super) output: Output,
    _leash: Leash,
}

impl Process {
    /// Starts `program jq-child`; `permit` is held until the process is gone.
    pub(super) fn start(program: &Path, permit: OwnedSemaphorePermit) -> io::Result<Self> {
        let mut child = Command::new(program)
            .arg("jq-child")
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
        let leash = Leash(Some((child, permit)));
        let (Some(stdin), Some(stdout)) = (stdin, stdout) else {
            return Err(io::Error::other("the child has no pipes"));
        };
        let input = pipe::Sender::from_owned_fd(OwnedFd::from(stdin))?;
        let output = pipe::Receiver::from_owned_fd(OwnedFd::from(stdout))?;
        Ok(Self {
            input: Input(input),
            output: Output(BufReader::new(output)),
            _leash: leash,
        })
    }
}

/// Kills the process when it is dropped, and collects what remains of it.
struct Leash(Option<(Child, OwnedSemaphorePermit)>);

impl Drop for Leash {
    fn drop(&mut self) {
        let Some((mut child, permit)) = self.0.take() else {
            return;
        };
        // Fails only when it is gone already.
        let _ = child.kill();
        let collect = move || {
            let _ = child.wait();
            drop(permit);
        };
        // A process with much memory takes a while to go.
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(collect)),
            Err(_) => collect(),
        }
    }
}

/// To the child.
pub(super) struct Input(pipe::Sender);

impl Input {
    pub(super) async fn send(&mut self, kind: Kind, body: &[u8]) -> io::Result<()> {
        self.0.write_all(&frame::head(kind, body.len())?).await?;
        self.0.write_all(body).await
    }
}

/// From the child.
pub(super) struct Output(BufReader<pipe::Receiver>);

/// Why there is no answer.
pub(super) enum Silence {
    /// It did not come in time.
    TooLong,
    /// The child is gone.
    Ended,
    /// The child says what it cannot say.
    Nonsense(io::Error),
}

impl Output {
    /// The next frame, of at most `longest` bytes, within `limit`.
    pub(super) async fn receive(
        &mut self,
        longest: usize,
        limit: Duration,
    ) -> Result<(Kind, Vec<u8>), Silence> {
        match tokio::time::timeout(limit, self.read(longest)).await {
            Err(_) => Err(Silence::TooLong),
            Ok(Err(error)) if error.kind() == io::ErrorKind::InvalidData => {
                Err(Silence::Nonsense(error))
            }
            Ok(Err(_)) => Err(Silence::Ended),
            Ok(Ok(frame)) => Ok(frame),
        }
    }

    async fn read(&mut self, longest: usize) -> io::Result<(Kind, Vec<u8>)> {
        let mut head = [0; frame::HEAD];
        self.0.read_exact(&mut head).await?;
        let (kind, length) = frame::read_head(head)?;
        if length > longest {
            return Err(frame::invalid("an answer that is too long"));
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await?;
        Ok((kind, body))
    }
}
