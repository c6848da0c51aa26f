//! A site on which commands of the pages are typed: a gateway, a Logstash and an
//! Elasticsearch behind it, all on this machine. The commands are as the pages show them,
//! but for addresses, folders and the day.

#![allow(dead_code)]

use std::fs;
use std::ops::Range;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};

use super::beats::Beats;
use super::elastic::Elastic;
use super::gateway::{Gateway, PATIENCE, Setup, eventually};
use super::http::{ask, get, post};
use super::pages::Typed;
use serde_json::{Value, json};

/// See the module.
pub(crate) struct Site {
    pub(crate) setup: Setup,
    pub(crate) logstash: Beats,
    pub(crate) elastic: Elastic,
    gateway: Option<Gateway>,
    /// Where commands are typed.
    pub(crate) folder: tempfile::TempDir,
    /// What else is replaced in a command.
    pub(crate) here: Vec<(&'static str, String)>,
    /// Commands that hold for what is typed next: variables, and the folder.
    before: Vec<String>,
}

impl Site {
    /// A running gateway; `more` is added to its settings.
    pub(crate) async fn start(more: &str) -> Self {
        let mut site = Self::new(more).await;
        site.start_gateway().await;
        site
    }

    /// One whose gateway was not started yet.
    pub(crate) async fn new(more: &str) -> Self {
        let logstash = Beats::start().await;
        let setup = Setup::new(logstash.address(), more);
        let settings = fs::read_to_string(setup.config_file()).expect("written");
        let settings = settings.replace("json_lines", "lumberjack");
        fs::write(setup.config_file(), settings).expect("written");
        let site = Self {
            setup,
            elastic: Elastic::start(logstash.shared_sink()),
            logstash,
            gateway: None,
            folder: tempfile::tempdir().expect("a folder"),
            here: Vec::new(),
            before: Vec::new(),
        };
        site.make_program();
        site
    }

    /// `stashgate` as a name that a shell finds. `send` takes its address from a flag only.
    fn make_program(&self) {
        fs::create_dir_all(self.path("bin")).expect("a folder");
        let text = format!(
            "#!/bin/sh\nreal={}\ncase $1 in\nsend) shift; exec $real send --to {} \"$@\" ;;\n\
             *) exec $real \"$@\" ;;\nesac\n",
            env!("CARGO_BIN_EXE_stashgate"),
            self.setup.url()
        );
        self.make_executable("stashgate", &text);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) async fn start_gateway(&mut self) {
        assert!(self.gateway.is_none(), "it runs");
        self.gateway = Some(self.setup.start_and_wait().await);
        let admin = self.setup.admin;
        eventually("ready", || get(admin, "/readyz").status == 200).await;
    }

    pub(crate) async fn stop_gateway(&mut self) {
        let gateway = self.gateway.take().expect("it runs");
        assert_eq!(gateway.terminate().await, Some(0), "{}", self.setup.log());
    }

    /// Types a command; what it says. It ends with success.
    pub(crate) async fn types(&mut self, typed: &Typed) -> String {
        let command = self.text_here(&typed.text);
        if let Some(wish) = command.strip_prefix("systemctl ") {
            self.service(wish).await;
            return String::new();
        }
        if is_assignment(&command) || command.starts_with("cd ") {
            self.before.push(command);
            return String::new();
        }
        let shell = format!("{}\n{command}", self.before.join("\n"));
        let (shown, output) = (command, self.shell(&shell));
        let output = tokio::task::spawn_blocking(output).await.expect("no panic");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{shown}: {:?}\n{said}{complaint}\n{}",
            output.status,
            self.setup.log()
        );
        said
    }

    /// Elasticsearch refuses events that Logstash had, since their `field` (`a.b`) has a
    /// `value` of the wrong type; Logstash's pipeline `dlq` posts them. They are filed as letters.
    pub(crate) async fn refuse(&self, numbers: Range<u64>, field: &str, value: Value) {
        let (http, sink) = (self.setup.http, self.logstash.sink());
        let count = numbers.end - numbers.start;
        let event = |n: u64| {
            let inner = field
                .rsplit('.')
                .fold(value.clone(), |inner, name| json!({ name: inner }));
            let mut event = json!({ "n": n, "message": "it went wrong", "service": "billing" });
            let fields = event.as_object_mut().expect("an object");
            fields.extend(inner.as_object().expect("an object").clone());
            event
        };
        let lines: String = numbers.clone().map(|n| format!("{}\n", event(n))).collect();
        post(http, &lines);
        sink.wait_for(numbers.clone()).await;
        let refused = numbers.map(|n| {
            let mut event = event(n);
            event["_gateway_dlq"] = json!({
                "plugin_type": "elasticsearch", "plugin_id": "events",
                "reason": refusal(field, &value),
                "entry_time": "2026-11-20T10:00:00Z", "id": sink.id(n),
            });
            event
        });
        let head = format!(
            "POST /v1/dead-letters?queue=logstash HTTP/1.1\r\nHost: {http}\r\n\
             Content-Type: application/json"
        );
        let before = self.letters();
        let answer = ask(http, &head, &json!(refused.collect::<Vec<_>>()).to_string());
        assert_eq!(answer.status, 200, "{}", answer.body);
        eventually("the letters are filed", || self.lists(before + count)).await;
    }

    fn letters_status(&self) -> Value {
        let body = get(self.setup.admin, "/api/v1/status").body;
        let mut status: Value = serde_json::from_str(&body).expect("JSON");
        status["dead_letters"].take()
    }

    /// How many dead letters are held.
    pub(crate) fn letters(&self) -> u64 {
        self.letters_status()["held"].as_u64().expect("a number")
    }

    /// Whether so many dead letters are held, and all of them can be listed.
    pub(crate) fn lists(&self, letters: u64) -> bool {
        let status = self.letters_status();
        status["held"] == letters && status["unfiled"] == 0
    }

    /// Puts a text into the settings; it is there once.
    pub(crate) fn set(&self, old: &str, new: &str) {
        let settings = fs::read_to_string(self.setup.config_file()).expect("written");
        assert_eq!(settings.matches(old).count(), 1, "{old} in {settings}");
        fs::write(self.setup.config_file(), settings.replace(old, new)).expect("written");
    }

    /// Configures one more queue, with the same Logstash. Before the gateway starts.
    pub(crate) fn add_queue(&self, name: &str) {
        let file = self.setup.config_file();
        let settings = fs::read_to_string(&file).expect("written");
        let (_, output) = settings.split_once("[queues.logstash.output]").expect("it");
        let more = format!("{settings}\n[queues.{name}.output]{output}");
        fs::write(file, more).expect("written");
    }

    /// Has the shell find a program of others, which is called by `command`.
    pub(crate) fn finds(&self, name: &str, command: &str) {
        self.make_executable(name, &format!("#!/bin/sh\nexec {command} \"$@\"\n"));
    }

    fn make_executable(&self, name: &str, text: &str) {
        let program = self.path("bin").join(name);
        fs::write(&program, text).expect("written");
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("set");
    }

    /// Types a command that does not end by itself. It is ended when dropped.
    pub(crate) fn begins(&self, typed: &Typed) -> Endless {
        let mut shell = self.shell_for(&self.text_here(&typed.text));
        Endless(shell.process_group(0).spawn().expect("a shell"))
    }

    /// Types all of them, in order.
    pub(crate) async fn type_all(&mut self, commands: &[Typed]) -> Vec<String> {
        let mut said = Vec::new();
        for command in commands {
            said.push(self.types(command).await);
        }
        said
    }

    /// The stand-in for a supervisor.
    async fn service(&mut self, wish: &str) {
        let (verb, service) = wish.split_once(' ').expect("a service");
        let [stops, starts] = ["stop", "start"].map(|part| verb == part || verb == "restart");
        assert!(stops || starts, "systemctl {wish}");
        match service {
            "stashgate" => {
                if stops {
                    self.stop_gateway().await;
                }
                if starts {
                    self.start_gateway().await;
                }
            }
            "logstash" => {
                if stops {
                    self.logstash.stop(Duration::from_millis(50)).await;
                }
                if starts {
                    self.logstash.start_again().await;
                }
            }
            other => panic!("no service {other}"),
        }
    }

    fn shell(&self, command: &str) -> impl FnOnce() -> Output + Send + 'static {
        let mut shell = self.shell_for(command);
        move || shell.output().expect("a shell")
    }

    fn shell_for(&self, command: &str) -> Command {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut shell = Command::new("timeout");
        shell
            .arg(PATIENCE.as_secs().to_string())
            .args(["bash", "-euo", "pipefail", "-c", command])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("STASHGATE_URL", format!("http://{}", self.setup.admin))
            .stdin(Stdio::null());
        shell
    }

    /// The command with the addresses and folders of this site.
    fn text_here(&self, text: &str) -> String {
        let Setup {
            grpc,
            http,
            tcp,
            admin,
            ..
        } = &self.setup;
        let logstash = self.logstash.address().to_string();
        let elastic = self.elastic.address.to_string();
        let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let shown = |path: &Path| path.display().to_string();
        // A test's own come first: it may say another day.
        let mut parts = self.here.clone();
        parts.extend([
            ("127.0.0.1:7170", admin.to_string()),
            ("127.0.0.1:7171", grpc.to_string()),
            ("127.0.0.1:7172", http.to_string()),
            ("127.0.0.1:7173", tcp.to_string()),
            ("127.0.0.1/7173", tcp.to_string().replace(':', "/")),
            ("logstash.example.com:5000", logstash.clone()),
            ("logstash.example.com:5044", logstash),
            ("elasticsearch.example.com:9200", elastic.clone()),
            ("127.0.0.1:9600", elastic),
            (
                "/etc/stashgate/stashgate.toml",
                shown(&self.setup.config_file()),
            ),
            ("/var/lib/stashgate", shown(&self.setup.data_dir())),
            ("2026-11-20", today.clone()),
            ("2026.11.20", today.replace('-', ".")),
        ]);
        parts.iter().fold(text.to_owned(), |text, (there, here)| {
            text.replace(there, here)
        })
    }
}

/// A command with all that it started.
pub(crate) struct Endless(Child);

impl Drop for Endless {
    fn drop(&mut self) {
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// Why, as Logstash tells it.
fn refusal(field: &str, value: &Value) -> String {
    format!(
        "Could not index event to Elasticsearch. status: 400, action: [\"index\", {{}}, {{}}], \
         response: {{\"index\"=>{{\"status\"=>400, \"error\"=>{{\"type\"=>\"mapper_parsing_exception\", \
         \"reason\"=>\"failed to parse field [{field}] of type [long] in document with id '7'. \
         Preview of field's value: '{value}'\"}}}}}}"
    )
}

/// Whether it only sets a variable for what is typed next.
fn is_assignment(command: &str) -> bool {
    let name = command.split_once('=').map(|(name, _)| name);
    name.is_some_and(|name| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'))
        && !command.contains('\n')
}
