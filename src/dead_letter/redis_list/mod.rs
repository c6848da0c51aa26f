//! Dead letters that Logstash puts into a Redis list: what a pipeline with the input
//! `dead_letter_queue` writes through `output { redis { data_type => "list" } }`, one
//! event an element ([`refusal`] says what it has).
//!
//! The first elements are read and kept, and only when they are durable taken out of the
//! list, if they are still the first ones. So a gateway may end at any moment, and many may
//! read one list: what two of them keep is the same letter, and filing knows it. What
//! is no such event is kept as it came.
//!
//! While the inbox is full or Redis away, the list waits. In memory are at most
//! `ELEMENTS` elements and `BYTES`, or one that is longer, up to `LONGEST`.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{DeadLetter, DeadLetters, refusal};
use crate::batch::{QueueName, UnixMillis};
use crate::log::Complaints;
use crate::spool::redis::nodes::{Conn, Fault, Nodes};
use crate::spool::redis::script::Script;

const COMMON: &str = include_str!("scripts/common.lua");
static LOOK: Script = Script::new("list_look", COMMON, include_str!("scripts/look.lua"));
static TAKE: Script = Script::new("list_take", COMMON, include_str!("scripts/take.lua"));

/// Most elements at a time, and most bytes, unless one is longer.
const ELEMENTS: usize = 1000;
const BYTES: usize = 1 << 20;
/// The longest element. Logstash's own queue of dead letters has segments of 10 MiB, and
/// the reason of a refusal holds the event once more.
const LONGEST: usize = 32 << 20;
/// How often an empty list is looked at, and one that cannot be read.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one waits, at most, after another gateway was faster.
const ASIDE: Duration = Duration::from_millis(100);

/// Which list, and where its letters belong.
#[derive(Debug, Clone)]
pub struct Options {
    /// The list.
    pub list: String,
    /// The queue of an event that names none that there is.
    pub queue: QueueName,
    /// The queues that there are.
    pub queues: Vec<QueueName>,
}

/// A list that is read.
#[derive(Debug)]
pub struct RedisList {
    options: Options,
    nodes: Nodes,
    letters: DeadLetters,
    complaints: Complaints,
}

/// The first elements.
struct Head {
    elements: Vec<Bytes>,
    /// What tells them from others.
    mark: String,
}

impl RedisList {
    /// A list at `nodes` whose letters go to `letters`.
    pub fn new(options: Options, nodes: Nodes, letters: DeadLetters) -> Self {
        nodes.widen(1);
        Self {
            options,
            nodes,
            letters,
            complaints: Complaints::default(),
        }
    }

    /// Reads it until `closing`.
    pub async fn run(mut self, closing: CancellationToken) {
        closing.run_until_cancelled(self.read()).await;
    }

    async fn read(&mut self) {
        loop {
            match self.read_some().await {
                Ok(read) => {
                    if self.complaints.recovered().is_some() {
                        let list = &self.options.list;
                        tracing::info!(list, "dead letters are read from Redis again");
                    }
                    if !read {
                        sleep(PAUSE).await;
                    }
                }
                Err(why) => {
                    self.complain(&why);
                    sleep(PAUSE).await;
                }
            }
        }
    }

    fn complain(&mut self, why: &str) {
        if let Some(failures) = self.complaints.failed(Instant::now()) {
            let list = &self.options.list;
            tracing::error!(
                list,
                failures,
                "dead letters wait in a Redis list (dead_letters.redis_list): {why}"
            );
        }
    }

    /// Whether there were any.
    async fn read_some(&self) -> Result<bool, String> {
        let head = self.look().await?;
        if head.elements.is_empty() {
            return Ok(false);
        }
        let now = UnixMillis::now();
        let letters = head.elements.iter();
        let mut letters: Vec<_> = letters.map(|element| self.letter(element, now)).collect();
        let kept = self.letters.keep(&mut letters).await;
        kept.map_err(|error| error.to_string())?;
        if !self.take(&head).await? {
            sleep(ASIDE.mul_f32(fastrand::f32())).await;
        }
        Ok(true)
    }

    async fn look(&self) -> Result<Head, String> {
        let args = (ELEMENTS, BYTES, LONGEST);
        let (too_long, mark, elements): (usize, String, Vec<Bytes>) = self
            .asked(async |mut conn| LOOK.run(&mut conn, &[&self.options.list], args).await)
            .await?;
        if too_long > 0 {
            return Err(format!(
                "its first element has {too_long} bytes, and the longest that is read has {LONGEST}: take it out with LPOP"
            ));
        }
        Ok(Head { elements, mark })
    }

    /// Takes the elements out, unless somebody did; whether they were there.
    async fn take(&self, head: &Head) -> Result<bool, String> {
        let bytes: usize = head.elements.iter().map(Bytes::len).sum();
        // One more, for elements without a byte at the end.
        let args = (head.elements.len(), bytes + 1, &head.mark);
        let taken: usize = self
            .asked(async |mut conn| TAKE.run(&mut conn, &[&self.options.list], args).await)
            .await?;
        Ok(taken > 0)
    }

    async fn asked<T>(&self, ask: impl AsyncFnOnce(Conn) -> Result<T, Fault>) -> Result<T, String> {
        let list = &self.options.list;
        let done = match self.nodes.connect(list).await {
            Ok(conn) => ask(conn).await,
            Err(fault) => Err(fault),
        };
        done.map_err(|fault| {
            self.nodes.suspect(list, &fault);
            match fault {
                Fault::Refused(words) if words.contains("WRONGTYPE") => {
                    "the key is no list; give dead_letters.redis_list another name, or delete the key".to_owned()
                }
                fault => fault.to_string(),
            }
        })
    }

    fn letter(&self, element: &Bytes, now: UnixMillis) -> DeadLetter {
        let Options { queue, queues, .. } = &self.options;
        let named = |name: &str| queues.iter().find(|queue| queue.as_str() == name).cloned();
        refusal::letter(element, queue, named, now)
    }
}
