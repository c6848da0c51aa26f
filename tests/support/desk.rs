//! A gateway with letters and a Logstash, and `stashgate dead-letters` upon it.

#![allow(dead_code)]

use serde_json::Value;

use super::command::{Ended, run, stashgate};
use super::gateway::{Gateway, Setup, eventually};
use super::http;
use super::letters::{refuse, refused};
use super::logstash::Logstash;

/// A gateway with a Logstash behind it.
pub(crate) struct Stage {
    pub(crate) logstash: Logstash,
    pub(crate) setup: Setup,
    pub(crate) gateway: Gateway,
}

impl Stage {
    pub(crate) async fn start() -> Self {
        let logstash = Logstash::start().await;
        let setup = Setup::new(logstash.address(), "");
        let gateway = start(&setup).await;
        Self {
            logstash,
            setup,
            gateway,
        }
    }

    /// One with refused events of these numbers.
    pub(crate) async fn with(numbers: std::ops::Range<u64>) -> Self {
        let stage = Self::start().await;
        let events: Vec<_> = numbers.map(refused).collect();
        refuse(&stage.setup, &events).await;
        stage
    }

    /// `stashgate dead-letters ARGS`.
    pub(crate) fn letters(&self, args: &[&str]) -> Ended {
        letters_of(&self.setup, args)
    }

    /// The lines of JSON that it prints.
    pub(crate) fn json(&self, args: &[&str]) -> Vec<Value> {
        let ended = self.letters(&[args, &["--json"]].concat());
        let lines = ended.out.lines();
        lines
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect()
    }

    pub(crate) async fn books(&self) -> Value {
        let status = self.setup.status().await;
        let places = status["dead_letters"]["places"].as_array().cloned();
        let mut places = places.expect("places").into_iter();
        places
            .find(|place| place["place"] == "logstash")
            .expect("one")
    }
}

pub(crate) async fn start(setup: &Setup) -> Gateway {
    let gateway = setup.start_and_wait().await;
    eventually("a start", || {
        http::get(setup.admin, "/readyz").status == 200
    })
    .await;
    gateway
}

pub(crate) fn letters_of(setup: &Setup, args: &[&str]) -> Ended {
    let url = format!("http://{}", setup.admin);
    run(&mut stashgate(
        &[&["dead-letters"], args, &["--url", &url]].concat(),
    ))
}
