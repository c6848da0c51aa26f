//! What a server's words mean: the class of the refusal, the field, and a sentence.
//!
//! The wordings are those of Elasticsearch 7, 8 and 9 and OpenSearch 2 and 3, as
//! recorded in `tests/fixtures/refusals`, and of Elasticsearch 6. Each is looked for at
//! the beginning of a cause's words, never within, since what follows may be a client's.

use super::said::{Cause, Said};
use crate::dead_letter::Unindexable;
use crate::event::kind_at;

/// What is wrong with an event, as far as it is understood.
#[derive(Debug, PartialEq)]
pub(super) struct Verdict {
    pub(super) reason: Unindexable,
    pub(super) field: Option<String>,
    /// What is wrong in a sentence's part; empty where the server's words say it best.
    pub(super) what: String,
}

/// Judges what was said of `event`, a JSON object.
pub(super) fn judge(said: &Said, event: &[u8]) -> Verdict {
    let words = || said.causes.iter().map(|cause| bare(&cause.reason));
    let first = |wording: &dyn Fn(&str) -> Option<Verdict>| words().find_map(wording);
    first(&limit)
        .or_else(|| first(&strict))
        .or_else(|| first(&term))
        .or_else(|| first(&metadata))
        .or_else(|| missing(said))
        .or_else(|| first(&|words| conflict(words, event)))
        .unwrap_or_else(|| by_kind(said))
}

/// The words without the position before them (`[1:17] `, since Elasticsearch 8), and
/// without the words that the next cause explains.
fn bare(words: &str) -> &str {
    let words = match words
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("] "))
    {
        Some((place, rest)) if place.bytes().all(|b| b.is_ascii_digit() || b == b':') => rest,
        _ => words,
    };
    words.strip_prefix("failed to parse: ").unwrap_or(words)
}

fn limit(words: &str) -> Option<Verdict> {
    let (most, _) = between(words, "Limit of total fields [", "] has been exceeded")?;
    Some(Verdict {
        reason: Unindexable::TooManyFields,
        field: None,
        what: format!(
            "the index would have more than {most} fields (index.mapping.total_fields.limit)"
        ),
    })
}

fn strict(words: &str) -> Option<Verdict> {
    let rest = words.strip_prefix("mapping set to strict")?;
    let (_, rest) = rest.split_once("dynamic introduction of [")?;
    let rest = rest.strip_suffix("] is not allowed")?;
    let (name, within) = rest.rsplit_once("] within [")?;
    // `_doc`: the event itself.
    let field = match within {
        "_doc" => name.to_owned(),
        _ => format!("{within}.{name}"),
    };
    Some(Verdict {
        reason: Unindexable::StrictMapping,
        what: format!("the strict mapping has no field `{field}`"),
        field: Some(field),
    })
}

fn term(words: &str) -> Option<Verdict> {
    let start = "Document contains at least one immense term in field=\"";
    let (field, _) = between(words, start, "\" (whose UTF8 encoding")?;
    Some(Verdict {
        reason: Unindexable::IllegalArgument,
        what: format!("field `{field}` is longer than the 32,766 bytes that a term may have"),
        field: Some(field.to_owned()),
    })
}

fn metadata(words: &str) -> Option<Verdict> {
    let (field, _) = between(
        words,
        "Field [",
        "] is a metadata field and cannot be added",
    )?;
    Some(Verdict {
        reason: Unindexable::MappingConflict,
        what: format!("field `{field}` is the index's own and cannot be set"),
        field: Some(field.to_owned()),
    })
}

fn missing(said: &Said) -> Option<Verdict> {
    let (reason, what) = match said.causes.first()?.kind.as_str() {
        "index_not_found_exception" => (Unindexable::IndexMissing, "does not exist"),
        "index_closed_exception" => (Unindexable::IndexClosed, "is closed"),
        _ => return None,
    };
    let index = said.index.as_deref().unwrap_or_default();
    Some(Verdict {
        reason,
        field: None,
        what: format!("index `{index}` {what}"),
    })
}

/// A field with another type than the mapping's.
fn conflict(words: &str, event: &[u8]) -> Option<Verdict> {
    let (field, is, got) = of_type(words, event)
        .or_else(|| of_object(words, event))
        .or_else(|| of_dynamic(words))
        .or_else(|| of_change(words))
        .or_else(|| of_name(words, event))?;
    let what = match (is.is_empty(), got.is_empty()) {
        (true, _) => String::new(),
        (_, true) => format!("field `{field}` is {is}"),
        _ => format!("field `{field}` is {is}, got {got}"),
    };
    Some(Verdict {
        reason: Unindexable::MappingConflict,
        field: Some(field),
        what,
    })
}

/// A field's path, what it is in the mapping, what it got; in words.
type Conflict = (String, String, String);

/// `failed to parse field [user.id] of type [long] in document with id 'x'. Preview of
/// field's value: 'abc'`
fn of_type(words: &str, event: &[u8]) -> Option<Conflict> {
    const OF_TYPE: &str = "] of type [";
    let rest = words.strip_prefix("failed to parse field [")?;
    // A field's name may hold these words too; a type's name has no blanks.
    let (at, is) = rest.match_indices(OF_TYPE).find_map(|(at, _)| {
        let (is, behind) = rest[at + OF_TYPE.len()..].split_once(']')?;
        let plain = is.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        let ends = behind.is_empty() || behind.starts_with(" in document with id '");
        (plain && ends).then_some((at, is))
    })?;
    let field = &rest[..at];
    let got = kind_at(event, field).or_else(|| {
        // A name with dots that no level of the event has.
        rest.contains("Preview of field's value: '{")
            .then_some("an object")
    });
    let got = match got {
        // A date is a string to JSON, and a good one may be too long or too large.
        Some("a string") if matches!(is, "text" | "keyword" | "wildcard" | "match_only_text") => "",
        Some("a string") if is == "date" => "a string that is no date",
        Some("a number") if is == "date" || is_number(is) => "a number that it does not take",
        Some("null" | "an empty array") | None => "",
        Some(got) => got,
    };
    Some((field.to_owned(), is.to_owned(), got.to_owned()))
}

fn is_number(is: &str) -> bool {
    const NUMBERS: [&str; 9] = [
        "long",
        "integer",
        "short",
        "byte",
        "double",
        "float",
        "half_float",
        "scaled_float",
        "unsigned_long",
    ];
    NUMBERS.contains(&is)
}

/// `object mapping for [a.b] tried to parse field [b] as object, but found a concrete value`
fn of_object(words: &str, event: &[u8]) -> Option<Conflict> {
    let (field, _) = between(words, "object mapping for [", "] tried to parse field [")?;
    let got = match kind_at(event, field) {
        None | Some("an object") => "a single value",
        Some(got) => got,
    };
    Some((field.to_owned(), "an object".to_owned(), got.to_owned()))
}

/// `Could not dynamically add mapping for field [a.b]. Existing mapping for [a] must be of
/// type object but found [long].`: the field in question is `a`.
fn of_dynamic(words: &str) -> Option<Conflict> {
    let rest = words.strip_prefix("Could not dynamically add mapping for field [")?;
    let (_, rest) = rest.rsplit_once("]. Existing mapping for [")?;
    let (field, rest) = rest.rsplit_once("] must be of type object but found [")?;
    let (is, _) = rest.split_once(']')?;
    Some((field.to_owned(), is.to_owned(), "an object".to_owned()))
}

/// `mapper [x] cannot be changed from type [long] to [text]`; in Elasticsearch 6
/// `mapper [x] of different type, current_type [long], merged_type [text]`.
fn of_change(words: &str) -> Option<Conflict> {
    let rest = words.strip_prefix("mapper [")?;
    let (field, rest) = rest
        .rsplit_once("] cannot be changed from type [")
        .or_else(|| rest.rsplit_once("] of different type, current_type ["))?;
    let (is, rest) = rest.split_once(']')?;
    let (_, got) = rest.rsplit_once('[')?;
    let got = got.strip_suffix(']')?;
    let got = match got {
        "ObjectMapper" => "an object",
        _ => got,
    };
    Some((field.to_owned(), is.to_owned(), got.to_owned()))
}

/// Words that name the field and leave the rest to the reader.
fn of_name(words: &str, event: &[u8]) -> Option<Conflict> {
    let named = |start, end| between(words, start, end).map(|(field, _)| field);
    let object = named(
        "can't merge a non object mapping [",
        "] with an object mapping",
    );
    if let Some(field) = object {
        return Some((
            field.to_owned(),
            "a single value".to_owned(),
            "an object".to_owned(),
        ));
    }
    let field = named("failed to parse [", "]")
        .or_else(|| named("Mapper for [", "] conflicts with existing mapping"))
        .or_else(|| named("object mapping [", "] can't be changed from "))
        .or_else(|| {
            named(
                "object field starting or ending with a [.] makes object resolution ambiguous: [",
                "]",
            )
        })
        .or_else(|| {
            let (_, field) = words.strip_prefix("illegal l")?.rsplit_once("] for ")?;
            kind_at(event, field).map(|_| field)
        })?;
    Some((field.to_owned(), String::new(), String::new()))
}

/// Only the class of the error is known: that of the first cause that the next one does
/// not explain.
fn by_kind(said: &Said) -> Verdict {
    let causes = &said.causes;
    let explained = |at: usize| {
        let words = bare(&causes[at].reason);
        let next = causes.get(at + 1);
        next.is_some_and(|next| words == "failed to parse" || words == bare(&next.reason))
    };
    let places = 0..causes.len();
    let unexplained = places.clone().filter(|at| !explained(*at));
    let reason = unexplained.chain(places).find_map(|at| class(&causes[at]));
    Verdict {
        reason: reason.unwrap_or(Unindexable::Other),
        field: None,
        what: String::new(),
    }
}

fn class(cause: &Cause) -> Option<Unindexable> {
    let is_limit = bare(&cause.reason).starts_with("The number of nested documents has exceeded");
    match cause.kind.as_str() {
        "mapper_parsing_exception" | "document_parsing_exception" if !is_limit => {
            Some(Unindexable::MappingConflict)
        }
        "strict_dynamic_mapping_exception" => Some(Unindexable::StrictMapping),
        "mapper_parsing_exception"
        | "document_parsing_exception"
        | "parse_exception"
        | "illegal_argument_exception" => Some(Unindexable::IllegalArgument),
        _ => None,
    }
}

/// What stands between `start`, with which the words begin, and the first `end`; and the
/// words behind that.
fn between<'a>(words: &'a str, start: &str, end: &str) -> Option<(&'a str, &'a str)> {
    words.strip_prefix(start)?.split_once(end)
}
