//! The names of all keys, and how a script is told of them.
//!
//! All carry one hash tag, so that they are in one slot of a Cluster, and a script may
//! touch them.
//!
//! | key | type | holds |
//! | --- | --- | --- |
//! | `{stashgate}:letters:events` | hash | number -> event |
//! | `{stashgate}:letters:originals` | hash | number -> event as it was refused, if it was repaired |
//! | `{stashgate}:letters:heads` | hash | number -> all else of a letter, packed by the scripts |
//! | `{stashgate}:letters:names` | hash | queue, NUL, name -> number |
//! | `{stashgate}:letters:groups` | hash | hash of a group's key -> the key, as JSON |
//! | `{stashgate}:letters:tallies` | hash | hash of a group's key `:bytes`, and `:` attempt -> figure |
//! | `{stashgate}:letters:tombs` | sorted set | tombstones by the time of the burial |
//! | `{stashgate}:letters:books` | hash | the books, the last number, when was looked for old letters last (`seen`), and until when all stay after a jump of the clock (`stays`) |
//! | `{stashgate}:letters:of:PLACE` | sorted set | numbers of a place's letters |
//! | `{stashgate}:letters:in:GROUP` | sorted set | numbers of a group's letters |

/// The keys that each script gets, in the order of `common.lua`.
pub(super) const KEYS: [&str; 11] = [
    "{stashgate}:letters:events",
    "{stashgate}:letters:originals",
    "{stashgate}:letters:heads",
    NAMES,
    GROUPS,
    "{stashgate}:letters:tallies",
    "{stashgate}:letters:tombs",
    "{stashgate}:letters:books",
    PLACES[0],
    PLACES[1],
    PLACES[2],
];

/// Numbers of each place's letters, in the order of `Place::ALL`.
pub(super) const PLACES: [&str; 3] = [
    "{stashgate}:letters:of:door",
    "{stashgate}:letters:of:forwarder",
    "{stashgate}:letters:of:logstash",
];

/// The number of each name.
pub(super) const NAMES: &str = "{stashgate}:letters:names";

/// The keys of the groups.
pub(super) const GROUPS: &str = "{stashgate}:letters:groups";

/// What the keys of the groups' letters begin with; the hash of the group follows.
pub(super) const OF_GROUP: &str = "{stashgate}:letters:in:";
