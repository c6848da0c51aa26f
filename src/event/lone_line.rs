//! The field that Logstash's beats input would rewrite.
//!
//! An event that has a top-level `line` and no `message` is taken there for one of
//! logstash-forwarder, the ancestor of Beats: the input deletes `line` and runs its
//! value through the codec, which makes a `message` of it. A `null` counts as no
//! field. There is no setting against it, so `line` is called `@line` on the way;
//! `mutate { rename => { "@line" => "line" } }` gives it its name back.

use memchr::{memchr_iter, memmem};

use super::members::members;

const NEW_NAME: &[u8] = b"\"@line\":";

/// Renames a top-level `line` to `@line` in the events (one a line) of `block` from
/// `start` on that have one and no `message`. Costs a search of the block where none
/// has.
pub fn rename_lone_line(block: &mut Vec<u8>, start: usize) {
    if !may_have_line(&block[start..]) {
        return;
    }
    let mut renamed = Vec::with_capacity(block.len() - start);
    let mut from = start;
    for end in memchr_iter(b'\n', &block[start..]).map(|at| start + at + 1) {
        rename(&block[from..end], &mut renamed);
        from = end;
    }
    block.truncate(start);
    block.append(&mut renamed);
}

/// Whether the name may stand there, as it is or with an escaped letter (all four
/// have codes that begin with 0x6).
fn may_have_line(events: &[u8]) -> bool {
    memmem::find(events, b"\"line\"").is_some() || memmem::find(events, b"\\u006").is_some()
}

fn rename(event: &[u8], out: &mut Vec<u8>) {
    let is_there = |value: &[u8]| value != b"null";
    let has_message =
        || members(event).any(|member| member.is("message") && is_there(member.value));
    if !may_have_line(event) || has_message() {
        return out.extend_from_slice(event);
    }
    let mut from = 0;
    for member in members(event).filter(|member| member.is("line") && is_there(member.value)) {
        out.extend_from_slice(&event[from..member.at]);
        out.extend_from_slice(NEW_NAME);
        out.extend_from_slice(member.value);
        from = member.at + member.text.len();
    }
    out.extend_from_slice(&event[from..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(events: &str) -> String {
        let mut block = format!("{{\"line\":0}}\n{events}").into_bytes();
        rename_lone_line(&mut block, 11);
        let text = String::from_utf8(block).expect("text");
        text.strip_prefix("{\"line\":0}\n")
            .expect("untouched")
            .into()
    }

    #[test]
    fn a_line_without_a_message_gets_another_name() {
        assert_eq!(
            renamed("{\"a\":1,\"line\" : \"x\"}\n"),
            "{\"a\":1,\"@line\":\"x\"}\n"
        );
        assert_eq!(
            renamed("{\"l\\u0069ne\":{\"b\":[]},\"a\":1}\n"),
            "{\"@line\":{\"b\":[]},\"a\":1}\n"
        );
        let no_message = "{\"line\":5,\"message\":null}\n";
        assert_eq!(renamed(no_message), "{\"@line\":5,\"message\":null}\n");
    }

    #[test]
    fn whatever_else_has_the_word_stays_as_it_is() {
        for events in [
            "{}\n{\"a\":1}\n",
            "{\"line\":1,\"message\":\"m\"}\n",
            "{\"line\":null}\n",
            "{\"log\":{\"line\":1}}\n{\"a\":\"line\"}\n",
            "{\"text\":\"\\u0061 \\\"line\\\":\"}\n",
        ] {
            assert_eq!(renamed(events), events);
        }
    }

    #[test]
    fn only_the_events_concerned_are_changed() {
        assert_eq!(
            renamed("{\"a\":1}\n{\"line\":1}\n{\"line\":2,\"message\":3}\n"),
            "{\"a\":1}\n{\"@line\":1}\n{\"line\":2,\"message\":3}\n"
        );
    }
}
