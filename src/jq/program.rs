//! Compiles an expression and runs it.

use std::fmt::{self, Write};

use jaq_core::data::JustLut;
use jaq_core::load::{self, Arena, File, Loader};
use jaq_core::{Compiler, Ctx, Filter, Vars};
use jaq_json::Val;

use super::complaint;

/// Longest text of an expression's error, in bytes: jaq quotes values whole.
const MAX_ERROR_BYTES: usize = 300;

type Data = JustLut<Val>;

/// A compiled expression.
pub(super) struct Program {
    filter: Filter<Data>,
}

impl Program {
    /// Compiles `expression`, which may name `$original` if that is given. The error is
    /// for a person: several lines.
    pub(super) fn compile(expression: &str, original: bool) -> Result<Self, String> {
        let defs = jaq_core::defs()
            .chain(jaq_std::defs())
            .chain(jaq_json::defs());
        let funs = jaq_core::funs()
            .chain(jaq_std::funs())
            .chain(jaq_json::funs());
        let arena = Arena::default();
        let file = File {
            code: expression,
            path: (),
        };
        let modules = Loader::new(defs)
            .load(&arena, file)
            .map_err(|errors| complaint::unreadable(expression, &errors))?;
        load::import(&modules, |_| Err("there are no modules here".into()))
            .map_err(|errors| complaint::unreadable(expression, &errors))?;
        let filter = Compiler::default()
            .with_funs(funs)
            .with_global_vars(original.then_some("$original"))
            .compile(modules)
            .map_err(|errors| complaint::undefined(expression, &errors))?;
        Ok(Self { filter })
    }

    /// The expression's outputs for `event`. An error is told in words.
    pub(super) fn run(
        &self,
        event: Val,
        original: Option<Val>,
    ) -> impl Iterator<Item = Result<Val, String>> {
        let context = Ctx::<Data>::new(&self.filter.lut, Vars::new(original));
        let outputs = self.filter.id.run((context, event));
        outputs.map(|output| {
            output.map_err(|exception| match exception.get_err() {
                Ok(error) => Bounded::text(&error),
                Err(_) => "the expression stops itself (halt or break)".into(),
            })
        })
    }
}

/// The beginning of a text that may be long.
struct Bounded(String);

impl Bounded {
    fn text(long: &impl fmt::Display) -> String {
        let mut bounded = Self(String::new());
        if write!(bounded, "{long}").is_err() {
            bounded.0.push('…');
        }
        bounded.0
    }
}

impl Write for Bounded {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        let room = MAX_ERROR_BYTES.saturating_sub(self.0.len());
        self.0.push_str(&part[..part.floor_char_boundary(room)]);
        if part.len() > room {
            Err(fmt::Error)
        } else {
            Ok(())
        }
    }
}
