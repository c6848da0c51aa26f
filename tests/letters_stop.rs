//! A gateway that is told to stop in the middle of a return, with its letters in a file and
//! in Redis: the command waits for the next one and goes on, and nothing is lost.

#[path = "support/command.rs"]
mod command;
#[path = "support/desk.rs"]
mod desk;
#[path = "support/gateway.rs"]
mod gateway;
#[path = "support/http.rs"]
mod http;
#[path = "support/letters.rs"]
mod letters;
#[path = "support/logstash.rs"]
#[allow(dead_code, reason = "each test binary uses its own part")]
mod logstash;
mod redis_support;
#[path = "support/returning.rs"]
mod returning;

use desk::start;
use gateway::{Setup, eventually};
use letters::{held, refuse, refused};
use logstash::Logstash;
use redis_support::RedisServer;
use returning::{Returning, returned};

const LETTERS: u64 = 8000;

/// Stops the gateway in the middle of a return, and starts it again.
async fn stop_in_the_middle(spool: &str) {
    let logstash = Logstash::start().await;
    let setup = Setup::new(logstash.address(), spool);
    let gateway = start(&setup).await;
    let events: Vec<_> = (0..LETTERS).map(refused).collect();
    refuse(&setup, &events).await;
    let returning = Returning::start(&setup);
    returning.is_half_way(&setup).await;
    assert_eq!(gateway.terminate().await, Some(0), "{}", setup.log());
    let _gateway = start(&setup).await;
    returning.succeeds().await;
    logstash.sink().wait_for(0..LETTERS).await;
    assert_eq!((logstash.sink().faults(), held(&setup)), (0, 0));
    eventually("the books show it", || returned(&setup) == LETTERS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_goes_on_after_its_gateway_was_stopped() {
    stop_in_the_middle("").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_return_of_letters_in_redis_goes_on_after_its_gateway_was_stopped() {
    let server = RedisServer::start();
    let url = server.url();
    stop_in_the_middle(&format!(
        "[spool]\nkind = \"redis\"\n[spool.redis]\nurl = \"{url}\"\n"
    ))
    .await;
}
