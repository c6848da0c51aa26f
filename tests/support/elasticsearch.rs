//! The Elasticsearch of `docker/compose.yaml`, in that version and with its settings:
//! got by Maven into `target/`, run by this machine's Java on loopback, ended with its
//! folder when dropped.

#![allow(dead_code)]

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::gateway::free;
use super::opensearch::{Engine, NOBODY, START, copy, distribution, give_away, java};

const COMPOSE: &str = include_str!("../../docker/compose.yaml");

pub(crate) struct Elasticsearch {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) address: SocketAddr,
}

impl Elasticsearch {
    /// `None`, with a message: it cannot be had here, the test is skipped.
    pub(crate) async fn start() -> Option<Self> {
        let (java, _) = java(21)?;
        let distribution = distribution("elasticsearch", &version())?;
        let folder = tempfile::tempdir().expect("a folder");
        copy(&distribution, &folder.path().join("home"));
        let address = free();
        configure(folder.path(), address);
        let engine = Self {
            child: command(&java, folder.path()).spawn().expect("it starts"),
            folder,
            address,
        };
        Some(engine.wait().await)
    }

    async fn wait(mut self) -> Self {
        let until = Instant::now() + START;
        while TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().expect("a child");
            let log = || fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            assert!(
                ended.is_none() && Instant::now() < until,
                "Elasticsearch does not start ({ended:?}): {}",
                log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        self
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine::at(self.address)
    }
}

impl Drop for Elasticsearch {
    fn drop(&mut self) {
        // Its launcher and the server.
        if let Some(group) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process_group(group, Signal::KILL);
        }
        let _ = self.child.wait();
    }
}

/// The service's part of the compose file.
fn service() -> &'static str {
    let (_, service) = COMPOSE.split_once("\n  elasticsearch:\n").expect("there");
    service.split_once("\n\n").expect("others follow").0
}

/// `9.5.2` of the image's name.
pub(crate) fn version() -> String {
    let image = "image: docker.elastic.co/elasticsearch/elasticsearch:";
    let (_, rest) = service().split_once(image).expect("the image");
    rest.lines().next().expect("a version").to_owned()
}

/// The settings that the compose file gives by the environment, which the image hands
/// to Elasticsearch: those whose names have a dot.
pub(crate) fn settings() -> Vec<&'static str> {
    let lines = service().lines().map(str::trim);
    let settings: Vec<&str> = lines
        .filter(|line| {
            line.split(": ")
                .next()
                .is_some_and(|name| name.contains('.'))
        })
        .filter(|line| !line.contains(['/', '#', '[']))
        .collect();
    assert!(settings.len() >= 2, "{settings:?}");
    settings
}

/// The path that the health check of the compose file asks.
pub(crate) fn health() -> &'static str {
    let (_, rest) = service()
        .split_once("http://127.0.0.1:9200")
        .expect("a check");
    rest.split('\'').next().expect("an address")
}

fn configure(folder: &Path, address: SocketAddr) {
    let own = format!(
        "network.host: 127.0.0.1\nhttp.port: {}\ntransport.port: {}\n\
         cluster.routing.allocation.disk.threshold_enabled: false\n",
        address.port(),
        free().port()
    );
    let settings = settings().join("\n");
    let file = folder.join("home/config/elasticsearch.yml");
    fs::write(file, format!("{settings}\n{own}")).expect("written");
    fs::create_dir(folder.join("tmp")).expect("a folder");
    give_away(folder);
}

fn command(java: &Path, folder: &Path) -> Command {
    let home = java
        .parent()
        .and_then(Path::parent)
        .expect("JAVA_HOME/bin/java");
    let tmp = folder.join("tmp").display().to_string();
    let log = fs::File::create(folder.join("log")).expect("a file");
    let mut command = Command::new("bash");
    command
        .arg(folder.join("home/bin/elasticsearch"))
        .env("ES_JAVA_HOME", home)
        .env("ES_JAVA_OPTS", "-Xms512m -Xmx512m")
        .env("ES_TMPDIR", &tmp)
        // The launcher's, which leaves folders behind.
        .env("CLI_JAVA_OPTS", format!("-Djava.io.tmpdir={tmp}"))
        .current_dir(folder)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file"))
        .stderr(log);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
