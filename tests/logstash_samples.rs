//! The sample pipelines in `docker/logstash`: their form, and the settings without
//! which events are lost, doubled or stuck. No Logstash runs here; what is checked
//! is that the files parse by Logstash's grammar and say what they must.

use std::collections::BTreeMap;
use std::fs;

/// A pipeline as a tree: what stands in each block, in order.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// `name { ... }`: a section or a plugin, or a value with options.
    Block(String, Vec<Node>),
    /// `name => value`.
    Setting(String, String),
    /// `if CONDITION { ... }` or one of its `else`s.
    Branch(String, Vec<Node>),
}

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Word(String),
    Text(String),
    Sign(char),
}

fn sample(name: &str) -> String {
    let path = format!("{}/docker/logstash/{name}", env!("CARGO_MANIFEST_DIR"));
    fs::read_to_string(path).expect("the sample is there")
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            '"' => {
                let end = rest[1..].find('"').expect("a string ends") + 2;
                found.push(Token::Text(rest[1..end - 1].to_owned()));
                end
            }
            c if is_word(c) => {
                let end = rest.find(|c: char| !is_word(c)).unwrap_or(rest.len());
                found.push(Token::Word(rest[..end].to_owned()));
                end
            }
            '{' | '}' | '[' | ']' | ',' | '=' | '>' => {
                found.push(Token::Sign(first));
                1
            }
            other => panic!("{other:?} is not of Logstash's grammar"),
        };
        rest = rest[len..].trim_start();
    }
    found
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '@'
}

/// Reads tokens up to the end of the block.
struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
    fn of(text: &str) -> Self {
        let tokens = tokens(text).into_iter().peekable();
        Self { tokens }
    }

    fn nodes(&mut self) -> Vec<Node> {
        let mut nodes = Vec::new();
        loop {
            match self.tokens.next() {
                None | Some(Token::Sign('}')) => return nodes,
                Some(Token::Word(word)) if word == "if" || word == "else" => {
                    let condition = self.condition(word);
                    nodes.push(Node::Branch(condition, self.nodes()));
                }
                Some(Token::Word(name) | Token::Text(name)) => nodes.push(self.named(name)),
                Some(sign) => panic!("{sign:?} begins nothing"),
            }
        }
    }

    fn named(&mut self, name: String) -> Node {
        match self.tokens.next() {
            Some(Token::Sign('{')) => Node::Block(name, self.nodes()),
            Some(Token::Sign('=')) => {
                assert_eq!(self.tokens.next(), Some(Token::Sign('>')), "after {name} =");
                Node::Setting(name, self.value())
            }
            other => panic!("{other:?} behind {name}"),
        }
    }

    fn condition(&mut self, word: String) -> String {
        let mut text = word;
        while let Some(token) = self.tokens.next_if(|token| *token != Token::Sign('{')) {
            match token {
                Token::Word(word) => text += &word,
                Token::Text(word) => text += &format!("{word:?}"),
                Token::Sign(sign) => text.push(sign),
            }
        }
        self.tokens.next().expect("a block follows the condition");
        text
    }

    fn value(&mut self) -> String {
        match self.tokens.next().expect("a value") {
            Token::Word(word) | Token::Text(word) => word,
            Token::Sign(open @ ('[' | '{')) => {
                let close = if open == '[' { ']' } else { '}' };
                let mut inside = Vec::new();
                loop {
                    match self.tokens.next().expect("the list ends") {
                        Token::Sign(sign) if sign == close => return inside.join(" "),
                        Token::Word(word) | Token::Text(word) => inside.push(word),
                        Token::Sign(_) => {}
                    }
                }
            }
            other => panic!("{other:?} is no value"),
        }
    }
}

/// The blocks of `nodes`, wherever they stand, each with the conditions around it.
fn plugins(nodes: &[Node]) -> Vec<(Vec<String>, String, BTreeMap<String, String>)> {
    let mut found = Vec::new();
    for node in nodes {
        match node {
            Node::Block(name, inside) => {
                let settings = inside.iter().filter_map(|node| match node {
                    Node::Setting(name, value) => Some((name.clone(), value.clone())),
                    _ => None,
                });
                found.push((Vec::new(), name.clone(), settings.collect()));
            }
            Node::Branch(condition, inside) => {
                for (mut around, name, settings) in plugins(inside) {
                    around.insert(0, condition.clone());
                    found.push((around, name, settings));
                }
            }
            Node::Setting(..) => {}
        }
    }
    found
}

fn section(name: &str) -> Vec<Node> {
    let nodes = Parser::of(&sample("pipeline/main.conf")).nodes();
    let mut sections = nodes.into_iter().filter_map(|node| match node {
        Node::Block(found, inside) if found == name => Some(inside),
        _ => None,
    });
    sections.next().expect("the section is there")
}

#[test]
fn each_input_is_set_so_that_stashgate_can_rely_on_it() {
    let inputs = plugins(&section("input"));
    let input = |name: &str| {
        let found = inputs.iter().find(|(_, found, _)| found == name);
        found.unwrap_or_else(|| panic!("no input {name}")).2.clone()
    };
    assert_eq!(input("beats")["enrich"], "none");
    let timeout: u64 = input("beats")["client_inactivity_timeout"]
        .parse()
        .expect("seconds");
    assert!(timeout > 45, "idle connections are ended by us, cleanly");
    let field = "[@metadata][input][http][host]";
    assert_eq!(input("http")["remote_host_target_field"], field);
    assert_eq!(input("tcp")["codec"], "json_lines");
    assert_eq!(input("tcp")["dns_reverse_lookup_enabled"], "false");
    assert_eq!(inputs.len(), 3);
}

#[test]
fn an_id_is_used_only_where_there_is_one() {
    let outputs = plugins(&section("output"));
    for (around, _, settings) in &outputs {
        let guarded = around.iter().any(|c| c.ends_with("if[@metadata][_id]"));
        let id = settings.get("document_id").map(String::as_str);
        assert_eq!(id, guarded.then_some("%{[@metadata][_id]}"), "{around:?}");
    }
    assert_eq!(outputs.len(), 3);
}

#[test]
fn every_index_is_of_the_day_of_the_month() {
    for (_, _, settings) in plugins(&section("output")) {
        let index = &settings["index"];
        assert!(index.ends_with("-%{+YYYY.MM.dd}"), "{index}");
    }
}

#[test]
fn what_is_no_json_goes_elsewhere() {
    let outputs = plugins(&section("output"));
    let (around, _, settings) = &outputs[0];
    assert!(
        around[0].contains("if\"_jsonparsefailure\"in[tags]"),
        "{around:?}"
    );
    assert!(settings["index"].starts_with("not-json-"));
}

#[test]
fn the_time_of_acceptance_fills_in_for_a_missing_timestamp() {
    let (around, name, settings) = plugins(&section("filter")).remove(0);
    assert_eq!(
        (around[0].as_str(), name.as_str()),
        ("if[@metadata][accepted_at]", "date")
    );
    assert_eq!(settings["match"], "[@metadata][accepted_at] ISO8601");
}

#[test]
fn the_queue_of_logstash_outlives_it() {
    let settings = sample("logstash.yml");
    assert!(settings.lines().any(|line| line == "queue.type: persisted"));
    assert!(sample("pipelines.yml").contains("/pipeline/main.conf"));
}
