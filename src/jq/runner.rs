//! The gateway's side: brings events to children and their answers back.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Semaphore;

use super::frame::Kind;
use super::process::{Input, Output, Process, Silence};
use super::{JqError, Rewritten, Verdict};
use crate::event;

/// Most children at once.
const CHILDREN: usize = 2;
/// Longest that a child may take over an event.
const EVENT_LIMIT: Duration = Duration::from_secs(2);
/// Longest until a child has started and compiled the expression: some milliseconds on
/// a quiet machine.
const START_LIMIT: Duration = Duration::from_secs(10);
/// Most events of a call that may cost a child.
const MOST_LOST: usize = 3;
/// Longest expression, bytes.
const MAX_EXPRESSION_BYTES: usize = 64 << 10;
/// Longest text that a child says of itself, bytes.
const MAX_WORDS_BYTES: usize = 64 << 10;

/// Runs expressions in child processes, at most two at once; who comes later waits.
/// Clones share that limit.
#[derive(Debug, Clone)]
pub struct Runner {
    program: PathBuf,
    children: Arc<Semaphore>,
}

impl Default for Runner {
    /// Starts this very program, even if another version lies in its place by now.
    fn default() -> Self {
        Self::starting("/proc/self/exe")
    }
}

impl Runner {
    /// A runner whose children are `program jq-child`, for tests: there, the process
    /// itself is not stashgate.
    pub fn starting(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
            children: Arc::new(Semaphore::new(CHILDREN)),
        }
    }

    /// Compiles `expression` as [`Runner::rewrite`] would, and runs nothing.
    ///
    /// # Errors
    ///
    /// As told at [`JqError`], here and below. A call that is dropped ends its child.
    pub async fn check(&self, expression: &str) -> Result<(), JqError> {
        let call = Call::new(Kind::Rewrite, &[0; 8], expression, 0)?;
        self.run(&call, &[]).await.map(drop)
    }

    /// What `expression` says of each of `events`, in their order.
    pub async fn keep(&self, expression: &str, events: &[Bytes]) -> Result<Vec<Verdict>, JqError> {
        let call = Call::new(Kind::Keep, &[], expression, 0)?;
        let items: Vec<_> = events.iter().map(|event| Item::new(event, event)).collect();
        let answers = self.run(&call, &items).await?.into_iter();
        let verdicts = answers.map(|answer| match answer {
            Answer::Kept => Ok(Verdict::Keep),
            Answer::Dropped => Ok(Verdict::Drop),
            Answer::Failed(why) => Ok(Verdict::Failed(why)),
            Answer::Changed(_) | Answer::Same => Err(out_of_turn()),
        });
        verdicts.collect()
    }

    /// What `expression` makes of each of `events`, in their order. Each comes with
    /// the event as it was first refused, which the expression knows as `$original`.
    /// A result longer than `max_event_bytes` has failed.
    pub async fn rewrite(
        &self,
        expression: &str,
        events: &[(Bytes, Bytes)],
        max_event_bytes: usize,
    ) -> Result<Vec<Rewritten>, JqError> {
        let longest = (max_event_bytes as u64).to_le_bytes();
        let call = Call::new(Kind::Rewrite, &longest, expression, max_event_bytes)?;
        let items = events
            .iter()
            .map(|(event, original)| Item::new(event, original));
        let answers = self.run(&call, &items.collect::<Vec<_>>()).await?;
        let rewritten = answers.into_iter().map(|answer| match answer {
            Answer::Changed(event) => Ok(Rewritten::Changed(event)),
            Answer::Same => Ok(Rewritten::Same),
            Answer::Failed(why) => Ok(Rewritten::Failed(why)),
            Answer::Kept | Answer::Dropped => Err(out_of_turn()),
        });
        rewritten.collect()
    }

    /// Brings all items to children: to a new one behind each that was lost.
    async fn run(&self, call: &Call, items: &[Item<'_>]) -> Result<Vec<Answer>, JqError> {
        let mut answers = Vec::with_capacity(items.len());
        let mut lost = Vec::new();
        loop {
            let permit = Arc::clone(&self.children).acquire_owned().await;
            let permit = permit.map_err(io::Error::other)?;
            let mut process = Process::start(&self.program, permit)?;
            let rest = &items[answers.len()..];
            let work = call.work(&mut process.output, rest, &mut answers);
            let why = tokio::select! {
                worked = work => worked?,
                never = call.feed(&mut process.input, rest) => match never {},
            };
            let Some(why) = why else {
                return Ok(answers);
            };
            lost.push(answers.len());
            if lost.len() > MOST_LOST {
                return Err(JqError::TooSlow { why, lost });
            }
            answers.push(Answer::Failed(format!("the expression {why}")));
        }
    }
}

/// An expression and what is done with it.
struct Call {
    kind: Kind,
    opening: Vec<u8>,
    longest: usize,
}

/// An event that passed the gateway's own scanner, or why it did not: the child's
/// reader is recursive, so it is given nothing deep.
type Checked<'a> = Result<(&'a Bytes, Option<&'a Bytes>), String>;

struct Item<'a>(Checked<'a>);

impl<'a> Item<'a> {
    fn new(event: &'a Bytes, original: &'a Bytes) -> Self {
        let original = (event != original).then_some(original);
        let checked = event::object(event)
            .map_err(|why| format!("the event is not a JSON object: {why}"))
            .and_then(
                |()| match original.map(|original| event::object(original)) {
                    Some(Err(why)) => Err(format!("$original is not a JSON object: {why}")),
                    _ => Ok((event, original)),
                },
            );
        Self(checked)
    }
}

enum Answer {
    Kept,
    Dropped,
    Changed(Bytes),
    Same,
    Failed(String),
}

impl Call {
    fn new(kind: Kind, lead: &[u8], expression: &str, longest: usize) -> Result<Self, JqError> {
        if expression.len() > MAX_EXPRESSION_BYTES {
            let length = expression.len();
            let why =
                format!("the expression has {length} bytes, the most are {MAX_EXPRESSION_BYTES}");
            return Err(JqError::Expression(why));
        }
        Ok(Self {
            kind,
            opening: [lead, expression.as_bytes()].concat(),
            longest,
        })
    }

    /// Sends everything and never ends: the child lives as long as its input is open, and
    /// that it broke is seen where it answers.
    async fn feed(&self, input: &mut Input, items: &[Item<'_>]) -> Infallible {
        let sent = async {
            input.send(self.kind, &self.opening).await?;
            for (event, original) in items.iter().filter_map(|item| item.0.as_ref().ok()) {
                if let Some(original) = original {
                    input.send(Kind::Original, original).await?;
                }
                input.send(Kind::Event, event).await?;
            }
            io::Result::Ok(())
        };
        let _ = sent.await;
        pending().await
    }

    /// Takes the answers; tells why the next one will not come, in words that follow
    /// "the expression".
    async fn work(
        &self,
        output: &mut Output,
        items: &[Item<'_>],
        answers: &mut Vec<Answer>,
    ) -> Result<Option<String>, JqError> {
        self.ready(output).await?;
        for item in items {
            if let Err(why) = &item.0 {
                answers.push(Answer::Failed(why.clone()));
                continue;
            }
            let longest = self.longest.max(MAX_WORDS_BYTES);
            match output.receive(longest, EVENT_LIMIT).await {
                Ok((kind, body)) => answers.push(self.answer(kind, body)?),
                Err(Silence::TooLong) => {
                    let seconds = EVENT_LIMIT.as_secs();
                    return Ok(Some(format!("took longer than {seconds} s")));
                }
                Err(Silence::Ended) => {
                    let why = "ended its process (out of memory, or recursion without end)";
                    return Ok(Some(why.into()));
                }
                Err(Silence::Nonsense(error)) => return Err(error.into()),
            }
        }
        Ok(None)
    }

    async fn ready(&self, output: &mut Output) -> Result<(), JqError> {
        match output.receive(MAX_WORDS_BYTES, START_LIMIT).await {
            Ok((Kind::Ready, _)) => Ok(()),
            Ok((Kind::Refused, why)) => Err(JqError::Expression(words(why))),
            Ok((Kind::Broken, why)) => Err(io::Error::other(words(why)).into()),
            Ok(_) => Err(out_of_turn()),
            Err(Silence::TooLong) => {
                let seconds = START_LIMIT.as_secs();
                Err(io::Error::other(format!("no child was ready within {seconds} s")).into())
            }
            Err(Silence::Ended) => Err(JqError::Expression(
                "the expression is nested so deeply that it ended the process that read it".into(),
            )),
            Err(Silence::Nonsense(error)) => Err(error.into()),
        }
    }

    fn answer(&self, kind: Kind, body: Vec<u8>) -> Result<Answer, JqError> {
        Ok(match kind {
            Kind::Kept => Answer::Kept,
            Kind::Dropped => Answer::Dropped,
            Kind::Same => Answer::Same,
            Kind::Failed => Answer::Failed(words(body)),
            // The child is believed nothing: what it ran came from outside.
            Kind::Changed if body.len() <= self.longest && !body.contains(&b'\n') => {
                match event::object(&body) {
                    Ok(()) => Answer::Changed(body.into()),
                    Err(why) => Answer::Failed(format!("the result is not a JSON object: {why}")),
                }
            }
            _ => return Err(out_of_turn()),
        })
    }
}

fn words(text: Vec<u8>) -> String {
    String::from_utf8_lossy(&text).into_owned()
}

fn out_of_turn() -> JqError {
    super::frame::invalid("the child answered what was not asked").into()
}
