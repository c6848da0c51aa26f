//! `stashgate replay`

mod view;
mod watch;

use std::io::{IsTerminal, Write};

use bytes::Bytes;
use clap::{ArgGroup, Args, Subcommand};
use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::oneshot;

use super::http::{Call, JSON, No, Remote};
use super::interrupt::Interrupt;
use super::moment::moment;
use super::{Exit, Failure, output};
use crate::batch::{QueueName, UnixMillis};
use crate::replay::{Job, State};
pub(super) use view::line;
use watch::{Left, watch};

const PATH: &str = "/api/v1/replays";
const DAY_MILLIS: u64 = 86_400_000;

const EXAMPLES: &str = "\
Examples:
  stashgate replay --day 2026-11-20 --dry-run      only count, day by day
  stashgate replay --day 2026-11-20                count, ask, send
  stashgate replay --from 2026-11-20T08:00:00Z --to 2026-11-20T09:30:00Z --yes
  stashgate replay --day 2026-11-20 --where '.service == \"shop\"' --rate 5000
  stashgate replay status                          what is under way
  stashgate replay pause 3                         and resume 3, cancel 3

Events keep their ids: what is sent twice overwrites itself in an index whose
document ids are @metadata._id. Not so in data streams, after a rollover, and for
events that others put into Redis; the count tells how many those are.

The gateway does the work, behind live traffic, and goes on after a restart.
Ctrl-C only ends the looking on. With spool.kind = \"redis\" the replay belongs to
the gateway that was asked, but reads what all of them delivered through Redis.";

/// Send again what was accepted in a range of time.
///
/// Counts what the archive has, shows it, asks, and puts it into the queue again;
/// exit code 0 when all of it is there.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = EXAMPLES
)]
pub(super) struct Replay {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    wish: Wish,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show replays, or one of them.
    Status(Status),
    /// Stop one for a while.
    Pause(Change),
    /// Let one go on; after a dry run, send what was counted.
    Resume(Change),
    /// Stop one for good. What is in the queue already is sent.
    Cancel(Change),
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("range").required(true).multiple(true).args(["from", "day"]))]
struct Wish {
    #[command(flatten)]
    remote: Remote,
    /// The queue whose archive is read.
    #[arg(long, default_value_t)]
    queue: QueueName,
    /// From this time of acceptance on: 2026-11-20T08:00:00Z, 2026-11-20T10:00:00+02:00,
    /// 2026-11-20 (in UTC), or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "day")]
    from: Option<UnixMillis>,
    /// Before this time; never later than now.
    #[arg(long, value_name = "TIME", value_parser = moment, conflicts_with = "day")]
    to: Option<UnixMillis>,
    /// A whole day in UTC, such as 2026-11-20. For one of another time zone, say --from and
    /// --to with the offset at that time.
    #[arg(long, value_name = "DATE", value_parser = day)]
    day: Option<UnixMillis>,
    /// Only events for which this jq expression gives neither false nor null.
    #[arg(long = "where", value_name = "JQ")]
    filter: Option<String>,
    /// Put them into another queue.
    #[arg(long, value_name = "QUEUE")]
    to_queue: Option<QueueName>,
    /// Most events a second.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    rate: Option<u64>,
    /// Only count. `replay resume` sends what was counted.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask after the count.
    #[arg(long, short, conflicts_with = "dry_run")]
    yes: bool,
    /// Print what became of it as JSON, and no progress.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Status {
    #[command(flatten)]
    remote: Remote,
    /// Its number; without one, all are shown.
    id: Option<u64>,
    /// Look on until it is at its end.
    #[arg(long, requires = "id")]
    follow: bool,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Change {
    #[command(flatten)]
    remote: Remote,
    /// Its number; not needed if there is only one that is not over.
    id: Option<u64>,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct List {
    replays: Vec<Job>,
}

fn day(text: &str) -> Result<UnixMillis, String> {
    let start = format!("{text}T00:00:00Z").parse();
    start.map_err(|_| "write a day such as 2026-11-20".to_owned())
}

impl Replay {
    pub(super) fn run(self) -> Result<Exit, Failure> {
        match self.command {
            None => self.wish.run(),
            Some(Command::Status(status)) => status.run(),
            Some(Command::Pause(change)) => change.run("pause"),
            Some(Command::Resume(change)) => change.run("resume"),
            Some(Command::Cancel(change)) => change.run("cancel"),
        }
    }
}

impl Wish {
    fn run(self) -> Result<Exit, Failure> {
        let can_ask = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
        if !self.yes && !self.dry_run && (self.json || !can_ask) {
            let what = "nobody can be asked here: say --yes to send, or --dry-run to count";
            return Err(Failure::new(Exit::Usage, what));
        }
        let mut interrupt = Interrupt::listen()?;
        let job: Job = begin(&self.remote, &self.body())?;
        let job = match watch(&self.remote, &mut interrupt, job, self.json)? {
            Left::Ended(job) => job,
            Left::Interrupted(job) => return Ok(goes_on(&self.remote, &job)),
        };
        if job.state != State::Counted {
            return Ok(self.ended(&job));
        }
        if job.counted.matching_events == 0 {
            return self.nothing(&job);
        }
        if self.dry_run {
            return Ok(self.counted(&job));
        }
        if !self.json {
            output::print(view::counted(&job));
        }
        if !self.yes {
            let exit = match interrupt.until(confirmed(&job)) {
                Some(true) => None,
                Some(false) => Some(Exit::No),
                None => {
                    // Behind the question.
                    eprintln!();
                    Some(Exit::Interrupted)
                }
            };
            if let Some(exit) = exit {
                command(&self.remote, job.id, "cancel")?;
                output::print("nothing is sent\n");
                return Ok(exit);
            }
        }
        let job = command(&self.remote, job.id, "resume")?;
        match watch(&self.remote, &mut interrupt, job, self.json)? {
            Left::Ended(job) => Ok(self.ended(&job)),
            Left::Interrupted(job) => Ok(goes_on(&self.remote, &job)),
        }
    }

    /// Always counts first: what comes then is asked for apart.
    fn body(&self) -> serde_json::Value {
        let day = self.day.map(|day| (day, UnixMillis(day.0 + DAY_MILLIS)));
        json!({
            "queue": self.queue,
            "to_queue": self.to_queue,
            "from": self.from.or(day.map(|(from, _)| from)),
            "to": self.to.or(day.map(|(_, to)| to)),
            "where": self.filter,
            "rate": self.rate,
            "dry_run": true,
        })
    }

    fn counted(&self, job: &Job) -> Exit {
        let next = |what: &str| self.remote.command(&format!("replay {what} {}", job.id));
        let text = format!(
            "{}to send them: {}\nto forget it: {}\n",
            view::counted(job),
            next("resume"),
            next("cancel")
        );
        self.tell(job, &text);
        Exit::Done
    }

    /// It is not left among those that wait to be told.
    fn nothing(&self, counted: &Job) -> Result<Exit, Failure> {
        let text = view::counted(counted) + "there is nothing to send\n";
        let job = command(&self.remote, counted.id, "cancel")?;
        self.tell(&job, &text);
        Ok(match self.dry_run {
            true => Exit::Done,
            false => Exit::No,
        })
    }

    fn ended(&self, job: &Job) -> Exit {
        self.tell(job, &view::ended(job));
        exit(job)
    }

    fn tell(&self, job: &Job, text: &str) {
        match self.json {
            true => print_json(job),
            false => output::print(text),
        }
    }
}

impl Status {
    fn run(self) -> Result<Exit, Failure> {
        let Some(id) = self.id else {
            let body = get(&self.remote, "")?;
            let list: List = read(&body)?;
            match self.json {
                true => output::print(format_args!("{}\n", String::from_utf8_lossy(&body))),
                false => output::print(view::list(&list.replays)),
            }
            return Ok(Exit::Done);
        };
        let job: Job = read(&get(&self.remote, &format!("/{id}"))?)?;
        let job = match self.follow {
            false => job,
            true => match watch(&self.remote, &mut Interrupt::listen()?, job, self.json)? {
                Left::Ended(job) => job,
                Left::Interrupted(job) => return Ok(goes_on(&self.remote, &job)),
            },
        };
        match self.json {
            true => print_json(&job),
            false => output::print(view::detail(&job)),
        }
        Ok(if self.follow { exit(&job) } else { Exit::Done })
    }
}

impl Change {
    fn run(self, what: &str) -> Result<Exit, Failure> {
        let id = match self.id {
            Some(id) => id,
            None => only(&self.remote)?,
        };
        let job = command(&self.remote, id, what)?;
        match self.json {
            true => print_json(&job),
            false => output::print(view::list(&[job])),
        }
        Ok(Exit::Done)
    }
}

/// The one that is not over, if there is only one.
fn only(remote: &Remote) -> Result<u64, Failure> {
    let list: List = read(&get(remote, "")?)?;
    let open = list.replays.iter().filter(|job| !job.state.is_over());
    let open: Vec<u64> = open.map(|job| job.id).collect();
    match open[..] {
        [id] => Ok(id),
        [] => Err(Failure::new(Exit::No, "no replay is under way")),
        _ => {
            let open: Vec<_> = open.iter().map(u64::to_string).collect();
            let what = format!("say which one of {}", open.join(", "));
            Err(Failure::new(Exit::Usage, what))
        }
    }
}

fn begin(remote: &Remote, wanted: &serde_json::Value) -> Result<Job, Failure> {
    read(&post(remote, "", wanted)?)
}

fn command(remote: &Remote, id: u64, what: &str) -> Result<Job, Failure> {
    read(&post(remote, &format!("/{id}/{what}"), &json!({}))?)
}

fn get(remote: &Remote, path: &str) -> Result<Bytes, Failure> {
    ask(remote, Call::new(Method::GET, PATH.to_owned() + path))
}

fn post(remote: &Remote, path: &str, body: &serde_json::Value) -> Result<Bytes, Failure> {
    let call = Call::new(Method::POST, PATH.to_owned() + path);
    ask(remote, call.with(JSON, body.to_string()))
}

fn ask(remote: &Remote, call: Call) -> Result<Bytes, Failure> {
    answered(remote, remote.call(call))
}

/// What the gateway refuses, it says why; that is no reason to look for it elsewhere.
fn answered(remote: &Remote, answer: Result<Bytes, No>) -> Result<Bytes, Failure> {
    answer.map_err(|no| match no {
        No::Refused(status, words)
            if status.is_client_error() && status != StatusCode::UNAUTHORIZED =>
        {
            Failure::new(Exit::No, words)
        }
        no => remote.failure(&no.to_string()),
    })
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(body).map_err(|error| Failure::new(Exit::Unreachable, error))
}

/// Asks. A thread reads the answer, so that nobody who has left is waited for.
async fn confirmed(job: &Job) -> bool {
    let events = output::thousands(job.counted.matching_events);
    let queue = job.wanted.target();
    eprint!("Put {events} events into queue {queue} again? [y/N] ");
    let _ = std::io::stderr().flush();
    let (to, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        let _ = to.send(read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes"));
    });
    answer.await.unwrap_or(false)
}

fn print_json(job: &Job) {
    let text = serde_json::to_string(job).unwrap_or_default();
    output::print(format_args!("{text}\n"));
}

/// What is asked for from here only counts at first, so what was left while it counted is
/// not sent by itself.
fn goes_on(remote: &Remote, job: &Job) -> Exit {
    let id = job.id;
    let next = |what: &str| remote.command(&format!("replay {what}"));
    let what = match job.wanted.dry_run {
        true => format!(
            "replay {id} only counts at the gateway, and sends nothing by itself\n\
             to send what it counted: {}",
            next(&format!("resume {id}"))
        ),
        false => format!("replay {id} goes on at the gateway"),
    };
    eprintln!(
        "{what}\n\
         to look on: {}\n\
         to stop it for a while: {}\n\
         to stop it for good: {}",
        next(&format!("status {id} --follow")),
        next(&format!("pause {id}")),
        next(&format!("cancel {id}"))
    );
    Exit::Interrupted
}

/// Whether all that was counted is in the queue.
fn exit(job: &Job) -> Exit {
    match job.state == State::Done && job.missing_events == 0 {
        true => Exit::Done,
        false => Exit::No,
    }
}
