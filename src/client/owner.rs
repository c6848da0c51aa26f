//! The task that owns a client's state and its connection.

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};
use tonic::transport::Endpoint;

use super::link::{Event, Link};
use super::options::Compression;
use super::outcome::{Reply, Report};
use super::unanswered::Unanswered;
use super::window::{Place, Window};
use super::{Batch, Builder, Client};

/// What the handles ask for.
#[derive(Debug)]
pub(super) enum Command {
    Send {
        batch: Batch,
        place: Place,
        reply: Reply,
    },
    /// Tell when all that was sent before has its outcome.
    Flush(oneshot::Sender<()>),
    /// Take no more, and tell when all is done.
    Close(oneshot::Sender<Report>),
}

/// How a client's connection does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nothing was sent yet, or the first connection is being made.
    Connecting,
    /// The gateway answers.
    Connected,
    /// The gateway does not answer, or asked for patience; batches are kept
    /// and sent again.
    Retrying {
        /// What went wrong last.
        reason: String,
    },
}

/// Starts the owner on `runtime`.
pub(super) fn start(runtime: &Handle, endpoint: Endpoint, options: Builder) -> Client {
    let window = Window::new(options.window_batches, options.window_bytes);
    let (commands, requested) = mpsc::unbounded_channel();
    let (state, watched) = watch::channel(State::Connecting);
    let owner = Owner {
        endpoint,
        compression: options.compression,
        commands: requested,
        window: window.clone(),
        unanswered: Unanswered::new(options.queue, options.give_up_after),
        link: None,
        state,
        flushes: Vec::new(),
        close: None,
        taking: true,
    };
    runtime.spawn(owner.run());
    Client {
        window,
        commands,
        state: watched,
    }
}

struct Owner {
    endpoint: Endpoint,
    compression: Compression,
    /// What is in it is bounded by the window.
    commands: mpsc::UnboundedReceiver<Command>,
    window: Window,
    unanswered: Unanswered,
    /// There when something was sent, until it ends.
    link: Option<Link>,
    state: watch::Sender<State>,
    /// Each with the sequence below which everything has to be settled.
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    close: Option<oneshot::Sender<Report>>,
    /// Whether commands may still come.
    taking: bool,
}

impl Owner {
    async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.unanswered.give_up(now);
            self.send_due(now);
            self.tell_flushed();
            if !self.taking && self.unanswered.oldest().is_none() {
                break;
            }
            self.wait(now).await;
        }
        if let Some(reply) = self.close {
            // Whoever no longer waits for the report does not want it.
            let _ = reply.send(self.unanswered.report());
        }
    }

    fn send_due(&mut self, now: Instant) {
        while self.unanswered.is_due(now) {
            let link = self
                .link
                .get_or_insert_with(|| Link::open(self.endpoint.clone(), self.compression));
            if let Some(request) = self.unanswered.next_due(now) {
                link.send(request);
            }
        }
    }

    async fn wait(&mut self, now: Instant) {
        let look = self.unanswered.next_look(now);
        tokio::select! {
            command = self.commands.recv(), if self.taking => self.take(command),
            event = next(&mut self.link) => self.hear(event),
            () = sleep_until(look.unwrap_or(now)), if look.is_some() => {}
        }
    }

    fn take(&mut self, command: Option<Command>) {
        match command {
            Some(Command::Send {
                batch,
                place,
                reply,
            }) => self.unanswered.add(batch, place, reply, Instant::now()),
            Some(Command::Flush(done)) => {
                self.flushes.push((self.unanswered.next_sequence(), done));
            }
            Some(Command::Close(reply)) => {
                // What was sent before the channel closed is still received.
                self.commands.close();
                self.window.close();
                self.close.get_or_insert(reply);
            }
            None => self.taking = false,
        }
    }

    fn hear(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Opened => return self.show(State::Connected),
            Event::Answer(answer) => self.unanswered.answered(answer, now),
            Event::Ended(status) => {
                self.link = None;
                self.unanswered.stream_ended(&status, now);
            }
        }
        if self.unanswered.is_failing() {
            let reason = self.unanswered.last_error().to_owned();
            self.show(State::Retrying { reason });
        } else if self.link.is_some() {
            self.show(State::Connected);
        }
    }

    fn show(&self, state: State) {
        self.state.send_if_modified(|shown| {
            let changed = *shown != state;
            *shown = state;
            changed
        });
    }

    fn tell_flushed(&mut self) {
        let oldest = self.unanswered.oldest().unwrap_or(u64::MAX);
        for (_, done) in self.flushes.extract_if(.., |(until, _)| *until <= oldest) {
            let _ = done.send(());
        }
    }
}

async fn next(link: &mut Option<Link>) -> Event {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}
