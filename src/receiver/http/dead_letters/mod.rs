//! `POST /v1/dead-letters[?queue=]`: events that Elasticsearch refused, as a Logstash
//! pipeline with the input `dead_letter_queue` sends them through its http output
//! (`format => json_batch`). See [`crate::dead_letter::refusal`] for what an event has.
//!
//! - An array of events, one event, or many one after the other (NDJSON); gzip or zstd.
//! - A body of any length: it is split, read and kept while it still arrives. Between what
//!   its client sends a post has an element in memory, of [`split::MAX_ELEMENT`] at most,
//!   and letters of [`BYTES`] or so. What all posts take is bounded, see [`room`]; they
//!   take nothing of the room of other bodies, nor these of theirs.
//! - 200 with `{"kept": n}` when all of them are durable.
//! - 503 for everything else, whatever it is: Logstash's http output drops the events on
//!   most other answers and sends them again on this one. What was kept of a body that is
//!   answered so changes nothing when it is sent again. Whatever comes to stand before
//!   this path (credentials) has to refuse with 503, too.

mod inflate;
mod room;
mod split;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::Method;
use axum::http::request::Parts;
use axum::response::Response;
use bytes::Bytes;

use self::inflate::Inflate;
pub(super) use self::room::Room;
use self::room::Share;
use self::split::{SplitError, Splitter};
use super::{App, answer, body, decode, request};
use crate::batch::{QueueName, UnixMillis};
use crate::dead_letter::{DeadLetter, refusal};
use crate::event::BlockError;
use crate::receiver::reply::Refusal;

/// Letters are kept when there are so many, or so many bytes of them.
const LETTERS: usize = 1000;
const BYTES: usize = 1 << 20;
/// What a letter takes beside its bytes, and a little more.
const LETTER_BYTES: usize = 512;
/// A body is taken apart in pieces of this length, compressed or not.
const PIECE: usize = 64 << 10;

const EXPECTED: &str = "application/json or application/x-ndjson";

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
    let inflate = Inflate::new(decode::encoding(&head.headers)?);
    let receive = async {
        let mut post = Post::new(app, queue, inflate);
        post.share.hold(post.held())?;
        while let Some(chunk) = post.next(body).await? {
            post.take(&chunk).await?;
        }
        post.finish().await
    };
    tokio::select! {
        biased;
        () = app.intake.closing().cancelled() => Err(Refusal::Closing),
        kept = receive => kept,
    }
}

/// A body that is being received.
struct Post<'a> {
    app: &'a App,
    queue: QueueName,
    now: UnixMillis,
    inflate: Inflate,
    splitter: Splitter,
    letters: Vec<DeadLetter>,
    /// Length of the elements that `letters` were made of.
    bytes: usize,
    kept: u64,
    share: Share<'a>,
}

impl<'a> Post<'a> {
    fn new(app: &'a App, queue: QueueName, inflate: Inflate) -> Self {
        Self {
            app,
            queue,
            now: UnixMillis::now(),
            inflate,
            splitter: Splitter::default(),
            letters: Vec::new(),
            bytes: 0,
            kept: 0,
            share: app.letters.share(),
        }
    }

    /// What the client sends next.
    async fn next(&self, body: &mut Body) -> Result<Option<Bytes>, Refusal> {
        self.share.wait(body::chunk(body)).await?
    }

    async fn take(&mut self, mut chunk: &[u8]) -> Result<(), Refusal> {
        self.share.hold(self.held() + chunk.len())?;
        let _turn = self.app.letters.turn().await?;
        let mut piece = vec![0; PIECE];
        while let Some(len) = self.inflate.read(&mut chunk, &mut piece)? {
            self.splitter.push(&piece[..len]);
            self.read_elements().await?;
            self.share.hold(self.held() + chunk.len())?;
        }
        Ok(())
    }

    /// How much is in memory.
    fn held(&self) -> usize {
        let letters = self.bytes + self.letters.len() * LETTER_BYTES;
        self.inflate.held() + self.splitter.held() + letters
    }

    async fn read_elements(&mut self) -> Result<(), Refusal> {
        while let Some(element) = self.splitter.next().map_err(refused)? {
            let large = match element.len() > BYTES {
                true => {
                    self.keep().await?;
                    Some(self.app.letters.large().await?)
                }
                false => None,
            };
            let known = |name: &str| self.app.intake.queue(name).ok();
            self.letters
                .push(refusal::letter(&element, &self.queue, known, self.now));
            self.bytes += element.len();
            drop(element);
            if self.letters.len() >= LETTERS || self.bytes >= BYTES {
                self.keep().await?;
            }
            drop(large);
            self.share.completed();
        }
        self.splitter.shrink();
        Ok(())
    }

    /// How many letters there were, when all of them are durable.
    async fn finish(mut self) -> Result<u64, Refusal> {
        self.inflate.finish()?;
        self.splitter.finish().map_err(refused)?;
        let _turn = self.app.letters.turn().await?;
        self.keep().await?;
        Ok(self.kept)
    }

    async fn keep(&mut self) -> Result<(), Refusal> {
        let mut letters = std::mem::take(&mut self.letters);
        self.kept += letters.len() as u64;
        self.bytes = 0;
        self.app.intake.keep_letters(&mut letters).await
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
