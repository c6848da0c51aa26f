//! Logstash's configuration language, as far as the samples and the docs use it.

#![allow(dead_code)]

use std::collections::BTreeMap;

/// A pipeline as a tree: what stands in each block, in order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Node {
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

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '#' => rest.find('\n').unwrap_or(rest.len()),
            quote @ ('"' | '\'') => {
                let end = rest[1..].find(quote).expect("a string ends") + 2;
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

/// The blocks and settings of a text.
pub(crate) fn nodes(text: &str) -> Vec<Node> {
    let tokens = tokens(text).into_iter().peekable();
    Parser { tokens }.nodes()
}

/// Reads tokens up to the end of the block.
struct Parser {
    tokens: std::iter::Peekable<std::vec::IntoIter<Token>>,
}

impl Parser {
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

/// A plugin: the conditions around it, its name, its settings.
pub(crate) type Plugin = (Vec<String>, String, BTreeMap<String, String>);

/// The blocks of `nodes`, wherever they stand.
pub(crate) fn plugins(nodes: &[Node]) -> Vec<Plugin> {
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
