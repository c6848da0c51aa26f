//! The child: reads an expression and events, and answers each.

use std::io::{self, BufReader, Read, Write};

use jaq_json::Val;

use super::cage;
use super::frame::{self, Kind, invalid};
use super::program::Program;
use super::text;

/// Serves the gateway on standard input and output until it hangs up.
pub fn serve() -> io::Result<()> {
    let mut input = BufReader::new(io::stdin().lock());
    let mut output = io::stdout().lock();
    if let Err(error) = cage::shut() {
        return answer(&mut output, Kind::Broken, error.to_string().as_bytes());
    }
    let (kind, body) = frame::read(&mut input)?;
    let Some((task, expression)) = Task::read(kind, &body) else {
        return Err(invalid("no expression"));
    };
    match Program::compile(expression, task != Task::Keep) {
        Err(why) => answer(&mut output, Kind::Refused, why.as_bytes()),
        Ok(program) => {
            answer(&mut output, Kind::Ready, &[])?;
            events(&mut input, &mut output, task, &program)
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Task {
    Keep,
    Rewrite { longest: usize },
}

impl Task {
    fn read(kind: Kind, body: &[u8]) -> Option<(Self, &str)> {
        let (task, expression) = match kind {
            Kind::Keep => (Self::Keep, body),
            Kind::Rewrite => {
                let (longest, expression) = body.split_first_chunk()?;
                let longest = u64::from_le_bytes(*longest) as usize;
                (Self::Rewrite { longest }, expression)
            }
            _ => return None,
        };
        Some((task, str::from_utf8(expression).ok()?))
    }
}

/// Ends with an error when the gateway hangs up.
fn events(
    input: &mut impl Read,
    output: &mut impl Write,
    task: Task,
    program: &Program,
) -> io::Result<()> {
    let mut original = None;
    loop {
        match frame::read(input)? {
            (Kind::Original, body) => original = Some(body),
            (Kind::Event, event) => {
                let (kind, body) = match event_answer(task, program, &event, original.take()) {
                    Ok(answer) => answer,
                    Err(why) => (Kind::Failed, why.into_bytes()),
                };
                answer(output, kind, &body)?;
            }
            _ => return Err(invalid("a frame out of turn")),
        }
    }
}

type Answer = (Kind, Vec<u8>);

fn event_answer(
    task: Task,
    program: &Program,
    event: &[u8],
    original: Option<Vec<u8>>,
) -> Result<Answer, String> {
    let event = text::read(event)?;
    match task {
        Task::Keep => {
            let keep = match program.run(event, None).next().transpose()? {
                None | Some(Val::Null | Val::Bool(false)) => false,
                Some(_) => true,
            };
            let kind = if keep { Kind::Kept } else { Kind::Dropped };
            Ok((kind, Vec::new()))
        }
        Task::Rewrite { longest } => {
            let original = match original {
                Some(original) => text::read(&original)?,
                None => event.clone(),
            };
            let mut outputs = program.run(event.clone(), Some(original));
            let Some(output) = outputs.next().transpose()? else {
                return Err("the expression gave nothing for it".into());
            };
            if outputs.next().transpose()?.is_some() {
                return Err("the expression gave more than one result for it".into());
            }
            rewritten(&event, &output, longest)
        }
    }
}

fn rewritten(event: &Val, output: &Val, longest: usize) -> Result<Answer, String> {
    if !matches!(output, Val::Obj(_)) {
        return Err(format!(
            "the result is {}, not an object",
            text::kind(output)
        ));
    }
    let written = text::write(output, event, longest).map_err(|fault| fault.to_string())?;
    // What cannot be written within the limit was longer than the result.
    if text::write(event, event, written.len()).is_ok_and(|before| before == written) {
        return Ok((Kind::Same, Vec::new()));
    }
    Ok((Kind::Changed, written))
}

fn answer(output: &mut impl Write, kind: Kind, body: &[u8]) -> io::Result<()> {
    output.write_all(&frame::frame(kind, body)?)?;
    output.flush()
}
