//! What the page for clients tells to type for stubs in Python and Go, typed with the
//! programs that the examples' own scripts install. Skipped, with a message, where these
//! cannot be had.

#[path = "support/beats.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod beats;
#[path = "support/elastic.rs"]
mod elastic;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
#[path = "support/pages.rs"]
mod pages;
#[path = "support/recipe.rs"]
mod recipe;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use gateway::eventually;
use pages::section;
use recipe::Site;

/// What an example's script says when it cannot run here.
const SKIPPED: i32 = 77;

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn repository(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// Runs `docs/examples/LANGUAGE/run.sh` against the gateway, which installs what it needs
/// into the folder that is the answer. `None`, with a message: it cannot run here.
async fn installed(site: &Site, language: &str) -> Option<PathBuf> {
    let folder: PathBuf = [env!("CARGO_TARGET_TMPDIR"), "examples", language]
        .iter()
        .collect();
    fs::create_dir_all(&folder).expect("a folder");
    let mut script = Command::new(repository(&format!("docs/examples/{language}/run.sh")));
    script.arg(&folder);
    script.args([site.setup.grpc, site.setup.tcp].map(|address| address.to_string()));
    let ended = tokio::task::spawn_blocking(move || script.output()).await;
    let ended = ended.expect("no panic").expect("it starts");
    let said = String::from_utf8_lossy(&ended.stderr);
    if ended.status.code() == Some(SKIPPED) {
        eprintln!("{language}: {said}");
        return None;
    }
    assert!(ended.status.success(), "{said}");
    Some(folder)
}

/// All that was accepted is confirmed; how much that is.
async fn confirmed(site: &Site) -> u64 {
    let mut accepted = 0;
    eventually("all is confirmed", || {
        let status = http::get(site.setup.admin, "/api/v1/status").body;
        let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
        let ledger = &status["queues"][0]["ledger"];
        accepted = ledger["accepted"].as_u64().expect("a number");
        ledger["accepted"] == ledger["confirmed"]
    })
    .await;
    accepted
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stubs_for_python_are_made_as_written_and_the_example_sends_by_them() {
    let mut site = Site::start("").await;
    let Some(folder) = installed(&site, "python").await else {
        return;
    };
    let before = confirmed(&site).await;
    for name in ["pip", "python"] {
        site.finds(name, &shown(&folder.join("venv/bin").join(name)));
    }
    symlink(repository("proto"), site.path("proto")).expect("linked");
    let example = repository("docs/examples/python/send_events.py");
    fs::copy(example, site.path("send_events.py")).expect("copied");
    site.type_all(&section("docs/clients.md", "Python")).await;
    assert!(site.path("stashgate/v1/ingest_pb2_grpc.py").exists());
    assert!(confirmed(&site).await > before, "it sent some");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stubs_for_go_are_made_as_written() {
    let mut site = Site::start("").await;
    let Some(folder) = installed(&site, "go").await else {
        return;
    };
    let go = Command::new("sh").args(["-c", "command -v go"]).output();
    let go = String::from_utf8(go.expect("sh").stdout).expect("a path");
    let bin = shown(&folder.join("bin"));
    let go = format!("env GOTOOLCHAIN=local GOBIN={bin} {}", go.trim());
    site.finds("go", &go);
    for plugin in ["protoc-gen-go", "protoc-gen-go-grpc"] {
        site.finds(plugin, &format!("{bin}/{plugin}"));
    }
    // The script installs one where the machine has none.
    let python = folder.join("venv/bin/python");
    if python.exists() {
        site.finds(
            "protoc",
            &format!("{} -m grpc_tools.protoc", shown(&python)),
        );
    }
    symlink(repository("proto"), site.path("proto")).expect("linked");
    // The releases that are installed already.
    for plugin in [
        "protobuf/cmd/protoc-gen-go@v1.36.12",
        "grpc/cmd/protoc-gen-go-grpc@v1.6.2",
    ] {
        let (name, _) = plugin.split_once('@').expect("a release");
        let latest: &'static str = format!("{name}@latest").leak();
        site.here.push((latest, plugin.to_owned()));
    }
    site.type_all(&section("docs/clients.md", "Go")).await;
    assert!(site.path("stashgatev1/ingest_grpc.pb.go").exists());
}
