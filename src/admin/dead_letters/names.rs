//! The names that may be given, and the nearest one to one that may not.

use super::refusal::Refusal;
use crate::dead_letter::{Reason, Source};

/// Members of a filter, in the order in which they are told.
pub(super) const FILTER: [&str; 9] = [
    "queue", "reason", "field", "source", "id", "from", "to", "parked", "where",
];

/// Refuses the first of `given` that is not `known`.
pub(super) fn check<'g>(
    mut given: impl Iterator<Item = &'g String>,
    known: &[&str],
) -> Result<(), Refusal> {
    match given.find(|name| !known.contains(&name.as_str())) {
        Some(name) => Err(unknown("name", name, known)),
        None => Ok(()),
    }
}

/// Refuses what is no reason's name.
pub(super) fn check_reason(word: &str) -> Result<(), Refusal> {
    let known: Vec<_> = Reason::all().map(Reason::as_str).collect();
    check_word("reason", word, &known)
}

/// Refuses what is no source's name.
pub(super) fn check_source(word: &str) -> Result<(), Refusal> {
    check_word("source", word, &Source::ALL.map(Source::as_str))
}

fn check_word(what: &str, word: &str, known: &[&str]) -> Result<(), Refusal> {
    match known.contains(&word) {
        true => Ok(()),
        false => Err(unknown(what, word, known)),
    }
}

fn unknown(what: &str, word: &str, known: &[&str]) -> Refusal {
    let shown: String = word.chars().take(80).collect();
    let likeness = |known: &&&str| strsim::jaro_winkler(word, known);
    let nearest = known
        .iter()
        .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
        .copied()
        .unwrap_or_default();
    Refusal::bad(format!(
        "there is no {what} {shown:?}; the nearest one is {nearest:?}, all are: {}",
        known.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::UnixMillis;
    use crate::dead_letter::workbench::Filter;

    #[test]
    fn every_member_of_a_filter_is_known() {
        let filter = Filter {
            queue: Some("logstash".parse().expect("a name")),
            reason: Reason::named("poison"),
            field: Some("a".into()),
            source: Some(Source::Tcp),
            id: Some("1".into()),
            from: Some(UnixMillis(0)),
            to: Some(UnixMillis(1)),
            parked: Some(true),
            condition: Some(".a".into()),
        };
        let json = serde_json::to_value(filter).expect("writes");
        let mut written: Vec<_> = json.as_object().expect("an object").keys().collect();
        let mut known = FILTER.map(str::to_owned);
        written.sort();
        known.sort();
        assert_eq!(written, known.iter().collect::<Vec<_>>());
    }
}
