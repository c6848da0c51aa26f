//! A script, run by its hash. A Redis that has forgotten it says so and has done
//! nothing; then it is loaded, and the call is sent again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use deadpool_redis::redis::{Cmd, FromRedisValue, ToRedisArgs, cmd};

use super::nodes::{Conn, Fault};
use crate::metrics;

/// See the module.
#[derive(Debug)]
pub(crate) struct Script {
    /// For the metrics.
    name: &'static str,
    /// What stands before it.
    common: &'static str,
    body: &'static str,
    /// As Redis calls it, once a server was asked.
    hash: Mutex<Option<String>>,
}

impl Script {
    /// The script `body`, with `common` before it.
    pub(crate) const fn new(name: &'static str, common: &'static str, body: &'static str) -> Self {
        Self {
            name,
            common,
            body,
            hash: Mutex::new(None),
        }
    }

    /// Runs it with `keys` and `args`.
    pub(crate) async fn run<T: FromRedisValue>(
        &'static self,
        conn: &mut Conn,
        keys: &[&str],
        args: impl ToRedisArgs,
    ) -> Result<T, Fault> {
        let begun = Instant::now();
        let answer = self.run_known(conn, keys, &args).await;
        metrics::redis_took(self.name, begun.elapsed());
        answer
    }

    async fn run_known<T: FromRedisValue>(
        &'static self,
        conn: &mut Conn,
        keys: &[&str],
        args: &impl ToRedisArgs,
    ) -> Result<T, Fault> {
        let hash = match self.known() {
            Some(hash) => hash,
            None => self.load(conn).await?,
        };
        match conn.call(&call(&hash, keys, args)).await {
            Err(Fault::NoScript(_)) => {
                let hash = self.load(conn).await?;
                conn.call(&call(&hash, keys, args)).await
            }
            answered => answered,
        }
    }

    fn known(&self) -> Option<String> {
        self.lock().clone()
    }

    async fn load(&self, conn: &mut Conn) -> Result<String, Fault> {
        let body = format!("{}\n{}", self.common, self.body);
        let hash: String = conn.call(cmd("SCRIPT").arg("LOAD").arg(body)).await?;
        *self.lock() = Some(hash.clone());
        Ok(hash)
    }

    fn lock(&self) -> MutexGuard<'_, Option<String>> {
        self.hash.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn call(hash: &str, keys: &[&str], args: &impl ToRedisArgs) -> Cmd {
    let mut call = cmd("EVALSHA");
    call.arg(hash).arg(keys.len()).arg(keys).arg(args);
    call
}
