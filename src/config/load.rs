//! Where settings come from: the file, the environment, flags. The layers are
//! put on top of each other as plain TOML, each key with its origin, so that
//! every error can say where the value stands that it is about.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path as FilePath, PathBuf};

use toml::de::{DeTable, DeValue};
use toml::{Table, Value};

use super::schema::{Path, Schema};
use super::{Config, check};

/// What the environment's settings begin with.
const PREFIX: &str = "STASHGATE__";
const SEPARATOR: &str = "__";

/// What a configuration is made of; the later wins.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// The environment; only names that begin with `STASHGATE__` matter.
    pub environment: Vec<(String, String)>,
    /// `section.key=value`, from flags.
    pub flags: Vec<String>,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the file.
    File {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// In a variable of this name.
    Environment(String),
    /// In a flag.
    Flag(String),
}

impl Origin {
    /// How `path` is written in a place like this one.
    fn spell(&self, path: &[String]) -> String {
        match self {
            Self::Environment(_) => format!("{PREFIX}{}", path.join(SEPARATOR).to_uppercase()),
            Self::File { .. } | Self::Flag(_) => path.join("."),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{}:{line}", file.display()),
            Self::Environment(name) => write!(f, "environment variable {name}"),
            Self::Flag(text) => write!(f, "--set {text}"),
        }
    }
}

/// One thing that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: String,
    },
    /// The file is not TOML.
    #[error("{}:{line}: this is not valid TOML: {error}", file.display())]
    Syntax {
        /// The file.
        file: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        error: String,
    },
    /// A key that does not exist.
    #[error("{origin}: there is no setting `{unknown}`; the nearest one is `{nearest}`")]
    Unknown {
        /// Where it stands.
        origin: Origin,
        /// The key.
        unknown: String,
        /// The key that was most likely meant.
        nearest: String,
    },
    /// A flag or variable that does not name one setting.
    #[error("{origin}: {what}")]
    Unusable {
        /// Where it stands.
        origin: Origin,
        /// What is wrong and what to do.
        what: String,
    },
    /// A value that does not fit.
    #[error("{}{path}: {what}", origin.as_ref().map(|o| format!("{o}: ")).unwrap_or_default())]
    Invalid {
        /// Where the value stands; `None`: it is a default.
        origin: Option<Origin>,
        /// The setting.
        path: String,
        /// What is wrong and what to do.
        what: String,
    },
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the configuration cannot be used:{}", .0.iter().map(|p| format!("\n  {p}")).collect::<String>())]
pub struct ConfigError(pub Vec<Problem>);

impl Config {
    /// Puts the sources on top of each other and checks the result.
    pub fn load(sources: &Sources) -> Result<Self, ConfigError> {
        let mut layers = Layers::new();
        if let Some(file) = &sources.file {
            layers.add_file(file)?;
        }
        for (name, value) in &sources.environment {
            if let Some(name_of_path) = name.strip_prefix(PREFIX) {
                let path = name_of_path
                    .split(SEPARATOR)
                    .map(str::to_lowercase)
                    .collect();
                layers.add(path, value, Origin::Environment(name.clone()));
            }
        }
        for flag in &sources.flags {
            layers.add_flag(flag);
        }
        layers.finish()
    }
}

struct Layers {
    schema: Schema,
    merged: Table,
    origins: BTreeMap<String, Origin>,
    problems: Vec<Problem>,
}

impl Layers {
    fn new() -> Self {
        Self {
            schema: Schema::new(),
            merged: Table::new(),
            origins: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    fn add_file(&mut self, file: &FilePath) -> Result<(), ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| {
            ConfigError(vec![Problem::Unreadable {
                file: file.to_owned(),
                error: error.to_string(),
            }])
        })?;
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        // Not the error's own form: it shows the line, which may hold a secret.
        let not_toml = |error: toml::de::Error| {
            ConfigError(vec![Problem::Syntax {
                file: file.to_owned(),
                line: error.span().map_or(1, |span| line(span.start)),
                error: error.message().to_owned(),
            }])
        };
        self.merged = toml::from_str(&text).map_err(not_toml)?;
        let spanned = DeTable::parse(&text).map_err(not_toml)?;
        let origin = |at: usize| Origin::File {
            file: file.to_owned(),
            line: line(at),
        };
        self.walk(spanned.get_ref(), &mut Vec::new(), &origin);
        Ok(())
    }

    /// Notes where each key stands, and which do not exist.
    fn walk(&mut self, table: &DeTable<'_>, path: &mut Path, origin: &dyn Fn(usize) -> Origin) {
        for (key, value) in table {
            path.push(key.get_ref().to_string());
            let origin_of_key = origin(key.span().start);
            let known = self.is_known(path, &origin_of_key);
            self.origins.insert(path.join("."), origin_of_key);
            if let (true, DeValue::Table(inner)) = (known, value.get_ref()) {
                self.walk(inner, path, origin);
            }
            path.pop();
        }
    }

    fn is_known(&mut self, path: &[String], origin: &Origin) -> bool {
        let Some(unknown) = self.schema.first_unknown(path) else {
            return true;
        };
        let nearest = self.schema.nearest(unknown);
        self.problems.push(Problem::Unknown {
            origin: origin.clone(),
            unknown: origin.spell(unknown),
            nearest: origin.spell(&nearest),
        });
        false
    }

    fn add_flag(&mut self, flag: &str) {
        let origin = Origin::Flag(flag.to_owned());
        match flag.split_once('=') {
            Some((key, value)) => {
                let path: Path = key.trim().split('.').map(str::to_owned).collect();
                // The value may be a secret: it stays out of messages.
                self.add(path, value, Origin::Flag(key.trim().to_owned()));
            }
            None => self.problems.push(Problem::Unusable {
                origin,
                what: "write it as KEY=VALUE, such as --set limits.max_batch_events=500".into(),
            }),
        }
    }

    fn add(&mut self, path: Path, text: &str, origin: Origin) {
        if !self.is_known(&path, &origin) {
            return;
        }
        let value = match self.schema.at(&path) {
            Some(sample) if !sample.is_table() => parse_like(sample, text),
            _ => {
                let what = "this is a section; name the setting in it that you mean".into();
                self.problems.push(Problem::Unusable { origin, what });
                return;
            }
        };
        self.origins.insert(path.join("."), origin);
        insert(&mut self.merged, &path, value);
    }

    fn finish(mut self) -> Result<Config, ConfigError> {
        if !self.problems.is_empty() {
            return Err(ConfigError(self.problems));
        }
        let mut findings = check::hosts_without_protocol(&self.merged);
        let config = match serde_path_to_error::deserialize::<_, Config>(self.merged.clone()) {
            Ok(config) => config,
            Err(error) => {
                let (path, what) = (error.path().to_string(), error.inner().message().to_owned());
                self.report(path, what);
                return Err(ConfigError(self.problems));
            }
        };
        findings.extend(check::check(&config));
        for (path, what) in findings {
            self.report(path, what);
        }
        if self.problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError(self.problems))
        }
    }

    fn report(&mut self, path: String, what: String) {
        let origin = self.origins.get(&path).or_else(|| {
            // An element of a list stands where its list does.
            let list = path.split('[').next().unwrap_or_default();
            self.origins.get(list)
        });
        self.problems.push(Problem::Invalid {
            origin: origin.cloned(),
            path,
            what,
        });
    }
}

/// Reads `text` as a value of the type of `sample`: quotes around a string and
/// brackets around a list may be left out.
fn parse_like(sample: &Value, text: &str) -> Value {
    let parsed = as_toml(text);
    match (sample, parsed) {
        (Value::String(_), Some(Value::String(parsed))) => Value::String(parsed),
        (Value::String(_), _) => Value::String(text.to_owned()),
        (Value::Array(_), Some(Value::Array(parsed))) => Value::Array(parsed),
        (Value::Array(_), _) => list(text),
        (_, Some(parsed)) => parsed,
        (_, None) => Value::String(text.to_owned()),
    }
}

fn as_toml(text: &str) -> Option<Value> {
    let mut table: Table = toml::from_str(&format!("value = {text}")).ok()?;
    if table.len() == 1 {
        table.remove("value")
    } else {
        None
    }
}

fn list(text: &str) -> Value {
    let items = text
        .split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty());
    Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
}

fn insert(table: &mut Table, path: &[String], value: Value) {
    match path {
        [] => {}
        [key] => {
            table.insert(key.clone(), value);
        }
        [key, rest @ ..] => {
            let inner = table
                .entry(key.clone())
                .or_insert_with(|| Value::Table(Table::new()));
            // A file that has a plain value here is told so later, by its type.
            if let Value::Table(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}
