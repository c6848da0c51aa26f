//! `stashgate hold` and `resume` with the real program.

use serde_json::Value;

#[path = "support/command.rs"]
mod command;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;

use command::{Ended, run, stashgate};
use gateway::{Gateway, Setup, eventually};
use http::{events, get, post};
use logstash::Logstash;

fn status(setup: &Setup) -> Value {
    serde_json::from_str(&get(setup.admin, "/api/v1/status").body).expect("JSON")
}

fn queue(setup: &Setup) -> Value {
    status(setup)["queues"][0].clone()
}

async fn start(setup: &Setup) -> Gateway {
    let gateway = setup.start_and_wait().await;
    eventually("a start", || status(setup)["state"] == "running").await;
    gateway
}

/// Runs `stashgate COMMAND NAME` against the gateway.
fn ask(setup: &Setup, command: &str, name: &str) -> Ended {
    let url = format!("http://{}", setup.admin);
    run(&mut stashgate(&[command, "--url", &url, name]))
}

async fn wait_for_state(setup: &Setup, state: &str) {
    eventually(state, || queue(setup)["endpoints"][0]["state"] == state).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_under_load_outlives_a_restart_and_nothing_is_missing_after_resume() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let gateway = start(&setup).await;
    for n in 0..100 {
        post(setup.http, &events(n * 20..n * 20 + 20));
        if n == 50 {
            let held = ask(&setup, "hold", "logstash");
            assert_eq!(
                (held.code, held.out.as_str()),
                (Some(0), "held: logstash\n")
            );
        }
    }
    wait_for_state(&setup, "held").await;
    let confirmed = queue(&setup)["ledger"]["confirmed"].clone();
    let arrived = logstash.sink().distinct();
    assert!(arrived < 2_000, "it was held half-way");

    assert_eq!(gateway.terminate().await, Some(0));
    let _gateway = start(&setup).await;
    wait_for_state(&setup, "held").await;
    post(setup.http, &events(2_000..2_020));
    eventually("a forecast", || {
        queue(&setup)["rates"]["seconds_to_full"].is_number()
    })
    .await;
    assert_eq!(logstash.sink().distinct(), arrived, "nothing is sent");
    assert_eq!(queue(&setup)["ledger"]["confirmed"], confirmed);

    let resumed = ask(&setup, "resume", "logstash");
    assert_eq!(
        (resumed.code, resumed.out.as_str()),
        (Some(0), "nothing is held\n")
    );
    logstash.sink().wait_for(0..2_020).await;
    eventually("the books", || {
        queue(&setup)["ledger"]["confirmed"] == 2_020
    })
    .await;
    assert_eq!(
        (
            queue(&setup)["unaccounted_events"].clone(),
            logstash.sink().faults()
        ),
        (0.into(), 0)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_endpoint_is_spared_while_the_other_takes_everything() {
    let (held, other) = (Logstash::start().await, Logstash::start().await);
    let setup = Setup::new(held.address(), "");
    let text = std::fs::read_to_string(setup.config_file()).expect("settings");
    let one = format!("\"{}\"", held.address());
    let both = format!("{one}, \"{}\"", other.address());
    std::fs::write(setup.config_file(), text.replace(&one, &both)).expect("written");
    let _gateway = start(&setup).await;
    assert_eq!(
        ask(&setup, "hold", &held.address().to_string()).code,
        Some(0)
    );
    wait_for_state(&setup, "held").await;
    let before = held.received();
    post(setup.http, &events(0..500));
    other.sink().wait_for(0..500).await;
    assert_eq!(held.received(), before);
    assert_eq!(
        ask(&setup, "resume", &held.address().to_string()).code,
        Some(0)
    );
    wait_for_state(&setup, "open").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_is_not_there_is_told_with_those_that_are() {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), "");
    let _gateway = start(&setup).await;
    let refused = ask(&setup, "hold", "nobody");
    assert_eq!(refused.code, Some(1), "the gateway answers");
    let known = logstash.address().to_string();
    let said = refused.err;
    assert!(
        said.contains("`nobody`") && said.contains(&known) && said.contains("logstash"),
        "{said}"
    );
    assert_eq!(ask(&setup, "hold", &known).code, Some(0));
    let refused = ask(&setup, "resume", "logstash");
    let said = format!("stashgate: `logstash` is not held; held: {known}\n");
    assert_eq!((refused.code, refused.err), (Some(1), said));
}
