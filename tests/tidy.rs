//! Rules about the sources that a machine can check.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a stage may not name. A stage may use another one's contract (`Spool`,
/// `DeadLetters`), never its insides, and knows nothing of what is built on it.
const FORBIDDEN: [(&str, &[&str]); 10] = [
    (
        "replay",
        &[
            "receiver",
            "forwarder",
            "admin",
            "dead_letter",
            "spool::journal",
            "gateway",
            "cli",
            "status",
        ],
    ),
    (
        "receiver",
        &[
            "forwarder",
            "admin",
            "spool::journal",
            "gateway",
            "cli",
            "status",
        ],
    ),
    (
        "forwarder",
        &[
            "receiver",
            "admin",
            "spool::journal",
            "gateway",
            "cli",
            "status",
        ],
    ),
    (
        "spool",
        &[
            "receiver",
            "forwarder",
            "admin",
            "dead_letter",
            "gateway",
            "cli",
            "status",
        ],
    ),
    (
        "admin",
        &[
            "receiver",
            "forwarder",
            "spool",
            "dead_letter::store",
            "dead_letter::filing",
            "gateway",
            "cli",
        ],
    ),
    (
        "dead_letter",
        &["receiver", "forwarder", "admin", "gateway", "cli", "status"],
    ),
    (
        "event",
        &[
            "receiver",
            "forwarder",
            "admin",
            "spool",
            "dead_letter",
            "gateway",
            "cli",
        ],
    ),
    (
        "client",
        &[
            "receiver",
            "forwarder",
            "admin",
            "spool",
            "dead_letter",
            "gateway",
            "cli",
        ],
    ),
    (
        "jq",
        &[
            "receiver",
            "forwarder",
            "admin",
            "spool",
            "dead_letter",
            "gateway",
            "cli",
            "status",
        ],
    ),
    (
        "status",
        &["receiver", "forwarder", "admin", "gateway", "cli"],
    ),
];

/// Most lines of a file. Tables of cases in tests run a little longer.
const LONGEST: [(&str, usize); 4] = [
    ("src", 500),
    ("benches", 500),
    ("loadtest", 500),
    ("tests", 600),
];

#[test]
fn no_stage_names_the_insides_of_another() {
    let mut wrong = Vec::new();
    for (module, forbidden) in FORBIDDEN {
        for file in module_files(module) {
            let code = code(&file);
            let named = forbidden.iter().filter(|other| names(&code, other));
            wrong.extend(named.map(|other| format!("{} names crate::{other}", file.display())));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn only_the_gateway_and_the_commands_join_the_stages() {
    let joins = |code: &str| names(code, "receiver") && names(code, "forwarder");
    let files = rust_files("src").into_iter();
    let wrong: Vec<_> = files
        .filter(|file| !file.starts_with("src/gateway") && !file.starts_with("src/cli"))
        .filter(|file| joins(&code(file)))
        .collect();
    assert_eq!(wrong, Vec::<PathBuf>::new());
}

#[test]
fn the_modules_form_no_circle() {
    let modules = top_level_modules();
    let uses: BTreeMap<&String, BTreeSet<&String>> = modules
        .iter()
        .map(|module| {
            let code: String = module_files(module).iter().map(|file| code(file)).collect();
            let used = modules
                .iter()
                .filter(|other| *other != module && names(&code, other));
            (module, used.collect())
        })
        .collect();
    for module in &modules {
        let mut trail = vec![module];
        assert!(
            !reaches(&uses, module, &mut trail, &mut BTreeSet::new()),
            "a circle: {trail:?}"
        );
    }
}

/// Whether a way of uses leads back to `start`; `trail` is that way.
fn reaches<'m>(
    uses: &BTreeMap<&'m String, BTreeSet<&'m String>>,
    start: &String,
    trail: &mut Vec<&'m String>,
    seen: &mut BTreeSet<&'m String>,
) -> bool {
    for next in &uses[trail[trail.len() - 1]] {
        trail.push(next);
        if *next == start || (seen.insert(next) && reaches(uses, start, trail, seen)) {
            return true;
        }
        trail.pop();
    }
    false
}

#[test]
fn files_can_be_read_at_a_sitting() {
    let mut long = Vec::new();
    for (folder, most) in LONGEST {
        let files = rust_files(folder).into_iter();
        let lengths = files.map(|file| (read(&file).lines().count(), file));
        long.extend(lengths.filter(|(lines, _)| *lines > most));
    }
    assert_eq!(long, Vec::new());
}

#[test]
fn nothing_is_left_for_later_and_nothing_panics_by_habit() {
    // Put together here, so that this file does not hold them.
    let later =
        [["TO", "DO"], ["FIX", "ME"], ["XX", "X"], ["todo", "!("]].map(|word| word.concat());
    let panics = [".unwrap", "()"].concat();
    let mut wrong = Vec::new();
    for file in rust_files("src") {
        let code = code(&file);
        let text = read(&file);
        let left = later.iter().filter(|word| text.contains(*word));
        wrong.extend(left.map(|word| format!("{} holds {word}", file.display())));
        if code.contains(&panics) {
            wrong.push(format!("{} holds {panics}", file.display()));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn every_page_and_every_bench_is_linked() {
    let linking = read(Path::new("README.md")) + &read(Path::new("ARCHITECTURE.md"));
    let pages = files_in("docs", "md")
        .into_iter()
        .chain(files_in("benches", "rs"));
    let unlinked: Vec<_> = pages
        .filter(|page| !linking.contains(&format!("({})", page.display())))
        .collect();
    assert_eq!(unlinked, Vec::<PathBuf>::new());
}

#[test]
fn every_link_of_the_pages_leads_somewhere() {
    let pages = ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(PathBuf::from);
    let mut broken = Vec::new();
    for page in pages.into_iter().chain(files_in("docs", "md")) {
        let text = read(&page);
        let folder = page.parent().expect("a page is in a folder");
        let targets = text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split([')', '#']).next());
        let local = targets.filter(|target| !target.is_empty() && !target.contains("://"));
        let missing = local.filter(|target| !folder.join(target).exists());
        broken.extend(missing.map(|target| format!("{}: {target}", page.display())));
    }
    assert_eq!(broken, Vec::<String>::new());
}

#[test]
fn the_page_of_the_journal_shows_the_records_fields_where_the_code_has_them() {
    let in_code = offsets_and_sizes("src/record.rs");
    assert!(in_code.len() > 10, "the table is there");
    assert_eq!(offsets_and_sizes("docs/journal-format.md"), in_code);
}

/// The first two cells of each row of the table of a record's fields.
fn offsets_and_sizes(file: &str) -> Vec<String> {
    let text = read(Path::new(file));
    let lines = text
        .lines()
        .map(|line| line.trim_start_matches("//!").trim());
    let table = lines
        .skip_while(|line| !line.starts_with("| offset | size | field"))
        .take_while(|line| line.starts_with('|'));
    let cells = table.map(|row| row.split('|').take(3).collect::<Vec<_>>().join("|"));
    cells.collect()
}

/// Whether `code` names `crate::MODULE` or something in it, however its paths and
/// lists of imports are written.
fn names(code: &str, module: &str) -> bool {
    let inside = format!("{module}::");
    let is_named = |path: &String| path == module || path.starts_with(&inside);
    crate_paths(code).iter().any(is_named)
}

/// Every path that begins with `crate::`, without that, lists taken apart.
fn crate_paths(code: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for (at, found) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if !before.is_some_and(|c| c.is_alphanumeric() || matches!(c, '_' | '$')) {
            read_path(&code[at + found.len()..], "", &mut paths);
        }
    }
    paths
}

/// Reads one path or `{list}` after `before`; what follows it.
fn read_path<'c>(code: &'c str, before: &str, paths: &mut Vec<String>) -> &'c str {
    let code = code.trim_start();
    if let Some(mut list) = code.strip_prefix('{') {
        while !list.is_empty() && !list.starts_with('}') {
            list = read_path(list, before, paths).trim_start();
            list = match list.find([',', '}']) {
                Some(at) if list[at..].starts_with(',') => list[at + 1..].trim_start(),
                Some(at) => &list[at..],
                None => "",
            };
        }
        return list.strip_prefix('}').unwrap_or(list);
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (word, rest) = code.split_at(code.find(|c| !is_word(c)).unwrap_or(code.len()));
    let path = format!("{before}{word}");
    match rest.strip_prefix("::") {
        Some(rest) => read_path(rest, &format!("{path}::"), paths),
        None => {
            paths.push(path);
            rest
        }
    }
}

#[test]
fn a_module_is_found_in_every_form_of_a_path() {
    let naming = [
        "use crate::spool::journal::Journal;",
        "use crate::spool::{Lease, journal::{self, Journal}};",
        "use crate::{\n    batch::Batch,\n    spool::{journal, Lease},\n};",
        "fn f(j: &crate::spool::journal::Journal) {}",
        "use crate::{batch::{A, B as C}, spool::journal as j};",
    ];
    for code in naming {
        assert!(names(code, "spool::journal"), "{code}");
        assert!(names(code, "spool"), "{code}");
    }
    let others = [
        "use crate::spool::{Lease, journal_like::X};",
        "use crate::{batch::spool, status};",
        "use other_crate::spool::journal;",
    ];
    for code in others {
        assert!(!names(code, "spool::journal"), "{code}");
    }
}

/// The code of a file without comments and tests.
fn code(file: &Path) -> String {
    let is_test = |part: &std::ffi::OsStr| part == "tests" || part == "tests.rs";
    if file.iter().any(is_test) {
        return String::new();
    }
    let text = read(file);
    let own = text
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    let lines = own
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn top_level_modules() -> Vec<String> {
    let lib = code(Path::new("src/lib.rs"));
    let declared = lib.lines().filter_map(|line| line.strip_prefix("pub mod "));
    declared
        .map(|module| module.trim_end_matches(';').to_owned())
        .collect()
}

fn module_files(module: &str) -> Vec<PathBuf> {
    let single = PathBuf::from(format!("src/{module}.rs"));
    let mut files = rust_files(&format!("src/{module}"));
    files.extend(single.exists().then_some(single));
    assert!(!files.is_empty(), "there is a module {module}");
    files
}

fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = files_in(folder, "rs");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            found.extend(rust_files(&entry.path().to_string_lossy()));
        }
    }
    found
}

fn files_in(folder: &str, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}

fn read(file: &Path) -> String {
    fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
}
