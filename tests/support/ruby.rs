//! What Ruby's `inspect` prints, in which Logstash writes down why an event was
//! refused. Checked against real JRuby in `tests/refusal_samples.rs`.

#![allow(dead_code)]

use serde_json::{Map, Value};

/// How a hash is printed: it changed with Ruby 3.4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ruby {
    /// `{"a"=>1}`, `{:_id=>nil}`: JRuby 9.4 and older.
    Before34,
    /// `{"a" => 1}`, `{_id: nil}`: JRuby 10.
    From34,
}

impl Ruby {
    /// `value.inspect`.
    pub(crate) fn inspect(self, value: &Value) -> String {
        match value {
            Value::Null => "nil".to_owned(),
            Value::Bool(_) => value.to_string(),
            Value::Number(number) if number.is_f64() => float(number.as_f64().expect("a float")),
            Value::Number(number) => number.to_string(),
            Value::String(text) => quoted(text),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(|item| self.inspect(item)).collect();
                format!("[{}]", items.join(", "))
            }
            Value::Object(members) => self.hash(members, |_, value| self.inspect(value)),
        }
    }

    /// An event's `to_hash.inspect`: its time is an object, which prints without quotes.
    fn event(self, event: &Map<String, Value>) -> String {
        self.hash(event, |name, value| match value {
            Value::String(time) if name == "@timestamp" => time.clone(),
            value => self.inspect(value),
        })
    }

    fn hash(self, members: &Map<String, Value>, print: impl Fn(&str, &Value) -> String) -> String {
        let arrow = match self {
            Self::Before34 => "=>",
            Self::From34 => " => ",
        };
        let member = |(name, value): (&String, &Value)| {
            format!("{}{arrow}{}", quoted(name), print(name, value))
        };
        let members: Vec<String> = members.iter().map(member).collect();
        format!("{{{}}}", members.join(", "))
    }

    /// What the elasticsearch output (11 and 12) writes into the dead letter queue about
    /// an event, from the element of the bulk answer that refused it.
    pub(crate) fn reason(self, id: &Value, event: &Map<String, Value>, item: &Value) -> String {
        let refusal = &item["index"];
        let parameters = [
            ("_id", id),
            ("_index", &refusal["_index"]),
            ("routing", &Value::Null),
        ];
        let parameters = parameters.map(|(name, value)| match self {
            Self::Before34 => format!(":{name}=>{}", self.inspect(value)),
            Self::From34 => format!("{name}: {}", self.inspect(value)),
        });
        format!(
            "Could not index event to Elasticsearch. status: {}, \
             action: [\"index\", {{{}}}, {}], response: {}",
            refusal["status"],
            parameters.join(", "),
            self.event(event),
            self.inspect(item)
        )
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            // These three would begin something inside a Ruby string.
            '#' if matches!(chars.peek(), Some('{' | '$' | '@')) => out += "\\#",
            '\n' => out += "\\n",
            '\t' => out += "\\t",
            '\r' => out += "\\r",
            '\x07' => out += "\\a",
            '\x08' => out += "\\b",
            '\x0b' => out += "\\v",
            '\x0c' => out += "\\f",
            '\x1b' => out += "\\e",
            c if c.is_ascii_control() || matches!(c, '\u{2028}' | '\u{2029}') => {
                out += &format!("\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `1.5`, `1.0e+20`, `1.0e-07`.
fn float(number: f64) -> String {
    let size = number.abs();
    if number == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{number:?}");
    }
    let text = format!("{number:e}");
    let (digits, exponent) = text.split_once('e').expect("an exponent");
    let exponent: i32 = exponent.parse().expect("a number");
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}{point}e{sign}{:02}", exponent.abs())
}
