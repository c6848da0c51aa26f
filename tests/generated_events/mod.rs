//! Events as clients may send them, good and damaged.

use proptest::prelude::*;
use proptest::sample::{Index, select};

/// White space between tokens, on one line.
pub(crate) fn blank() -> impl Strategy<Value = &'static str> {
    select(vec!["", "", "", "", " ", "  ", "\t", "\r", " \t "])
}

pub(crate) fn string() -> impl Strategy<Value = String> {
    let escape = select(vec![
        "\\\"",
        "\\\\",
        "\\/",
        "\\b",
        "\\f",
        "\\n",
        "\\r",
        "\\t",
        "\\u0000",
        "\\u0040",
        "\\u00e9",
        "\\uD83D\\uDE00",
        "\\uffff",
    ]);
    let piece = prop_oneof![
        4 => "[a-zA-Z0-9 @_.:,{}\\[\\]/'-]{0,20}",
        1 => escape.prop_map(str::to_owned),
        1 => any::<char>().prop_map(|c| match c {
            '"' | '\\' | '\0'..='\x1f' => "x".to_owned(),
            c => c.to_string(),
        }),
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

pub(crate) fn name() -> impl Strategy<Value = String> {
    let special = select(vec![
        r#""@metadata""#,
        r#""\u0040metadata""#,
        r#""@metadat\u0061""#,
        r#""@timestamp""#,
        r#""_id""#,
        r#""\u005fid""#,
        r#""accepted_at""#,
        r#""dead_letter_queue""#,
        r#""dead\u005fletter_queue""#,
        r#""a""#,
        r#""b""#,
        r#""""#,
    ]);
    prop_oneof![3 => special.prop_map(str::to_owned), 1 => string()]
}

pub(crate) fn scalar() -> impl Strategy<Value = String> {
    let number = "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,5})?([eE][+-]?[0-9]{1,2})?";
    prop_oneof![
        select(vec!["null", "true", "false"]).prop_map(str::to_owned),
        number,
        string(),
    ]
}

/// JSON text on one line.
pub(crate) fn value() -> impl Strategy<Value = String> {
    scalar().prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec((blank(), inner.clone(), blank()), 0..5).prop_map(array),
            members(inner).prop_map(object),
        ]
    })
}

pub(crate) type Spaced = (&'static str, String, &'static str);

pub(crate) fn members(
    value: impl Strategy<Value = String>,
) -> impl Strategy<Value = Vec<(Spaced, Spaced)>> {
    let member = ((blank(), name(), blank()), (blank(), value, blank()));
    prop::collection::vec(member, 0..5)
}

pub(crate) fn array(elements: Vec<Spaced>) -> String {
    let elements = elements
        .iter()
        .map(|(a, element, b)| format!("{a}{element}{b}"));
    format!("[{}]", elements.collect::<Vec<_>>().join(","))
}

pub(crate) fn object(members: Vec<(Spaced, Spaced)>) -> String {
    let members = members
        .iter()
        .map(|((a, name, b), (c, value, d))| format!("{a}{name}{b}:{c}{value}{d}"));
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// An object on one line; a good part has an `@metadata`.
pub(crate) fn event() -> impl Strategy<Value = String> {
    (blank(), members(value()).prop_map(object), blank())
        .prop_map(|(a, event, b)| format!("{a}{event}{b}"))
}

/// A change of one place of a text.
#[derive(Debug, Clone)]
pub(crate) enum Damage {
    Flip(Index, u8),
    Insert(Index, u8),
    Remove(Index),
    Cut(Index),
    Double(Index, Index),
}

impl Damage {
    fn apply(&self, text: &mut Vec<u8>) {
        if text.is_empty() {
            return;
        }
        match self {
            Self::Flip(at, byte) => {
                let at = at.index(text.len());
                text[at] = *byte;
            }
            Self::Insert(at, byte) => text.insert(at.index(text.len()), *byte),
            Self::Remove(at) => {
                text.remove(at.index(text.len()));
            }
            Self::Cut(at) => text.truncate(at.index(text.len())),
            Self::Double(from, to) => {
                let (from, to) = (from.index(text.len()), to.index(text.len()));
                let again = text[from.min(to)..from.max(to)].to_vec();
                text.splice(from..from, again);
            }
        }
    }
}

pub(crate) fn damage() -> impl Strategy<Value = Vec<Damage>> {
    let byte = || {
        prop_oneof![
            4 => select(b"{}[]:,\"\\ \t\r0123456789.-+eEtrufalsn/@x\x00\x1f\x7f\xc3\xff".to_vec()),
            1 => any::<u8>(),
        ]
    };
    let one = prop_oneof![
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Flip(at, byte)),
        (any::<Index>(), byte()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        any::<Index>().prop_map(Damage::Remove),
        any::<Index>().prop_map(Damage::Cut),
        any::<(Index, Index)>().prop_map(|(from, to)| Damage::Double(from, to)),
    ];
    prop::collection::vec(one, 1..4)
}

pub(crate) fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    (text, damage()).prop_map(|(text, damage)| {
        let mut bytes = text.into_bytes();
        damage.iter().for_each(|damage| damage.apply(&mut bytes));
        bytes
    })
}

/// Lines good and bad, blank lines, both line ends, the last one perhaps missing.
pub(crate) fn block() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        5 => event().prop_map(String::into_bytes),
        2 => damaged(event()),
        1 => value().prop_map(String::into_bytes),
        1 => blank().prop_map(|blank| blank.as_bytes().to_vec()),
    ];
    let end = select(vec![&b"\n"[..], b"\n", b"\r\n"]);
    (prop::collection::vec((line, end), 0..12), any::<bool>()).prop_map(|(lines, last_end)| {
        let mut block: Vec<u8> = lines
            .iter()
            .flat_map(|(line, end)| [line, *end].concat())
            .collect();
        if !last_end {
            block.pop();
        }
        block
    })
}
