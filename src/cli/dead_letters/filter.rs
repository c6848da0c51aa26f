//! Which letters are meant, as arguments.

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::batch::{QueueName, UnixMillis};
use crate::cli::moment::moment;
use crate::cli::output::quoted;
use crate::cli::{Exit, Failure};
use crate::dead_letter::workbench::Filter;
use crate::dead_letter::{Reason, Source};

/// Over these arguments in the help.
const WHICH: &str = "Which letters (those that fit all that is said)";

/// Which letters: those that fit all that is said.
#[derive(Debug, Clone, Args)]
pub(super) struct Which {
    /// Sent to this queue.
    #[arg(help_heading = WHICH, long, value_name = "QUEUE")]
    queue: Option<QueueName>,
    /// For this reason, such as mapping_conflict.
    #[arg(help_heading = WHICH, long, value_parser = reasons(), hide_possible_values = true, value_name = "REASON")]
    reason: Option<Reason>,
    /// With this field to blame, such as user.id; '*' for fields that have no group of their
    /// own in `groups`.
    #[arg(help_heading = WHICH, long, value_name = "FIELD")]
    field: Option<String>,
    /// Found by: grpc, http, tcp, lumberjack, redis (at the door), forwarder, or
    /// logstash (refused by Elasticsearch).
    #[arg(help_heading = WHICH, long, value_parser = sources(), hide_possible_values = true, value_name = "SOURCE")]
    source: Option<Source>,
    /// Of this id.
    #[arg(help_heading = WHICH, long, value_name = "ID")]
    id: Option<String>,
    /// Filed then or later: 2026-11-21T20:53:00Z, 2026-11-21T22:53:00+02:00, 2026-11-21 (in
    /// UTC), or 2h for two hours ago.
    #[arg(help_heading = WHICH, long, value_parser = moment, value_name = "TIME")]
    from: Option<UnixMillis>,
    /// Filed before.
    #[arg(help_heading = WHICH, long, value_parser = moment, value_name = "TIME")]
    to: Option<UnixMillis>,
    /// Only those that were refused as often as they may be.
    #[arg(help_heading = WHICH, long)]
    parked: bool,
    /// For whose event this jq expression is true, such as '.level == "debug"'.
    #[arg(help_heading = WHICH, long = "where", value_name = "JQ")]
    condition: Option<String>,
}

/// Which letters a command changes.
#[derive(Debug, Clone, Args)]
pub(super) struct WhichToChange {
    #[command(flatten)]
    which: Which,
    /// All letters: without a filter, nothing is changed unless you say so.
    #[arg(help_heading = WHICH, long)]
    all: bool,
}

fn reasons() -> impl TypedValueParser<Value = Reason> {
    let words = PossibleValuesParser::new(Reason::all().map(Reason::as_str));
    words.try_map(|word| Reason::named(&word).ok_or("no reason"))
}

fn sources() -> impl TypedValueParser<Value = Source> {
    let words = PossibleValuesParser::new(Source::ALL.map(Source::as_str));
    words.try_map(|word| {
        let mut sources = Source::ALL.into_iter();
        sources.find(|s| s.as_str() == word).ok_or("no source")
    })
}

impl Which {
    /// As the gateway takes it.
    pub(super) fn filter(&self) -> Filter {
        Filter {
            queue: self.queue.clone(),
            reason: self.reason,
            field: self.field.clone(),
            source: self.source,
            id: self.id.clone(),
            from: self.from,
            to: self.to,
            parked: self.parked.then_some(true),
            condition: self.condition.clone(),
        }
    }

    /// As it is written in a command, with a blank before each part.
    pub(super) fn written(&self) -> String {
        let texts = [
            ("queue", self.queue.as_ref().map(ToString::to_string)),
            ("reason", self.reason.map(|r| r.as_str().to_owned())),
            ("field", self.field.clone()),
            ("source", self.source.map(|s| s.as_str().to_owned())),
            ("id", self.id.clone()),
            ("from", self.from.map(|at| at.to_string())),
            ("to", self.to.map(|at| at.to_string())),
            ("where", self.condition.clone()),
        ];
        let given = texts.into_iter().filter_map(|(name, text)| {
            let text = text?;
            Some(format!(" --{name} {}", quoted(&text)))
        });
        let parked = if self.parked { " --parked" } else { "" };
        given.chain([parked.to_owned()]).collect()
    }

    /// Whether the numbers of groups tell how many there are to look at.
    pub(super) fn is_timeless(&self) -> bool {
        self.from.is_none() && self.to.is_none() && self.id.is_none()
    }
}

impl WhichToChange {
    pub(super) fn which(&self) -> &Which {
        &self.which
    }

    /// As the gateway takes it. If they are to be changed, all letters are meant only
    /// where that is said.
    pub(super) fn filter(&self, changes: bool) -> Result<Filter, Failure> {
        let filter = self.which.filter();
        let is_all = filter == Filter::default();
        if changes && is_all && !self.all {
            return Err(Failure::new(
                Exit::Usage,
                "say which letters (--queue, --reason, --field, --id, ...), or --all for all of them",
            ));
        }
        if self.all && !is_all {
            return Err(Failure::new(
                Exit::Usage,
                "--all means all letters, and a filter some of them: give one of the two",
            ));
        }
        Ok(filter)
    }

    /// As it is written in a command that changes letters.
    pub(super) fn written(&self) -> String {
        match self.which.filter() == Filter::default() {
            true => " --all".to_owned(),
            false => self.which.written(),
        }
    }
}
