//! ghz, a gRPC client that knows the gateway by reflection or by its proto file
//! only. Skipped, with a word, where it cannot be had.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// What the install script says when there is no ghz.
const SKIPPED: i32 = 77;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim().to_owned()
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Its path, after installing it if need be.
fn ghz() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ghz");
    std::fs::create_dir_all(&folder).expect("a folder");
    let Output {
        status,
        stdout,
        stderr,
    } = Command::new(repository().join("loadtest/ghz/install.sh"))
        .arg(folder)
        .output()
        .expect("the script starts");
    if status.code() == Some(SKIPPED) {
        eprintln!("skipped: {}", text(&stderr));
        return None;
    }
    assert!(status.success(), "{}", text(&stderr));
    Some(text(&stdout).into())
}

/// The configurations as they are shipped, with as few calls as they allow.
fn short_configs(folder: &Path) -> Vec<PathBuf> {
    let shipped = std::fs::read_dir(repository().join("loadtest/ghz/configs"));
    shipped
        .expect("a folder")
        .map(|entry| {
            let path = entry.expect("a file").path();
            let text = std::fs::read(&path).expect("read");
            let mut config: Value = serde_json::from_slice(&text).expect("JSON");
            config["total"] = config["concurrency"].clone();
            if config.get("stream-call-count").is_some() {
                config["stream-call-count"] = json!(5);
            }
            let short = folder.join(path.file_name().expect("a name"));
            std::fs::write(&short, config.to_string()).expect("written");
            short
        })
        .collect()
}

#[test]
fn every_event_that_ghz_saw_answered_arrives() {
    let Some(ghz) = ghz() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let configs = short_configs(folder.path());
    let output = Command::new(env!("CARGO"))
        .args([
            "run",
            "--quiet",
            "--example",
            "loadtest",
            "--",
            "ghz",
            "run",
        ])
        .arg("--ghz")
        .arg(ghz)
        .arg("--gateway")
        .arg(env!("CARGO_BIN_EXE_stashgate"))
        .args(&configs)
        .output()
        .expect("cargo runs");
    let (table, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("answered events arrived").count(), 7, "{said}");
    assert!(
        table.contains("| 6-stream-100-events-16-streams | 16 | 0 |"),
        "{table}"
    );
}
