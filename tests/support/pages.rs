//! The commands that stand in the pages: where, and as they are typed.

#![allow(dead_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

/// With these a line begins that is typed into a shell.
const PROGRAMS: [&str; 28] = [
    "bash",
    "cargo",
    "cat",
    "cd",
    "chmod",
    "cp",
    "curl",
    "df",
    "docker",
    "for",
    "go",
    "grpcurl",
    "install",
    "kill",
    "make",
    "mv",
    "npm",
    "perf",
    "pip",
    "printf",
    "protoc",
    "python",
    "redis-cli",
    "rm",
    "stashgate",
    "systemctl",
    "tail",
    "while",
];

/// A command of a page.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Typed {
    pub(crate) page: String,
    /// The heading that it stands under.
    pub(crate) heading: String,
    /// What is typed, without comments; several lines if they belong together.
    pub(crate) text: String,
}

/// A block of a page, with what its lines are indented by taken away.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) page: String,
    pub(crate) heading: String,
    /// What a fence calls it; empty for others.
    pub(crate) language: String,
    pub(crate) lines: Vec<String>,
}

impl Block {
    /// Whether it is typed into a shell: a line of it says so. What programs print may
    /// name commands too, with blanks before them.
    pub(crate) fn is_shell(&self) -> bool {
        self.lines.iter().any(|line| is_typed(line))
    }

    /// Its first line with something in it.
    pub(crate) fn first(&self) -> &str {
        self.lines
            .iter()
            .map(String::as_str)
            .find(|l| !l.trim().is_empty())
            .unwrap_or_default()
    }
}

fn is_typed(line: &str) -> bool {
    let word = line.split(' ').next().unwrap_or_default();
    PROGRAMS.contains(&word)
}

/// The README, and all pages of `docs/` and `docker/`.
pub(crate) fn pages() -> Vec<String> {
    let mut pages = vec![
        "README.md".to_owned(),
        "docker/logstash/README.md".to_owned(),
    ];
    for folder in ["docs", "docker"] {
        let entries = std::fs::read_dir(root(folder)).expect("a folder").flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        let pages_in = names.filter(|name| name.ends_with(".md"));
        pages.extend(pages_in.map(|name| format!("{folder}/{name}")));
    }
    pages.sort();
    pages
}

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The blocks of a page: between fences, or indented by four.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let text = std::fs::read_to_string(root(page)).expect("a page");
    let mut lines = text.lines().peekable();
    let (mut blocks, mut heading, mut after_blank) = (Vec::new(), String::new(), true);
    while let Some(line) = lines.next() {
        let mut inside: Vec<String> = Vec::new();
        let fence = line.trim_start().strip_prefix("```");
        if fence.is_some() {
            let within = lines
                .by_ref()
                .take_while(|line| !line.trim_start().starts_with("```"));
            inside.extend(within.map(|line| line.trim_start().to_owned()));
        } else if after_blank && let Some(first) = line.strip_prefix("    ") {
            inside.push(first.to_owned());
            while let Some(next) = lines.next_if(|l| l.starts_with("    ") || l.is_empty()) {
                inside.push(next.get(4..).unwrap_or_default().to_owned());
            }
        } else if line.starts_with('#') {
            heading = line.trim_start_matches('#').trim().to_owned();
        }
        after_blank = line.is_empty() || !inside.is_empty();
        if !inside.is_empty() {
            let common = inside.iter().filter(|line| !line.trim().is_empty());
            let common = common
                .map(|line| line.len() - line.trim_start().len())
                .min();
            let dedent = |line: &String| {
                line.get(common.unwrap_or(0)..)
                    .unwrap_or_default()
                    .to_owned()
            };
            inside = inside.iter().map(dedent).collect();
            blocks.push(Block {
                page: page.to_owned(),
                heading: heading.clone(),
                language: fence.unwrap_or_default().to_owned(),
                lines: inside,
            });
        }
    }
    blocks
}

/// Every command of a page, in order.
pub(crate) fn commands(page: &str) -> Vec<Typed> {
    let shell = blocks(page).into_iter().filter(Block::is_shell);
    shell.flat_map(|block| typed_in(&block)).collect()
}

/// Takes lines until they are something whole to a shell.
fn typed_in(block: &Block) -> Vec<Typed> {
    let (mut commands, mut open) = (Vec::new(), String::new());
    for line in block.lines.iter().map(|line| without_comment(line)) {
        if line.is_empty() {
            continue;
        }
        open = if open.is_empty() {
            line.to_owned()
        } else {
            format!("{open}\n{line}")
        };
        if is_whole(&open) {
            commands.push(Typed {
                page: block.page.clone(),
                heading: block.heading.clone(),
                text: std::mem::take(&mut open),
            });
        }
    }
    assert_eq!(
        open, "",
        "{}: {}: no whole command",
        block.page, block.heading
    );
    commands
}

/// The line without what a person only reads.
fn without_comment(line: &str) -> &str {
    let is_comment = line.trim_start().starts_with('#');
    let code = if is_comment {
        ""
    } else {
        line.split("  # ").next().unwrap_or_default()
    };
    code.trim_end()
}

fn is_whole(text: &str) -> bool {
    let goes_on = text.ends_with('\\');
    let parsed = Command::new("bash").args(["-n", "-c", text]).output();
    !goes_on && parsed.expect("bash").status.success()
}

/// The commands under one heading.
pub(crate) fn section(page: &str, heading: &str) -> Vec<Typed> {
    let mut found = commands(page);
    found.retain(|command| command.heading == heading);
    assert!(!found.is_empty(), "{page} has no commands under {heading}");
    found
}
