//! The scripts, each atomic: what they do stands in `scripts/*.lua`.
//!
//! They are sent by their hash. A Redis that has forgotten them says so and has done
//! nothing; then they are loaded, and the call is sent again.

use std::sync::Mutex;
use std::time::Instant;

use deadpool_redis::redis::{Cmd, FromRedisValue, ToRedisArgs, Value, cmd, from_redis_value};

use super::books::Books;
use super::nodes::{Conn, Fault};
use crate::metrics;

const COMMON: &str = include_str!("scripts/common.lua");

/// One of the scripts.
#[derive(Debug)]
pub(super) struct Script {
    /// For the metrics.
    name: &'static str,
    body: &'static str,
    /// As Redis calls it, once a server was asked.
    hash: Mutex<Option<String>>,
}

const fn script(name: &'static str, body: &'static str) -> Script {
    Script {
        name,
        body,
        hash: Mutex::new(None),
    }
}

pub(super) static REGISTER: Script = script("register", include_str!("scripts/register.lua"));
pub(super) static RESUME: Script = script("resume", include_str!("scripts/resume.lua"));
pub(super) static HEARTBEAT: Script = script("heartbeat", include_str!("scripts/heartbeat.lua"));
pub(super) static SILENT: Script = script("silent", include_str!("scripts/silent.lua"));
pub(super) static LEASE: Script = script("lease", include_str!("scripts/lease.lua"));
pub(super) static SETTLE: Script = script("settle", include_str!("scripts/settle.lua"));
pub(super) static GIVE_BACK: Script = script("give_back", include_str!("scripts/give_back.lua"));
pub(super) static RECLAIM: Script = script("reclaim", include_str!("scripts/reclaim.lua"));
pub(super) static LOOK: Script = script("look", include_str!("scripts/look.lua"));
pub(super) static ARCHIVED: Script = script("archived", include_str!("scripts/archived.lua"));
pub(super) static TRIM: Script = script("trim", include_str!("scripts/trim.lua"));

/// What a script about a holder says, and the books after it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) word: Word,
    pub(super) books: Books,
    /// What else it answered.
    pub(super) rest: Option<Value>,
}

/// How a script went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Word {
    /// It was done.
    Ok,
    /// There is no such holder: it was reclaimed.
    Unknown,
    /// These lease numbers were asked for before.
    Stale,
    /// Others hold batches of an ordered queue.
    Ordered,
    /// The holder lives.
    Alive,
}

impl Script {
    /// Runs it with `keys` and `args`.
    pub(super) async fn run<T: FromRedisValue>(
        &'static self,
        conn: &mut Conn,
        keys: &[&str],
        args: impl ToRedisArgs,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let answer = self.run_known(conn, keys, &args).await;
        metrics::redis_took(self.name, begun.elapsed());
        answer
    }

    async fn run_known<T: FromRedisValue>(
        &'static self,
        conn: &mut Conn,
        keys: &[&str],
        args: &impl ToRedisArgs,
    ) -> Result<T, Fault> {
        let hash = match self.known() {
            Some(hash) => hash,
            None => self.load(conn).await?,
        };
        match conn.call(&call(&hash, keys, args)).await {
            Err(Fault::NoScript(_)) => {
                let hash = self.load(conn).await?;
                conn.call(&call(&hash, keys, args)).await
            }
            answered => answered,
        }
    }

    /// Runs one that answers about a holder.
    pub(super) async fn ask(
        &'static self,
        conn: &mut Conn,
        keys: &[&str],
        args: impl ToRedisArgs,
    ) -> Result<Answer, Fault> {
        let answer = self.run::<Vec<Value>>(conn, keys, args).await?;
        read(answer).ok_or_else(|| Fault::Lost("a script's answer makes no sense".to_owned()))
    }

    fn known(&self) -> Option<String> {
        self.lock().clone()
    }

    async fn load(&self, conn: &mut Conn) -> Result<String, Fault> {
        let body = format!("{COMMON}\n{}", self.body);
        let hash: String = conn.call(cmd("SCRIPT").arg("LOAD").arg(body)).await?;
        *self.lock() = Some(hash.clone());
        Ok(hash)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        let hash = self.hash.lock();
        hash.unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

fn call(hash: &str, keys: &[&str], args: &impl ToRedisArgs) -> Cmd {
    let mut call = cmd("EVALSHA");
    call.arg(hash).arg(keys.len()).arg(keys).arg(args);
    call
}

fn read(answer: Vec<Value>) -> Option<Answer> {
    let mut answer = answer.into_iter();
    let word: String = from_redis_value(answer.next()?).ok()?;
    let word = match word.as_str() {
        "ok" => Word::Ok,
        "unknown" => Word::Unknown,
        "stale" => Word::Stale,
        "ordered" => Word::Ordered,
        "alive" => Word::Alive,
        _ => return None,
    };
    let books: Vec<i64> = from_redis_value(answer.next()?).ok()?;
    Some(Answer {
        word,
        books: Books::read(&books)?,
        rest: answer.next(),
    })
}
