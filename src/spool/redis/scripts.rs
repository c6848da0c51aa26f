//! The scripts, each atomic: what they do stands in `scripts/*.lua`.

use deadpool_redis::redis::{ToRedisArgs, Value, from_redis_value};

use super::books::Books;
use super::nodes::{Conn, Fault};
use super::script::Script;

const COMMON: &str = include_str!("scripts/common.lua");

const fn script(name: &'static str, body: &'static str) -> Script {
    Script::new(name, COMMON, body)
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
