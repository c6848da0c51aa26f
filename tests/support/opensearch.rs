//! A real OpenSearch of one node: got by Maven into `target/`, run by this
//! machine's Java on loopback, ended with its folder when dropped.

#![allow(dead_code)]

use std::fs;
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{Mutex, MutexGuard};

use super::gateway::free;
use super::http::try_ask;
use super::peer::{installs, limited, workshop};

/// One at a time: each takes half a gigabyte.
static ONE: Mutex<()> = Mutex::const_new(());

/// `nobody`: OpenSearch refuses to run as root.
pub(crate) const NOBODY: u32 = 65534;

/// Longest start on a busy machine.
pub(crate) const START: Duration = Duration::from_secs(180);

pub(crate) struct OpenSearch {
    child: Child,
    folder: tempfile::TempDir,
    address: SocketAddr,
    /// The version that runs.
    pub(crate) version: &'static str,
    _one: MutexGuard<'static, ()>,
}

impl OpenSearch {
    /// `None`, with a message: it cannot be had here, the test is skipped.
    pub(crate) async fn start() -> Option<Self> {
        let one = ONE.lock().await;
        let (java, release) = java(17)?;
        // 3 needs Java 21; 2 still calls the security manager, which 24 has no more.
        let version = if release >= 21 { "3.3.1" } else { "2.19.1" };
        let folder = tempfile::tempdir().expect("a folder");
        let home = folder.path().join("home");
        copy(&distribution("opensearch", version)?, &home);
        let address = free();
        configure(folder.path(), address);
        let child = command(&java, folder.path(), version)
            .spawn()
            .expect("Java starts");
        let mut engine = Self {
            child,
            folder,
            address,
            version,
            _one: one,
        };
        engine.wait().await;
        Some(engine)
    }

    async fn wait(&mut self) {
        let until = Instant::now() + START;
        while std::net::TcpStream::connect(self.address).is_err() {
            let ended = self.child.try_wait().expect("a child");
            assert!(
                ended.is_none() && Instant::now() < until,
                "OpenSearch {} does not start ({ended:?}): {}",
                self.version,
                self.log()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let health = "/_cluster/health?wait_for_status=yellow&timeout=60s";
        let health = self.call("GET", health, &Value::Null).await;
        assert_eq!(health["timed_out"], false, "{health}");
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("logs/opensearch.log")).unwrap_or_default()
    }

    pub(crate) fn engine(&self) -> Engine {
        Engine(self.address)
    }

    /// See [`Engine::call`].
    pub(crate) async fn call(&self, method: &'static str, path: &str, body: &Value) -> Value {
        self.engine().call(method, path, body).await
    }
}

impl Drop for OpenSearch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where it answers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Engine(SocketAddr);

impl Engine {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self(address)
    }

    /// One request, with a JSON body unless that is null; the answer, whatever it says.
    pub(crate) async fn call(self, method: &'static str, path: &str, body: &Value) -> Value {
        let body = match body {
            Value::Null => String::new(),
            body => body.to_string(),
        };
        self.send(method, path, "application/json", body).await.1
    }

    /// `_bulk`: the status of the whole, and the answer; 0 if there is none.
    pub(crate) async fn bulk(self, lines: String) -> (u16, Value) {
        self.send("POST", "/_bulk", "application/x-ndjson", lines)
            .await
    }

    async fn send(
        self,
        method: &'static str,
        path: &str,
        kind: &'static str,
        body: String,
    ) -> (u16, Value) {
        let Self(address) = self;
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}");
        let asked = tokio::task::spawn_blocking(move || try_ask(address, &head, &body));
        let Ok(answer) = asked.await.expect("asked") else {
            return (0, Value::Null);
        };
        let said = serde_json::from_str(&answer.body).unwrap_or(Value::Null);
        (answer.status, said)
    }

    /// Makes an index with these mappings.
    pub(crate) async fn create(self, index: &str, properties: Value) {
        let made = json!({"mappings": {"properties": properties}});
        let answer = self.call("PUT", &format!("/{index}"), &made).await;
        assert_eq!(answer["acknowledged"], true, "{answer}");
    }

    /// Puts the templates of docker/logstash in place, as Logstash does when it starts.
    pub(crate) async fn templates(self) {
        for name in ["logstash", "conflicts"] {
            let folder = env!("CARGO_MANIFEST_DIR");
            let file = format!("{folder}/docker/logstash/template/{name}.json");
            let template = fs::read_to_string(file).expect("the template is there");
            let template = serde_json::from_str(&template).expect("JSON");
            let path = format!("/_index_template/{name}");
            let answer = self.call("PUT", &path, &template).await;
            assert_eq!(answer["acknowledged"], true, "{answer}");
        }
    }

    /// How many documents there are in the indices of this name.
    pub(crate) async fn count(self, index: &str) -> u64 {
        let refreshed = format!("/{index}/_refresh");
        self.call("POST", &refreshed, &Value::Null).await;
        let path = format!("/{index}/_count");
        let answer = self.call("GET", &path, &Value::Null).await;
        answer["count"].as_u64().unwrap_or(0)
    }

    /// The field `n` over the indices of this name: how many have it, the sum, and the
    /// sum of the squares. A number that is missing or there twice shows.
    pub(crate) async fn numbers(self, index: &str) -> [f64; 3] {
        let wanted = json!({"size": 0, "aggs": {"n": {"extended_stats": {"field": "n"}}}});
        let path = format!("/{index}/_search");
        let answer = self.call("POST", &path, &wanted).await;
        let found = &answer["aggregations"]["n"];
        ["count", "sum", "sum_of_squares"].map(|name| found[name].as_f64().unwrap_or(0.0))
    }
}

/// What [`Engine::numbers`] is for each number below `n` once.
pub(crate) fn each_below(n: u64) -> [f64; 3] {
    let (sum, squares) = (n * (n - 1) / 2, n * (n - 1) * (2 * n - 1) / 6);
    [n as f64, sum as f64, squares as f64]
}

/// The newest Java here, and its release. `None`, with a message: there is none, or it
/// is older than `least`.
pub(crate) fn java(least: u32) -> Option<(PathBuf, u32)> {
    let homes = fs::read_dir("/usr/lib/jvm").into_iter().flatten().flatten();
    let mut programs: Vec<PathBuf> = homes.map(|home| home.path().join("bin/java")).collect();
    programs.extend(std::env::var_os("JAVA_HOME").map(|home| Path::new(&home).join("bin/java")));
    programs.push("java".into());
    let found = programs.into_iter().filter_map(|program| {
        let release = release(&program)?;
        Some((program, release))
    });
    let newest = found.max_by_key(|(_, release)| *release);
    let newest = newest.filter(|(_, release)| *release >= least);
    if newest.is_none() {
        eprintln!("skipped: there is no Java {least} or newer");
    }
    newest
}

/// `17` of `openjdk version "17.0.15" 2025-04-15`.
fn release(program: &Path) -> Option<u32> {
    let said = Command::new(program).arg("-version").output().ok()?;
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    let (_, version) = said.split_once("version \"")?;
    version.split(['.', '"', '-']).next()?.parse().ok()
}

/// The folder of the distribution of `opensearch` or `elasticsearch`, which Maven
/// brings. `None`, with a message: it cannot be had.
pub(crate) fn distribution(product: &str, version: &str) -> Option<PathBuf> {
    let folder = workshop(product).join(version);
    if !folder.exists() {
        let unpacked = workshop(product).join(format!("{version}.{}", std::process::id()));
        let artifact = format!("org.{product}.distribution.integ-test-zip:{product}:{version}:zip");
        let mut maven = limited("mvn");
        maven.args(["-q", "-B", "dependency:unpack"]);
        maven.arg(format!("-Dartifact={artifact}"));
        maven.arg(format!("-DoutputDirectory={}", unpacked.display()));
        // Where it stands it leaves marks, and takes a pom.xml for the project's.
        fs::create_dir_all(&unpacked).expect("a folder");
        if !installs(product, maven.current_dir(&unpacked)) {
            return None;
        }
        let inner = unpacked.join(format!("{product}-{version}"));
        // Another test's process may have been quicker.
        let _ = fs::rename(inner, &folder);
        let _ = fs::remove_dir_all(unpacked);
    }
    Some(folder)
}

/// Copies what runs: the user that it runs as may not reach `target/`.
pub(crate) fn copy(distribution: &Path, home: &Path) {
    let copied = Command::new("cp")
        .arg("-r")
        .args([distribution, home])
        .status();
    assert!(copied.is_ok_and(|status| status.success()), "copied");
}

fn configure(folder: &Path, address: SocketAddr) {
    for name in ["conf", "data", "logs", "tmp"] {
        fs::create_dir_all(folder.join(name)).expect("a folder");
    }
    let logging = "config/log4j2.properties";
    fs::copy(
        folder.join("home").join(logging),
        folder.join("conf/log4j2.properties"),
    )
    .expect("copied");
    let settings = format!(
        "path.data: {folder}/data\n\
         path.logs: {folder}/logs\n\
         network.host: 127.0.0.1\n\
         http.port: {}\n\
         transport.port: {}\n\
         discovery.type: single-node\n\
         cluster.routing.allocation.disk.threshold_enabled: false\n",
        address.port(),
        free().port(),
        folder = folder.display(),
    );
    fs::write(folder.join("conf/opensearch.yml"), settings).expect("written");
    give_away(folder);
}

/// To the user that it runs as.
pub(crate) fn give_away(folder: &Path) {
    if rustix::process::geteuid().is_root() {
        let owner = format!("{NOBODY}:{NOBODY}");
        let given = Command::new("chown")
            .args(["-R", &owner])
            .arg(folder)
            .status();
        assert!(given.is_ok_and(|status| status.success()), "given away");
    }
}

/// What `bin/opensearch` comes down to, without its two Javas before.
fn command(java: &Path, folder: &Path, version: &str) -> Command {
    let home = folder.join("home");
    let show = |path: &Path| path.display().to_string();
    let mut command = Command::new(java);
    command.args(["-Xms512m", "-Xmx512m", "-XX:+UseSerialGC"]);
    if version.starts_with('3') {
        command.arg(format!(
            "-javaagent:{}",
            show(&home.join("agent/opensearch-agent.jar"))
        ));
        command.arg("--enable-native-access=ALL-UNNAMED");
    } else {
        command.arg("-Djava.security.manager=allow");
    }
    command.args([
        "-Dlog4j2.disable.jmx=true".to_owned(),
        format!("-Djava.io.tmpdir={}", show(&folder.join("tmp"))),
        format!("-Dopensearch.path.home={}", show(&home)),
        format!("-Dopensearch.path.conf={}", show(&folder.join("conf"))),
        "-cp".to_owned(),
        format!("{}/*", show(&home.join("lib"))),
        "org.opensearch.bootstrap.OpenSearch".to_owned(),
    ]);
    if rustix::process::geteuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}
