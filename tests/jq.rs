//! jq expressions, run by the real program in its child process.

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use rustix::process::{Pid, Signal, kill_process};
use stashgate::jq::{JqError, Rewritten, Runner, Verdict};

const MAX_EVENT: usize = 1 << 20;
/// Bytes of a frame without a body.
const HEAD: usize = 5;

fn runner() -> Runner {
    Runner::starting(env!("CARGO_BIN_EXE_stashgate"))
}

fn bytes(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

async fn keep(expression: &str, events: &[&str]) -> Vec<Verdict> {
    let events: Vec<_> = events.iter().map(|event| bytes(*event)).collect();
    runner().keep(expression, &events).await.expect("runs")
}

async fn rewrite(expression: &str, event: &str) -> Rewritten {
    let pair = (bytes(event), bytes(event));
    let rewritten = runner().rewrite(expression, &[pair], MAX_EVENT).await;
    rewritten.expect("runs").remove(0)
}

#[track_caller]
fn text(rewritten: Rewritten) -> String {
    match rewritten {
        Rewritten::Changed(event) => String::from_utf8(event.to_vec()).expect("UTF-8"),
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn why(rewritten: Rewritten) -> String {
    match rewritten {
        Rewritten::Failed(why) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_verdict_is_the_truth_of_the_first_output() {
    let event = [r#"{"a":1}"#];
    for (expression, verdict) in [
        (".a", Verdict::Keep),
        ("0, false", Verdict::Keep),
        ("false, true", Verdict::Drop),
        ("null", Verdict::Drop),
        ("empty", Verdict::Drop),
        (".a > 1", Verdict::Drop),
        ("repeat(.)", Verdict::Keep),
        (r#".a | test("1")?"#, Verdict::Drop),
    ] {
        assert_eq!(keep(expression, &event).await, [verdict], "{expression}");
    }
    let failed = keep(".a.b", &event).await.remove(0);
    let why = "cannot index 1 with \"b\"";
    assert_eq!(failed, Verdict::Failed(why.into()));
}

#[tokio::test]
async fn a_repair_changes_what_it_names_and_nothing_else() {
    let event = r#"{ "z":1e400, "user":{"id":7,"-0":-0}, "big":123456789012345678901234567890,
        "dec":0.12345678901234567890, "e":[1.0,-0,-0.0,1E+2], "text":"ü\u2028\n\u0001\u007f\ud83d\ude00/","a":[]}"#;
    let changed = text(rewrite(".user.id |= tostring", event).await);
    let expected = r#"{"z":1e400,"user":{"id":"7","-0":-0},"big":123456789012345678901234567890,"dec":0.12345678901234567890,"e":[1.0,-0,-0.0,1E+2],"text":"ü|\n\u0001\u007f😀/","a":[]}"#;
    assert_eq!(changed, expected.replace('|', "\u{2028}"));
    assert_eq!(rewrite(".", event).await, Rewritten::Same);
    let same = rewrite(".user.id |= (tostring | tonumber)", event).await;
    assert_eq!(same, Rewritten::Same);
}

#[tokio::test]
async fn the_order_of_members_stays_and_new_ones_come_last() {
    let event = r#"{"a":1,"b":2,"c":{"x":1,"y":2,"z":3},"d":4}"#;
    let changed = text(rewrite("del(.a) | del(.c.x) | .new = 5", event).await);
    assert_eq!(changed, r#"{"b":2,"c":{"y":2,"z":3},"d":4,"new":5}"#);
    let twice = text(rewrite(".b = 0", r#"{"a":1,"b":2,"a":3}"#).await);
    assert_eq!(twice, r#"{"a":3,"b":0}"#, "the last value wins");
}

#[tokio::test]
async fn a_repair_can_look_at_what_was_first_refused() {
    let events = [(bytes(r#"{"id":"7"}"#), bytes(r#"{"id":7,"x":1}"#))];
    let expression = ".x = $original.x | .was = ($original.id | type)";
    let rewritten = runner().rewrite(expression, &events, MAX_EVENT).await;
    let changed = text(rewritten.expect("runs").remove(0));
    assert_eq!(changed, r#"{"id":"7","x":1,"was":"number"}"#);
    assert_eq!(rewrite("$original", r#"{"id":7}"#).await, Rewritten::Same);
}

#[tokio::test]
async fn what_is_no_event_has_failed_with_the_reason() {
    for (expression, words) in [
        ("empty", "gave nothing"),
        ("., .", "more than one result"),
        ("repeat(.)", "more than one result"),
        (".a", "a number, not an object"),
        ("[.]", "an array, not an object"),
        ("error(\"no\")", "no"),
        ("halt", "stops itself"),
        ("halt_error", "stops itself"),
        (".a = nan", "not a number, or infinite"),
        (".a = infinite", "not a number, or infinite"),
        (".a |= tobytes", "not UTF-8"),
        (".[1] = 1", "not a string"),
        ("{(1): 2}", "not a string"),
        (".a = (\"x\" * 1048576)", "longer than 1048576 bytes"),
        (".a |= nth(200; recurse([.]))", "deeper than 128 levels"),
    ] {
        let why = why(rewrite(expression, r#"{"a":1}"#).await);
        assert!(why.contains(words), "{expression}: {why}");
    }
    let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(10_000));
    let why = why(rewrite(".a.b", &long).await);
    assert!(why.len() < 400 && why.ends_with('…'), "{why}");
}

#[tokio::test]
async fn an_event_that_is_no_object_never_reaches_the_child() {
    let deep = "[".repeat(MAX_EVENT);
    let nested = format!(r#"{{"a":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let verdicts = keep(
        "true",
        &["no", &deep, r#"{"a":1}"#, "[]", "{} {}", &nested, ""],
    )
    .await;
    let failed = |verdict: &Verdict| match verdict {
        Verdict::Failed(why) => assert!(why.contains("not a JSON object"), "{why}"),
        other => panic!("{other:?}"),
    };
    assert_eq!(verdicts[2], Verdict::Keep);
    verdicts[..2].iter().chain(&verdicts[3..]).for_each(failed);
    let surrogate = keep("true", &[r#"{"a":"\ud800"}"#]).await.remove(0);
    assert!(matches!(&surrogate, Verdict::Failed(why) if why.contains("surrogate")));
    let wrong = [(bytes("{}"), bytes("garbage"))];
    let rewritten = runner().rewrite(".", &wrong, MAX_EVENT).await;
    let why = why(rewritten.expect("runs").remove(0));
    assert!(why.contains("$original"), "{why}");
}

#[tokio::test]
async fn an_expression_that_cannot_be_compiled_is_told_with_its_place() {
    for (expression, expected) in [
        (
            ".a | (.b",
            "a closing parenthesis is missing, at position 9:\n  .a | (.b\n          ^",
        ),
        (
            ".user.id |= tostrin",
            "there is no filter 'tostrin', at position 13:\n  .user.id |= tostrin\n              ^",
        ),
        (
            ".a = $x",
            "there is no variable '$x', at position 6:\n  .a = $x\n       ^",
        ),
        (
            "map(",
            "a closing parenthesis is missing, at position 5:\n  map(\n      ^",
        ),
        (
            ".a |",
            "expected a term, found the end, at position 5:\n  .a |\n      ^",
        ),
        (
            "",
            "expected a term, found the end, at position 1:\n  \n  ^",
        ),
        (
            ".a\n| §",
            "this character means nothing here, at line 2, position 3:\n  | §\n    ^",
        ),
        (
            "$ENV.SECRET",
            "there is no variable '$ENV', at position 1:\n  $ENV.SECRET\n  ^",
        ),
        (
            "input",
            "there is no filter 'input', at position 1:\n  input\n  ^",
        ),
        (
            "map(1; 2)",
            "there is no filter 'map' with 2 arguments, at position 1:\n  map(1; 2)\n  ^",
        ),
        (
            "import \"/etc/passwd\" as $p; $p",
            "there are no modules here, at position 9:\n  import \"/etc/passwd\" as $p; $p\n          ^",
        ),
    ] {
        let error = runner().check(expression).await.expect_err("wrong");
        assert!(matches!(error, JqError::Expression(_)), "{error:?}");
        assert_eq!(error.to_string(), expected);
    }
    for deep in ["(", "[", "-"] {
        let deep = runner().check(&deep.repeat(60_000)).await;
        assert!(matches!(deep, Err(JqError::Expression(_))), "{deep:?}");
    }
    let long = runner().check(&" ".repeat(70_000)).await;
    assert!(matches!(long, Err(JqError::Expression(_))), "{long:?}");
    runner().check(".a = $original.a").await.expect("right");
    let error = runner().keep("(", &[]).await.expect_err("wrong");
    assert!(matches!(error, JqError::Expression(_)), "{error:?}");
}

#[tokio::test]
async fn hostile_expressions_end_within_their_limits() {
    let runner = runner();
    let cases = [
        ("def f: f; f", "longer than 2 s"),
        ("last(repeat(.))", "longer than 2 s"),
        ("last(range(infinite))", "longer than 2 s"),
        ("[limit(1000000000000; repeat(1))]", "the expression"),
        ("\"x\" * 1000000000", "out of memory"),
        ("def f: [f]; f", "recursion without end"),
        ("def f: 1 + f; f", "recursion without end"),
        ("[recurse([., .])]", "the expression"),
    ];
    let calls = cases.map(|(expression, words)| {
        let runner = runner.clone();
        tokio::spawn(async move {
            let events = [bytes("{}"), bytes("no event")];
            let verdicts = runner.keep(expression, &events).await.expect("one is lost");
            let [Verdict::Failed(why), Verdict::Failed(_)] = &verdicts[..] else {
                panic!("{expression}: {verdicts:?}");
            };
            assert!(why.contains(words), "{expression}: {why}");
        })
    });
    for call in calls {
        call.await.expect("as expected");
    }
}

#[tokio::test]
async fn a_call_gives_up_when_too_many_events_are_lost() {
    let lost = vec![bytes("{}"); 3];
    let verdicts = runner().keep("def f: [f]; f", &lost).await;
    assert_eq!(verdicts.expect("three are borne").len(), 3);
    let mut lost = vec![bytes("{}"); 6];
    lost[1] = bytes("no event");
    let error = runner()
        .keep("def f: [f]; f", &lost)
        .await
        .expect_err("four");
    assert!(error.to_string().contains("on 4 events"), "{error}");
    let JqError::TooSlow { lost, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(lost, [0, 2, 3, 4]);
}

#[tokio::test]
async fn memory_is_bounded_by_the_kernel() {
    let little = keep("\"x\" * 100000000 | length == 100000000", &["{}"]).await;
    assert_eq!(little, [Verdict::Keep]);
    let much = keep("\"x\" * 600000000 | length == 600000000", &["{}"]).await;
    assert!(matches!(&much[..], [Verdict::Failed(_)]), "{much:?}");
}

#[tokio::test]
async fn an_event_that_costs_the_child_has_failed_and_the_others_go_on() {
    let expression =
        "if .a == 3 then def f: [f]; f elif .a == 5 then last(repeat(.)) else .b = 1 end";
    let events: Vec<_> = (0..100)
        .map(|a| bytes(format!(r#"{{"a":{a}}}"#)))
        .map(|event| (event.clone(), event))
        .collect();
    let rewritten = runner().rewrite(expression, &events, MAX_EVENT).await;
    let rewritten = rewritten.expect("two are not too many");
    for (a, rewritten) in rewritten.into_iter().enumerate() {
        match a {
            3 => assert!(why(rewritten).contains("recursion without end")),
            5 => assert!(why(rewritten).contains("longer than 2 s")),
            _ => assert_eq!(text(rewritten), format!(r#"{{"a":{a},"b":1}}"#)),
        }
    }
}

#[tokio::test]
async fn an_event_can_bring_down_only_itself() {
    // What is in a string passes the gateway's scanner.
    let hostile = format!(r#"{{"a":"{}"}}"#, "[".repeat(MAX_EVENT - 100));
    let good = r#"{"a":"[]"}"#;
    let verdicts = keep(".a | fromjson", &[good, &hostile, good]).await;
    assert_eq!([&verdicts[0], &verdicts[2]], [&Verdict::Keep; 2]);
    assert!(matches!(verdicts[1], Verdict::Failed(_)), "{verdicts:?}");
}

#[tokio::test]
async fn the_gateways_secrets_are_not_to_be_seen() {
    // The test's own environment is never empty.
    assert!(std::env::vars().count() > 0);
    let seen = text(rewrite(".env = env | .home = env.HOME", r#"{"a":1}"#).await);
    assert_eq!(seen, r#"{"a":1,"env":{},"home":null}"#);
    for harmless in ["debug", "stderr", "debug(.a)"] {
        assert_eq!(rewrite(harmless, r#"{"a":1}"#).await, Rewritten::Same);
    }
}

#[tokio::test]
async fn many_events_go_through_one_child() {
    let events: Vec<_> = (0..10_000)
        .map(|n| {
            bytes(format!(
                r#"{{"n":{n},"user":{{"id":{n}}},"message":"{}"}}"#,
                "m".repeat(300)
            ))
        })
        .map(|event| (event.clone(), event))
        .collect();
    let began = std::time::Instant::now();
    let rewritten = runner()
        .rewrite(".user.id |= tostring", &events, MAX_EVENT)
        .await;
    eprintln!("10,000 events in {:?}", began.elapsed());
    let rewritten = rewritten.expect("runs");
    assert_eq!(rewritten.len(), events.len());
    for (n, rewritten) in rewritten.into_iter().enumerate() {
        let start = format!(r#"{{"n":{n},"user":{{"id":"{n}"}}"#);
        assert!(text(rewritten).starts_with(&start));
    }
}

#[tokio::test]
async fn a_child_that_is_killed_costs_one_event() {
    let expression = "if .a == 1 then last(repeat(.)) else . end";
    let events: Vec<_> = (0..3)
        .map(|a| bytes(format!(r#"{{"a":{a}}}"#)))
        .map(|event| (event.clone(), event))
        .collect();
    let call = tokio::spawn(async move { runner().rewrite(expression, &events, MAX_EVENT).await });
    let child = child().await;
    // The first event is answered; the second has the child busy.
    while written(child) < "1000".len() + 2 * HEAD {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    signal(child, Signal::KILL);
    let rewritten = call.await.expect("no panic").expect("runs");
    let [Rewritten::Same, Rewritten::Failed(_), Rewritten::Same] = &rewritten[..] else {
        panic!("{rewritten:?}");
    };
}

#[tokio::test]
async fn a_call_that_is_dropped_leaves_no_process_behind() {
    let call = tokio::spawn(async {
        let events = [bytes("{}")];
        runner().keep("last(repeat(.))", &events).await
    });
    let pid = child().await;
    // Stopped, it does not see that its input ends: it has to be killed.
    signal(pid, Signal::STOP);
    call.abort();
    assert!(call.await.expect_err("aborted").is_cancelled());
    gone(pid).await;
}

#[test]
fn a_child_can_open_nothing_and_ends_with_whoever_started_it() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_stashgate"))
        .arg("jq-child")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("piped");
    let expression = "last(repeat(.))";
    let length = (expression.len() as u32).to_le_bytes();
    let opening = [&[1], &length[..], expression.as_bytes()].concat();
    stdin.write_all(&opening).expect("written");
    let event = [4, 2, 0, 0, 0, b'{', b'}'];
    stdin.write_all(&event).expect("written");
    let mut ready = [0; HEAD];
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut ready).expect("ready");
    assert_eq!(ready, [5, 0, 0, 0, 0]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id())).expect("proc(5)");
    let limit = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name));
        let words = line.expect("proc(5)").split_whitespace();
        words
            .filter_map(|word| word.parse().ok())
            .collect::<Vec<u64>>()
    };
    assert_eq!(limit("Max open files"), [3, 3], "its three pipes");
    assert_eq!(limit("Max core file size"), [0, 0]);
    drop(stdin);
    assert!(child.wait().expect("ends").success());
}

/// The one child of this test's thread: tokio's test runtime has but that.
async fn child() -> i32 {
    let children = "/proc/thread-self/children";
    loop {
        let pids = fs::read_to_string(children).expect("proc(5)");
        if let Some(pid) = pids.split_whitespace().next() {
            return pid.parse().expect("a number");
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Bytes that a process has written, in all.
fn written(pid: i32) -> usize {
    let counts = fs::read_to_string(format!("/proc/{pid}/io")).expect("proc(5)");
    let count = counts.lines().find_map(|line| line.strip_prefix("wchar: "));
    count.expect("proc(5)").parse().expect("a number")
}

fn signal(pid: i32, signal: Signal) {
    let pid = Pid::from_raw(pid).expect("a process");
    kill_process(pid, signal).expect("signalled");
}

/// Waits until a process is neither running nor a zombie.
async fn gone(pid: i32) {
    let place = format!("/proc/{pid}");
    while fs::exists(&place).expect("proc(5)") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
