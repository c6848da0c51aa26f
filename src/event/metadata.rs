//! The slow path of the door: an event with an `@metadata` of its own.

use super::members::{Member, members};
use super::reject::{Fault, RejectReason::InvalidMetadata};

/// How an event with an `@metadata` of its own begins, once it passed the door.
pub(super) const OWN: &[u8] = b"{\"@metadata\":{";

/// Whether an event with one member `@metadata` can stay as it is.
pub(super) fn is_in_order(event: &[u8]) -> bool {
    event.starts_with(OWN) && !members(&event[OWN.len() - 1..]).any(is_mark)
}

/// Whether a member of `@metadata` is the mark that hides an event from
/// Logstash's dead letter queue.
fn is_mark(member: Member<'_>) -> bool {
    member.is("dead_letter_queue")
}

/// Appends `event`, an object with a member `@metadata`, as a line that begins
/// with [`OWN`]. The member `dead_letter_queue` of `@metadata` is left out. What
/// is between the members is not kept; the members are, byte for byte and in
/// order. Leaves `out` as it was on error.
pub(super) fn rewrite(event: &[u8], out: &mut Vec<u8>) -> Result<(), Fault> {
    let own = find(event)?;
    out.extend_from_slice(OWN);
    let kept = members(own.value).filter(|member| !is_mark(*member));
    for (i, member) in kept.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        out.extend_from_slice(member.text);
    }
    out.push(b'}');
    for member in members(event).filter(|member| member.at != own.at) {
        out.push(b',');
        out.extend_from_slice(member.text);
    }
    out.push(b'}');
    Ok(())
}

/// The one member `@metadata`, which must be an object.
fn find(event: &[u8]) -> Result<Member<'_>, Fault> {
    let mut own = members(event).filter(|member| member.is("@metadata"));
    let fault = |what, at| Fault::new(InvalidMetadata, what, at);
    let member = own.next().ok_or(fault("expected @metadata", 0))?;
    if member.value.first() != Some(&b'{') {
        return Err(fault("@metadata must be an object", member.at));
    }
    match own.next() {
        Some(second) => Err(fault("a second @metadata", second.at)),
        None => Ok(member),
    }
}
