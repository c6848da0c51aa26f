//! `stashgate dead-letters return --all`, under way while something happens to its gateway.

#![allow(dead_code)]

use std::process::{Child, Stdio};

use super::command::stashgate;
use super::gateway::{Setup, eventually};
use super::http::get;
use serde_json::Value;

/// The command, until it ends.
pub(crate) struct Returning(Child);

impl Returning {
    pub(crate) fn start(setup: &Setup) -> Self {
        let url = format!("http://{}", setup.admin);
        let command = stashgate(&["dead-letters", "return", "--all", "--url", &url])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        Self(command.expect("starts"))
    }

    /// Waits until it has returned some letters.
    pub(crate) async fn is_half_way(&self, setup: &Setup) {
        eventually("some are returned", || returned(setup) > 0).await;
    }

    /// It has done all. What it said tells whether it had to wait: on a machine that is
    /// busy with other things it may have been over before anything happened.
    pub(crate) async fn succeeds(self) {
        let ended = tokio::task::spawn_blocking(move || self.0.wait_with_output()).await;
        let ended = ended.expect("waited").expect("ended");
        let said = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{said}");
        eprintln!("{said}");
    }
}

/// How many letters from Logstash were returned, by the books; they leave nothing over.
pub(crate) fn returned(setup: &Setup) -> u64 {
    let answer = get(setup.admin, "/api/v1/status");
    let status: Value = serde_json::from_str(&answer.body).expect("JSON");
    let places = status["dead_letters"]["places"].as_array();
    let mut places = places.into_iter().flatten();
    let place = places.find(|place| place["place"] == "logstash");
    place.map_or(0, |place| {
        assert_eq!(place["unaccounted"], 0, "{place}");
        place["returned"].as_u64().expect("a number")
    })
}
