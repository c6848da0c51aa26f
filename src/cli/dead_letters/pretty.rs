//! JSON over many lines. Numbers stay as they stand: one of 30 digits, or one that no
//! float can hold, is part of what a person looks for. Strings are shown by their
//! characters, however they are escaped, since that makes no difference to anybody.

/// Deeper levels are not set in further: what an attacker nests a million times must
/// not become a million times a million blanks.
const DEEPEST: usize = 16;

/// `json` over many lines. It has to be valid JSON; something else comes out as it is,
/// more or less.
pub(super) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0usize;
    let mut chars = json.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out.push_str(&string(&mut chars)),
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(end) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(end);
                } else {
                    depth += 1;
                    new_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                new_line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                new_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// The rest of a string, with its quotes.
fn string(chars: &mut impl Iterator<Item = char>) -> String {
    let mut token = String::from('"');
    while let Some(c) = chars.next() {
        token.push(c);
        match c {
            '\\' => token.extend(chars.next()),
            '"' => break,
            _ => {}
        }
    }
    let text = serde_json::from_str::<String>(&token);
    // What is no character (half a surrogate pair) stays escaped.
    let plain = text.and_then(|text| serde_json::to_string(&text));
    plain.unwrap_or(token)
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    for _ in 0..depth.min(DEEPEST) {
        out.push_str("  ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stay_as_they_are_and_strings_show_their_characters() {
        let json = r#"{"a":1e400,"b":[-0, 12345678901234567890123, {}, []],"c\"{[,:":"\u001b \u00fc","d":"\ud800 \u00fc"}"#;
        let expected = r#"{
  "a": 1e400,
  "b": [
    -0,
    12345678901234567890123,
    {},
    []
  ],
  "c\"{[,:": "\u001b ü",
  "d": "\ud800 \u00fc"
}"#;
        assert_eq!(pretty(json), expected);
        assert_eq!(pretty(expected), expected);
    }

    #[test]
    fn a_nest_of_a_million_does_not_grow_with_its_square() {
        let json = "[".repeat(1 << 19) + "1" + &"]".repeat(1 << 19);
        assert!(pretty(&json).len() < 40 << 20);
    }
}
