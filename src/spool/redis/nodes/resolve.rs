//! Asking Sentinels and cluster nodes who is master.
//!
//! The first one that answers is believed, but each time another one is the first to
//! be asked: one that is cut off from the others may know only the past, and would
//! lead to the same dead end for ever.

use std::sync::atomic::Ordering::Relaxed;

use deadpool_redis::redis::{Value, cmd, from_redis_value};

use super::options::Address;
use super::slot::SLOTS;
use super::{Fault, Nodes};

impl Nodes {
    /// The master that the first Sentinel names whose word holds.
    pub(super) async fn ask_sentinels(
        &self,
        sentinels: &[Address],
        master: &str,
    ) -> Result<Address, Fault> {
        let mut fault = Fault::Unreachable("no Sentinel is configured".to_owned());
        for sentinel in self.in_turn(sentinels.iter().collect()) {
            match self.ask_sentinel(sentinel, master).await {
                Ok(address) => return Ok(address),
                Err(next) => fault = worse(fault, next),
            }
        }
        Err(fault)
    }

    async fn ask_sentinel(&self, sentinel: &Address, master: &str) -> Result<Address, Fault> {
        let mut conn = self.connect_to_sentinel(sentinel).await?;
        let mut question = cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
        let named: Option<(String, u16)> = conn.call(&question).await.map_err(unsent)?;
        let Some((host, port)) = named else {
            let unknown = format!("the Sentinel {sentinel} knows no master {master:?}");
            return Err(Fault::Refused(unknown));
        };
        let address = Address { host, port };
        self.check_role(&address).await?;
        Ok(address)
    }

    /// A Sentinel may still name the old master: that one has to call itself so.
    async fn check_role(&self, address: &Address) -> Result<(), Fault> {
        let mut conn = self.connect_to(address).await?;
        let role: Vec<Value> = conn.call(&cmd("ROLE")).await.map_err(unsent)?;
        let role = role.into_iter().next().and_then(text).unwrap_or_default();
        if role == "master" {
            return Ok(());
        }
        let is = format!("{address} was named as the master, but calls itself {role}");
        Err(Fault::NotNow(is))
    }

    /// The master of each slot, by the first node that answers.
    pub(super) async fn ask_cluster(
        &self,
        seeds: &[Address],
    ) -> Result<Vec<Option<Address>>, Fault> {
        let mut fault = Fault::Unreachable("no node is configured".to_owned());
        let met = self.known().pools.keys().cloned().collect::<Vec<_>>();
        let met = met.iter().filter(|node| !seeds.contains(node));
        for node in self.in_turn(seeds.iter().chain(met).collect()) {
            match self.ask_node(node).await {
                Ok(slots) => return Ok(slots),
                Err(next) => fault = worse(fault, next),
            }
        }
        Err(fault)
    }

    /// The same with another one first.
    fn in_turn<'a>(&self, mut those: Vec<&'a Address>) -> Vec<&'a Address> {
        let turn = self.0.asked.fetch_add(1, Relaxed) % those.len().max(1);
        those.rotate_left(turn);
        those
    }

    async fn ask_node(&self, node: &Address) -> Result<Vec<Option<Address>>, Fault> {
        let mut conn = self.connect_to(node).await?;
        let mut question = cmd("CLUSTER");
        question.arg("SLOTS");
        let ranges: Vec<Value> = conn.call(&question).await.map_err(unsent)?;
        let mut slots = vec![None; usize::from(SLOTS)];
        for range in ranges {
            let (first, last, master) = range_of(range, node)?;
            for slot in first..=last.min(SLOTS - 1) {
                slots[usize::from(slot)] = Some(master.clone());
            }
        }
        Ok(slots)
    }
}

/// Of two that failed, the fault that a person has to see to.
fn worse(one: Fault, other: Fault) -> Fault {
    match one {
        Fault::Refused(_) => one,
        _ => other,
    }
}

/// Nothing of the caller's was sent, so nothing of it can be lost.
fn unsent(fault: Fault) -> Fault {
    match fault {
        Fault::Lost(words) => Fault::Unreachable(words),
        other => other,
    }
}

/// First slot, last slot, `[host, port, ..]` of the master, replicas. A node that
/// does not know its own host gives none: it is the one that was asked.
fn range_of(range: Value, asked: &Address) -> Result<(u16, u16, Address), Fault> {
    let strange = |range: &Value| {
        let words = format!("CLUSTER SLOTS was answered with {range:?}");
        Fault::NotNow(words)
    };
    let Value::Array(parts) = &range else {
        return Err(strange(&range));
    };
    let [first, last, Value::Array(master), ..] = parts.as_slice() else {
        return Err(strange(&range));
    };
    let [host, port, ..] = master.as_slice() else {
        return Err(strange(&range));
    };
    let number = |value: &Value| from_redis_value::<u16>(value.clone());
    let (Ok(first), Ok(last), Ok(port)) = (number(first), number(last), number(port)) else {
        return Err(strange(&range));
    };
    let host = text(host.clone()).filter(|host| !host.is_empty() && host != "?");
    let host = host.unwrap_or_else(|| asked.host.clone());
    Ok((first, last, Address { host, port }))
}

fn text(value: Value) -> Option<String> {
    from_redis_value::<Option<String>>(value).ok().flatten()
}
