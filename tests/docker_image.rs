//! The program where there is nothing but what `docker/Dockerfile` copies: a read-only
//! root with itself, its libraries and an empty data folder. Skipped, with a message,
//! where the kernel makes no such place for this user.

#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use command::{run, stashgate};
use gateway::{eventually, free};
use http::{ask, get};
use rustix::process::{Pid, Signal, kill_process};

const PROGRAM: &str = "/usr/local/bin/stashgate";
const DATA: &str = "/var/lib/stashgate";

/// What the image and compose.yaml do around the program; `$0` is the root, what
/// follows runs in it.
const ENTER: &str = r#"set -e
mount --bind "$0" "$0"
mount --rbind /proc "$0/proc"
mount --rbind /dev "$0/dev"
mount --bind "$0/var/lib/stashgate" "$0/var/lib/stashgate"
mount -o remount,bind,ro "$0"
if [ "$1" = probe ]; then exit 0; fi
exec chroot "$0" "$@""#;

/// See the module. A folder of the target folder: others may be mounted in ways that
/// cannot be changed.
struct Root(tempfile::TempDir);

impl Root {
    fn new() -> Self {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a folder");
        let root = Self(folder);
        for name in ["/proc", "/dev", DATA] {
            fs::create_dir_all(root.at(name)).expect("a folder");
        }
        let program = Path::new(env!("CARGO_BIN_EXE_stashgate"));
        root.copy(program, PROGRAM);
        for library in libraries(program) {
            root.copy(Path::new(&library), &library);
        }
        root
    }

    fn at(&self, path: &str) -> PathBuf {
        self.0.path().join(path.trim_start_matches('/'))
    }

    fn copy(&self, from: &Path, to: &str) {
        let to = self.at(to);
        fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        fs::copy(from, to).expect("copied");
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", ENTER])
            .arg(self.0.path())
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .stdin(Stdio::null());
        command
    }

    /// Whether there can be such a place; if not, it says so.
    fn can_be_entered(&self) -> bool {
        let probe = self.command(&["probe"]).output();
        let said = match probe {
            Ok(output) if output.status.success() => return true,
            Ok(output) => String::from_utf8_lossy(&output.stderr).into_owned(),
            Err(error) => error.to_string(),
        };
        eprintln!("skipped: no root of its own for a program: {}", said.trim());
        false
    }

    fn start(&self, admin: SocketAddr, http: SocketAddr) -> Gateway {
        let log = fs::File::create(self.0.path().join("log")).expect("a file");
        let mut command = self.command(&[PROGRAM, "run"]);
        command
            .env("STASHGATE__DATA_DIR", DATA)
            .env("STASHGATE__ADMIN__LISTEN", admin.to_string())
            .env("STASHGATE__RECEIVERS__HTTP__LISTEN", http.to_string())
            .env("STASHGATE__RECEIVERS__GRPC__ENABLED", "false")
            .env(
                "STASHGATE__RECEIVERS__TCP__DEFAULT__LISTEN",
                free().to_string(),
            )
            .stdout(log.try_clone().expect("a file"))
            .stderr(log);
        Gateway(command.spawn().expect("it starts"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.0.path().join("log")).unwrap_or_default()
    }
}

/// What the dynamic linker would load, by `ldd`.
fn libraries(program: &Path) -> Vec<String> {
    let output = Command::new("ldd").arg(program).output().expect("ldd");
    let text = String::from_utf8(output.stdout).expect("text");
    let words = text.split_whitespace().filter(|word| word.starts_with('/'));
    let found: Vec<String> = words.map(str::to_owned).collect();
    assert!(!found.is_empty(), "{text}");
    found
}

struct Gateway(Child);

impl Gateway {
    fn ends(mut self) -> Option<i32> {
        let id = i32::try_from(self.0.id()).expect("a number");
        kill_process(Pid::from_raw(id).expect("one"), Signal::TERM).expect("sent");
        self.0.wait().expect("it ends").code()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_needs_nothing_but_what_the_image_has() {
    let root = Root::new();
    if !root.can_be_entered() {
        return;
    }
    let (admin, http) = (free(), free());
    let url = format!("http://{admin}");
    let gateway = root.start(admin, http);
    let healthy = || {
        let asked = run(&mut root.command(&[PROGRAM, "health", "--url", &url]));
        asked.code == Some(0)
    };
    eventually("a healthy gateway", healthy).await;

    http::post(http, &http::events(0..10));
    let refused = r#"[{"user": {"id": "anna"}, "_gateway_dlq": {"reason": "no"}}]"#;
    let head = format!(
        "POST /v1/dead-letters?queue=logstash HTTP/1.1\r\nHost: {http}\r\n\
         Content-Type: application/json"
    );
    assert_eq!(ask(http, &head, refused).status, 200, "{}", root.log());
    // The expression runs in a child process of the gateway.
    let expression = ".user.id = 1";
    let words = [
        "dead-letters",
        "repair",
        "--url",
        &url,
        "--reason",
        "other",
        expression,
    ];
    let repairs = || {
        run(&mut stashgate(&words))
            .out
            .contains("1 letter would change")
    };
    eventually("a letter that can be repaired", repairs).await;
    assert_eq!(get(admin, "/metrics").status, 200);
    assert_eq!(gateway.ends(), Some(0), "{}", root.log());
}
