//! Settings that work and promise less than they could. Said at start, by
//! `check` and in the status, so that nobody finds out by losing events.

use super::check::split_host;
use super::{Config, Confirm, Output, Protocol};
use crate::spool::journal::Sync;

impl Config {
    /// A sentence for each setting that weakens what the gateway promises.
    pub fn weaknesses(&self) -> Vec<String> {
        let mut found = Vec::new();
        if self.spool.journal.sync == Sync::Os {
            found.push("spool.journal.sync = \"os\": a batch is answered before it is on the disk; a power cut loses what was answered last".to_owned());
        }
        if !self.admin.listen.ip().is_loopback() {
            found.push("admin.listen is not loopback: the token and the status travel unencrypted; put a TLS proxy in front".to_owned());
        }
        for (name, queue) in &self.queues {
            if let Some(weakness) = queue.output.weakness() {
                found.push(format!("queues.{name}.output: {weakness}"));
            }
        }
        found
    }
}

impl Output {
    fn weakness(&self) -> Option<String> {
        match (self.protocol, self.confirm) {
            (Protocol::JsonLines, Confirm::Written) => Some(
                "confirm = \"written\" takes bytes in Logstash's kernel for delivered; each stop of Logstash loses events".into(),
            ),
            (Protocol::JsonLines, Confirm::Close) if !self.direct => {
                let far: Vec<_> = self.hosts.iter().filter(|h| !is_loopback(h)).cloned().collect();
                (!far.is_empty()).then(|| format!(
                    "confirm = \"close\" holds only where one address is one Logstash; if nothing (load balancer, Service, NAT, docker-proxy) stands before {}, say so: direct = true",
                    far.join(", ")
                ))
            }
            (Protocol::JsonLines, Confirm::Close) => None,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let name = split_host(host).map_or(host, |(name, _)| name);
    let ip = name.parse::<std::net::IpAddr>();
    name == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_weakness() {
        assert_eq!(Config::default().weaknesses(), Vec::<String>::new());
    }

    #[test]
    fn each_weak_setting_is_named() {
        let mut config = Config::default();
        config.spool.journal.sync = Sync::Os;
        let output = &mut config
            .queues
            .values_mut()
            .next()
            .expect("the default queue")
            .output;
        output.hosts = vec!["10.0.0.7:5000".into(), "[::1]:5000".into()];
        let found = config.weaknesses().join("\n");
        assert!(
            found.contains("sync = \"os\"") && found.contains("before 10.0.0.7:5000,"),
            "{found}"
        );

        let output = &mut config
            .queues
            .values_mut()
            .next()
            .expect("the default queue")
            .output;
        output.direct = true;
        assert!(!config.weaknesses().join("\n").contains("direct"));
    }
}
