//! Settings that are well written and do not fit together. Each finding is the
//! setting's path and a sentence that says what to do.

use std::net::SocketAddr;

use toml::{Table, Value};

use super::{Config, Confirm, Limits, Output, Protocol, check_redis};
use crate::batch::QueueName;
use crate::record;
use crate::tls;

pub(super) type Finding = (String, String);

/// The most connections to one address that make sense: each confirmation by
/// close costs a local port for a minute.
const MAX_CONNECTIONS: usize = 256;

impl Config {
    /// Whether nothing is wrong with it, as a start requires.
    pub(crate) fn fits_together(&self) -> bool {
        check(self).is_empty()
    }
}

/// Everything that does not fit.
pub(super) fn check(config: &Config) -> Vec<Finding> {
    let mut found = Vec::new();
    check_addresses(config, &mut found);
    check_admin(config, &mut found);
    check_listeners(config, &mut found);
    check_limits(&config.limits, &mut found);
    check_spool(config, &mut found);
    check_redis::check(config, &mut found);
    check_cors(&config.receivers.http.cors_origins, &mut found);
    if config.queues.is_empty() {
        let what =
            "there is no queue; leave the section out for the default, or add [queues.logstash]";
        found.push(("queues".into(), what.into()));
    }
    for (name, queue) in &config.queues {
        check_output(name, &queue.output, &mut found);
    }
    found
}

/// Who names hosts has to say what they speak: a guess would be found out by
/// the events.
pub(super) fn hosts_without_protocol(merged: &Table) -> Vec<Finding> {
    let Some(Value::Table(queues)) = merged.get("queues") else {
        return Vec::new();
    };
    let guessed = queues.iter().filter(|(_, queue)| {
        let output = queue.get("output");
        output.is_some_and(|o| o.get("hosts").is_some() && o.get("protocol").is_none())
    });
    guessed
        .map(|(name, _)| {
            let what = "name what the hosts speak, as hosts are given: protocol = \"lumberjack\" (Logstash's beats input), \"http\" (its http input) or \"json_lines\" (its tcp input with codec json_lines)";
            (format!("queues.{name}.output.protocol"), what.to_owned())
        })
        .collect()
}

fn check_addresses(config: &Config, found: &mut Vec<Finding>) {
    let addresses = config.listen_addresses();
    for (i, (path, address)) in addresses.iter().enumerate() {
        let taken = addresses[..i]
            .iter()
            .find(|(_, other)| clash(*address, *other));
        if let Some((other_path, other)) = taken {
            let what = format!(
                "{address} clashes with {other_path} = \"{other}\"; give one of them another port"
            );
            found.push((path.clone(), what));
        }
    }
}

fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let any = a.ip().is_unspecified() || b.ip().is_unspecified();
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || any)
}

fn check_admin(config: &Config, found: &mut Vec<Finding>) {
    let admin = &config.admin;
    let token = admin.token.as_ref().map(|token| token.reveal());
    let what = match token {
        None if !admin.listen.ip().is_loopback() => format!(
            "a token is needed, as admin.listen = \"{}\" is not loopback; set it by {}",
            admin.listen, "STASHGATE__ADMIN__TOKEN"
        ),
        Some(token) if token.len() < 16 => {
            "the token is shorter than 16 characters; make one by: openssl rand -hex 24".into()
        }
        Some(token) if !token.bytes().all(|b| b.is_ascii_graphic()) => {
            "the token may hold only printable ASCII without blanks".into()
        }
        _ => return,
    };
    found.push(("admin.token".into(), what));
}

fn check_listeners(config: &Config, found: &mut Vec<Finding>) {
    for (name, tcp) in &config.receivers.tcp {
        if name.parse::<QueueName>().is_err() {
            let what = "a listener's name has 1 to 64 of a-z, 0-9, '_' and '-'";
            found.push((format!("receivers.tcp.{name}"), what.into()));
        }
        if tcp.enabled {
            check_queue(
                config,
                &tcp.queue,
                format!("receivers.tcp.{name}.queue"),
                found,
            );
        }
    }
    let lumberjack = &config.receivers.lumberjack;
    if lumberjack.enabled {
        let path = "receivers.lumberjack.queue".to_owned();
        check_queue(config, &lumberjack.queue, path, found);
    }
}

fn check_queue(config: &Config, queue: &QueueName, path: String, found: &mut Vec<Finding>) {
    if config.queues.contains_key(queue) {
        return;
    }
    let known: Vec<_> = config.queues.keys().map(QueueName::as_str).collect();
    let what = format!(
        "there is no queue `{queue}`; name one of: {}; or add [queues.{queue}]",
        known.join(", ")
    );
    found.push((path, what));
}

fn check_limits(limits: &Limits, found: &mut Vec<Finding>) {
    let mut say = |key: &str, what: String| found.push((format!("limits.{key}"), what));
    let (event, batch) = (limits.max_event_bytes, limits.max_batch_bytes);
    if event.0 == 0 || event > batch {
        say(
            "max_event_bytes",
            "it is at least 1 and at most limits.max_batch_bytes: an event travels in a batch"
                .into(),
        );
    }
    if batch.0 > record::MAX_PAYLOAD_LEN as u64 {
        let most = record::MAX_PAYLOAD_LEN >> 20;
        say(
            "max_batch_bytes",
            format!("it is at most {most}MiB: a record holds no more"),
        );
    }
    if !(1..=record::MAX_REJECTED).contains(&limits.max_batch_events) {
        let most = record::MAX_REJECTED;
        say(
            "max_batch_events",
            format!("it is 1 to {most}: a record holds no more"),
        );
    }
    if limits.max_in_flight_bytes < batch {
        let what = "it is at least limits.max_batch_bytes, or the largest batch never gets room";
        say("max_in_flight_bytes", what.into());
    }
    if limits.max_connections == 0 {
        say(
            "max_connections",
            "it is at least 1; a receiver is switched off by enabled = false".into(),
        );
    }
}

fn check_spool(config: &Config, found: &mut Vec<Finding>) {
    let batch = config.limits.max_batch_bytes;
    let mut bounds = vec![
        ("spool.max_bytes".to_owned(), config.spool.max_bytes),
        (
            "spool.journal.segment_bytes".to_owned(),
            config.spool.journal.segment_bytes,
        ),
    ];
    let queues = config.queues.iter();
    bounds
        .extend(queues.map(|(name, queue)| (format!("queues.{name}.max_bytes"), queue.max_bytes)));
    for (path, _) in bounds.into_iter().filter(|(_, bytes)| *bytes < batch) {
        let what = "it is at least limits.max_batch_bytes, or the largest batch never fits";
        found.push((path, what.into()));
    }
}

fn check_cors(origins: &[String], found: &mut Vec<Finding>) {
    for origin in origins.iter().filter(|o| *o != "*" && !is_origin(o)) {
        let what = format!(
            "{origin:?} is no origin; write \"https://app.example.com\" without a path, or \"*\""
        );
        found.push(("receivers.http.cors_origins".into(), what));
    }
}

/// Whether a browser may send `text` as its `Origin`: it is compared as it
/// stands.
fn is_origin(text: &str) -> bool {
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let authority = host.and_then(|host| host.parse::<hyper::http::uri::Authority>().ok());
    authority.is_some() && !text.contains('@') && !text.bytes().any(|b| b.is_ascii_uppercase())
}

fn check_output(name: &QueueName, output: &Output, found: &mut Vec<Finding>) {
    let mut say =
        |key: &str, what: String| found.push((format!("queues.{name}.output.{key}"), what));
    if output.hosts.is_empty() {
        say(
            "hosts",
            "name at least one Logstash: hosts = [\"logstash.example.com:5000\"]".into(),
        );
    }
    for (key, hosts) in [("hosts", &output.hosts), ("standby", &output.standby)] {
        for host in hosts.iter().filter(|host| split_host(host).is_none()) {
            let what = format!(
                "{host:?} is not HOST:PORT; write \"logstash.example.com:5000\" or \"[::1]:5000\""
            );
            say(key, what);
        }
    }
    for host in output
        .standby
        .iter()
        .filter(|host| output.hosts.contains(host))
    {
        say(
            "standby",
            format!("{host:?} is among `hosts` already; leave it out here"),
        );
    }
    check_tls(output, &mut say);
    for (key, what) in output.http.check() {
        say(key, what.into());
    }
    if !(1..=MAX_CONNECTIONS).contains(&output.connections) {
        say(
            "connections",
            format!("it is 1 to {MAX_CONNECTIONS} for each address"),
        );
    }
}

fn check_tls(output: &Output, say: &mut impl FnMut(&str, String)) {
    let client = match tls::Client::load(&output.tls) {
        Ok(Some(client)) => client,
        Ok(None) => return,
        Err(error) => return say(error.setting(&output.tls), error.to_string()),
    };
    for (host, _) in output.all_hosts().filter_map(|host| split_host(host)) {
        if let Err(error) = client.name_of(host) {
            say(
                "hosts",
                format!("{error}; or name the one it is for: tls.server_name"),
            );
        }
    }
    if output.protocol == Protocol::JsonLines && output.confirm == Confirm::Close {
        let what = "over TLS nobody has shown that a close means that Logstash has everything; \
            use protocol = \"lumberjack\" or \"http\", or confirm = \"written\", which is lossy";
        say("confirm", what.into());
    }
}

/// `host:port` in its parts, without the brackets of an IPv6 address.
pub(crate) fn split_host(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port != 0)?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    match bracketed {
        Some(v6) => v6
            .parse::<std::net::Ipv6Addr>()
            .is_ok()
            .then_some((v6, port)),
        None => {
            let plain = !host.is_empty() && !host.contains([':', '/', '@', ' ', '[', ']']);
            plain.then_some((host, port))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_has_a_port_and_an_ipv6_address_has_brackets() {
        assert_eq!(split_host("a.example:5000"), Some(("a.example", 5000)));
        assert_eq!(split_host("[::1]:5000"), Some(("::1", 5000)));
        let bad = [
            "a",
            "a:",
            ":5000",
            "a:0",
            "a:65536",
            "::1:5000",
            "http://a:5000",
            "[x]:1",
        ];
        for text in bad {
            assert_eq!(split_host(text), None, "{text}");
        }
    }

    #[test]
    fn an_origin_is_what_a_browser_sends() {
        for text in [
            "https://a.example",
            "http://a.example:8080",
            "http://[::1]:80",
        ] {
            assert!(is_origin(text), "{text}");
        }
        let bad = [
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://a.example?x",
            "https://a b.example",
            "https://a.example\u{7f}",
            "https://b\u{fc}cher.example",
            "https://me@a.example",
            "https://A.example",
            "ftp://a.example",
        ];
        for text in bad {
            assert!(!is_origin(text), "{text}");
        }
    }

    #[test]
    fn an_address_clashes_with_the_same_port_of_any_address() {
        let at = |text: &str| text.parse().expect("an address");
        assert!(clash(at("127.0.0.1:7170"), at("0.0.0.0:7170")));
        assert!(!clash(at("127.0.0.1:7170"), at("127.0.0.2:7170")));
        assert!(!clash(at("127.0.0.1:0"), at("127.0.0.1:0")));
    }

    #[test]
    fn the_defaults_fit_together() {
        assert_eq!(check(&Config::default()), []);
    }
}
