//! The scripts, each atomic: what they do stands in `scripts/*.lua`.

use crate::spool::redis::script::Script;

const COMMON: &str = include_str!("scripts/common.lua");

const fn script(name: &'static str, body: &'static str) -> Script {
    Script::new(name, COMMON, body)
}

pub(super) static FILE: Script = script("letters_file", include_str!("scripts/file.lua"));
pub(super) static SETTLE: Script = script("letters_settle", include_str!("scripts/settle.lua"));
pub(super) static REWRITE: Script = script("letters_rewrite", include_str!("scripts/rewrite.lua"));
pub(super) static EXPIRE: Script = script("letters_expire", include_str!("scripts/expire.lua"));
pub(super) static GROUPS: Script = script("letters_groups", include_str!("scripts/groups.lua"));
pub(super) static READ: Script = script("letters_read", include_str!("scripts/read.lua"));
pub(super) static GLANCE: Script = script("letters_glance", include_str!("scripts/glance.lua"));
