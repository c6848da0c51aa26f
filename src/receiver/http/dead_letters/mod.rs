//! `POST /v1/dead-letters[?queue=]`: events that Elasticsearch refused, as a Logstash
//! pipeline with the input `dead_letter_queue` sends them through its http output
//! (`format => json_batch`). See [`crate::dead_letter::refusal`] for what an event has.
//!
//! - An array of events, one event, or many one after the other (NDJSON); gzip or zstd.
//! - A body of any length: it is split, read and kept while it still arrives. A post
//!   takes [`BYTES`] or so of memory; an element may have [`split::MAX_ELEMENT`], but only
//!   one of more than [`BYTES`] is in memory at a time. At most [`POSTS`] are received
//!   at once, and they take nothing of the room of other bodies, nor these of theirs.
//! - 200 with `{"kept": n}` when all of them are durable.
//! - 503 for everything else, whatever it is: Logstash's http output drops the events on
//!   most other answers and sends them again on this one. What was kept of a body that is
//!   answered so changes nothing when it is sent again. Whatever comes to stand before
//!   this path (credentials) has to refuse with 503, too.

mod inflate;
mod split;

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use self::inflate::Inflate;
use self::split::{SplitError, Splitter};
use super::{App, answer, body, decode, request};
use crate::batch::{QueueName, UnixMillis};
use crate::dead_letter::{DeadLetter, refusal};
use crate::event::BlockError;
use crate::log::SharedComplaints;
use crate::receiver::reply::Refusal;
use crate::spool::FullReason;

/// Most posts that are received at once; others wait.
const POSTS: usize = 4;
/// How long a post waits for its turn, or a large element for its.
const PATIENCE: Duration = Duration::from_secs(10);
/// Letters are kept when there are so many, or so many bytes of them.
const LETTERS: usize = 1000;
const BYTES: usize = 1 << 20;
/// A body is taken apart in pieces of this length, compressed or not.
const PIECE: usize = 64 << 10;

const EXPECTED: &str = "application/json or application/x-ndjson";

/// What all posts share.
#[derive(Debug)]
pub(super) struct Room {
    posts: Semaphore,
    /// For the one element that is longer than [`BYTES`].
    large: Semaphore,
    /// Posts that were refused. Logstash sends them again and tells nobody.
    refused: SharedComplaints,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            posts: Semaphore::new(POSTS),
            large: Semaphore::new(1),
            refused: SharedComplaints::default(),
        }
    }
}

/// Takes letters; every method comes here.
pub(super) async fn dead_letters(State(app): State<App>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    match take(&app, &head, &mut body).await {
        Ok(kept) => {
            if app.letters.refused.recovered().is_some() {
                tracing::info!("dead letters from Logstash are taken again");
            }
            answer::kept(kept)
        }
        Err(refusal) => {
            if let Some(times) = app.letters.refused.failed() {
                tracing::warn!(
                    times,
                    "dead letters from Logstash are refused, and come again: {refusal}"
                );
            }
            request::read_on(&refusal, &head, body).await;
            answer::send_again(&refusal)
        }
    }
}

async fn take(app: &App, head: &Parts, body: &mut Body) -> Result<u64, Refusal> {
    if head.method != Method::POST {
        return Err(Refusal::WrongMethod(head.method.to_string()));
    }
    let media_type = request::media_type(&head.headers);
    if !matches!(
        media_type.as_str(),
        "" | "application/json" | "application/x-ndjson" | "application/ndjson"
    ) {
        return Err(Refusal::UnsupportedMediaType {
            given: media_type,
            expected: EXPECTED,
        });
    }
    let queue = app.intake.queue(&request::queue(head)?)?;
    let mut inflate = Inflate::new(decode::encoding(&head.headers)?);
    let receive = async {
        let mut post = Post::new(app, queue, turn(&app.letters.posts).await?);
        let mut piece = vec![0; PIECE];
        while let Some(chunk) = body::chunk(body).await? {
            let mut chunk = &chunk[..];
            while let Some(len) = inflate.read(&mut chunk, &mut piece)? {
                post.take(&piece[..len]).await?;
            }
        }
        inflate.finish()?;
        post.finish().await
    };
    tokio::select! {
        biased;
        () = app.intake.closing().cancelled() => Err(Refusal::Closing),
        kept = receive => kept,
    }
}

async fn turn(room: &Semaphore) -> Result<SemaphorePermit<'_>, Refusal> {
    let full = || Refusal::Full(FullReason::InFlight);
    let turn = timeout(PATIENCE, room.acquire()).await;
    turn.map_err(|_| full())?.map_err(|_| full())
}

/// A body that is being received.
struct Post<'a> {
    app: &'a App,
    queue: QueueName,
    now: UnixMillis,
    splitter: Splitter,
    letters: Vec<DeadLetter>,
    /// Length of the elements that `letters` were made of.
    bytes: usize,
    kept: u64,
    large: Option<SemaphorePermit<'a>>,
    _turn: SemaphorePermit<'a>,
}

impl<'a> Post<'a> {
    fn new(app: &'a App, queue: QueueName, turn: SemaphorePermit<'a>) -> Self {
        Self {
            app,
            queue,
            now: UnixMillis::now(),
            splitter: Splitter::default(),
            letters: Vec::new(),
            bytes: 0,
            kept: 0,
            large: None,
            _turn: turn,
        }
    }

    async fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        self.splitter.push(piece);
        while let Some(element) = self.splitter.next().map_err(refused)? {
            let known = |name: &str| self.app.intake.queue(name).ok();
            let letter = refusal::letter(&element, &self.queue, known, self.now);
            let malformed = |error: refusal::NoJson| BlockError::Malformed {
                detail: error.to_string(),
            };
            self.letters.push(letter.map_err(malformed)?);
            self.bytes += element.len();
            drop(element);
            if self.letters.len() >= LETTERS || self.bytes >= BYTES {
                self.keep().await?;
            }
        }
        if self.splitter.held() <= BYTES {
            self.large = None;
        } else if self.large.is_none() {
            self.keep().await?;
            self.large = Some(turn(&self.app.letters.large).await?);
        }
        Ok(())
    }

    /// How many letters there were, when all of them are durable.
    async fn finish(mut self) -> Result<u64, Refusal> {
        self.splitter.finish().map_err(refused)?;
        self.keep().await?;
        Ok(self.kept)
    }

    async fn keep(&mut self) -> Result<(), Refusal> {
        let letters = self.letters.len() as u64;
        self.app.intake.keep_letters(&mut self.letters).await?;
        self.kept += letters;
        self.bytes = 0;
        Ok(())
    }
}

fn refused(error: SplitError) -> Refusal {
    match error {
        SplitError::TooLong => Refusal::ElementTooLong(split::MAX_ELEMENT),
        SplitError::Malformed { what, at } => Refusal::Block(BlockError::Malformed {
            detail: format!("{what} at byte {at}"),
        }),
    }
}
