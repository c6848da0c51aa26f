//! Which server: a single one, the master that Sentinels name, or the node of a
//! cluster that serves a list's slot.
//!
//! [`Nodes::connect`] finds the master of a list and lends a connection to it from
//! that server's pool. Whoever gets a [`Fault`] tells it to [`Nodes::suspect`] and
//! connects again: whatever may have changed is then asked anew.
//!
//! - Single: the address of the configuration.
//! - Sentinel: each Sentinel in turn is asked for the master's address, and the
//!   server there has to say by `ROLE` that it is one.
//! - Cluster: `CLUSTER SLOTS` at any node, those of the configuration first. A list
//!   and all its keys are in one slot, so one connection serves a list.
//!
//! Why not the cluster client of the crate: it sends a command again by itself when
//! the answer was lost, to whoever is master then. A lease or an append doubled
//! behind our back would break the fencing. Here a command is sent once, and what
//! became of it is for the caller to find out.
//!
//! Limits: a pool never holds more than `pool_size` connections to a server, and what
//! [`Nodes::widen`] added. A pool
//! checks an idle connection with a PING before it lends it; that a server froze or
//! changed its part shows at the next command. Waiting is bounded: for a
//! connection `connect_timeout`, for an answer `response_timeout`.
//!
//! What each failure does: see [`fault`].

mod conn;
pub mod facts;
pub mod fault;
mod options;
mod resolve;
mod slot;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use deadpool_redis::redis::{AsyncConnectionConfig, cmd};
use deadpool_redis::{Hook, HookError, Manager, Pool, PoolError, Runtime, Status, TimeoutType};

pub use conn::Conn;
pub use fault::Fault;
pub use options::{Address, BadServer, ServerOptions};

use options::{Login, Place, Settings};

use crate::metrics;

/// The servers of a spool: who is master of what, and a pool for each. Cheap to
/// clone.
#[derive(Clone)]
pub struct Nodes(Arc<Inner>);

struct Inner {
    options: ServerOptions,
    settings: Settings,
    known: Mutex<Known>,
    /// How often somebody was asked who is master: each time another one first.
    asked: AtomicUsize,
    /// Most connections of a pool.
    pool_size: AtomicUsize,
}

/// What was found out, and the pools.
#[derive(Default)]
struct Known {
    masters: Masters,
    pools: HashMap<Address, Pool>,
    /// The same for the Sentinels, who have a password of their own.
    sentinels: HashMap<Address, Pool>,
}

/// Who is master, as far as it is known.
#[derive(Default)]
struct Masters {
    /// Of everything, as the Sentinels say.
    only: Option<Address>,
    /// By slot, in a cluster; empty: to be asked.
    slots: Vec<Option<Address>>,
}

impl std::fmt::Debug for Nodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Nodes")
            .field(&self.0.settings.place)
            .finish()
    }
}

impl Nodes {
    /// Reads the settings and the TLS files; connects to nothing yet.
    pub fn new(options: &ServerOptions) -> Result<Self, BadServer> {
        Ok(Self(Arc::new(Inner {
            settings: Settings::read(options)?,
            options: options.clone(),
            known: Mutex::default(),
            asked: AtomicUsize::new(0),
            pool_size: AtomicUsize::new(options.pool_size),
        })))
    }

    /// Lets each pool have so many connections more, for those who keep one.
    pub fn widen(&self, connections: usize) {
        let known = self.known();
        let size = self.0.pool_size.fetch_add(connections, Relaxed) + connections;
        known.pools.values().for_each(|pool| pool.resize(size));
    }

    /// A connection to the master that serves `list`. Never [`Fault::Lost`]: nothing
    /// of the caller's was sent yet. Returns within a few timeouts.
    pub async fn connect(&self, list: &str) -> Result<Conn, Fault> {
        let address = self.master_of(list).await?;
        self.connect_to(&address).await
    }

    /// Tells what went wrong with `list`; the next [`Self::connect`] asks anew who
    /// is master where that may help.
    pub fn suspect(&self, list: &str, fault: &Fault) {
        if matches!(
            fault,
            Fault::Full(_) | Fault::NoScript(_) | Fault::Refused(_)
        ) {
            return;
        }
        self.known().masters.forget(slot::of(list));
    }

    /// How the pool of each server that was connected to is used.
    pub fn pools(&self) -> Vec<(Address, Status)> {
        let known = self.known();
        let pools = known.pools.iter();
        pools
            .map(|(at, pool)| (at.clone(), pool.status()))
            .collect()
    }

    /// Whether the servers are a cluster, in which lists spread over masters.
    pub fn is_cluster(&self) -> bool {
        matches!(self.0.settings.place, Place::Cluster(_))
    }

    async fn master_of(&self, list: &str) -> Result<Address, Fault> {
        let slot = slot::of(list);
        if let Some(address) = self.known().masters.get(slot) {
            return Ok(address);
        }
        match &self.0.settings.place {
            Place::Single(address) => Ok(address.clone()),
            Place::Sentinel { sentinels, master } => {
                let address = self.ask_sentinels(sentinels, master).await?;
                self.known().found(Masters {
                    only: Some(address.clone()),
                    slots: Vec::new(),
                });
                Ok(address)
            }
            Place::Cluster(seeds) => {
                let slots = self.ask_cluster(seeds).await?;
                let mut known = self.known();
                known.found(Masters { only: None, slots });
                let master = known.masters.get(slot);
                master.ok_or_else(|| Fault::NotNow(format!("nobody serves slot {slot}")))
            }
        }
    }

    async fn connect_to(&self, address: &Address) -> Result<Conn, Fault> {
        let pool = self.pool(address, false)?;
        self.lend(&pool, address).await
    }

    async fn connect_to_sentinel(&self, address: &Address) -> Result<Conn, Fault> {
        let pool = self.pool(address, true)?;
        self.lend(&pool, address).await
    }

    async fn lend(&self, pool: &Pool, address: &Address) -> Result<Conn, Fault> {
        let begun = Instant::now();
        let lent = pool.get().await;
        metrics::redis_lend_took(begun.elapsed());
        let conn = match lent {
            Ok(connection) => Conn::new(connection, pool, address).await,
            Err(error) => Err(not_lent(&error)),
        };
        conn.map_err(|fault| {
            if fault.spoils_connection() {
                empty(pool);
            }
            fault.at(address)
        })
    }

    fn pool(&self, address: &Address, is_sentinel: bool) -> Result<Pool, Fault> {
        let mut known = self.known();
        let settings = &self.0.settings;
        let (pools, login) = match is_sentinel {
            true => (&mut known.sentinels, &settings.sentinel_login),
            false => (&mut known.pools, &settings.login),
        };
        if let Some(pool) = pools.get(address) {
            return Ok(pool.clone());
        }
        let pool = self.new_pool(address, login.clone())?;
        pools.insert(address.clone(), pool.clone());
        Ok(pool)
    }

    fn new_pool(&self, address: &Address, login: Login) -> Result<Pool, Fault> {
        let options = &self.0.options;
        let patience = Some(options.connect_timeout);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(patience)
            .set_response_timeout(Some(options.response_timeout));
        let manager = Manager::new_with_config(self.0.settings.info(address), config)
            .map_err(|error| Fault::Refused(error.to_string()))?;
        let pool = Pool::builder(manager)
            .max_size(self.0.pool_size.load(Relaxed))
            .wait_timeout(patience)
            .create_timeout(patience.map(|patience| patience * 2))
            .recycle_timeout(patience)
            .post_create(log_in(login))
            .runtime(Runtime::Tokio1);
        Ok(pool
            .build()
            .expect("invariant: a pool with timeouts has a runtime"))
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// Servers that are no master any more need no pool: in a cluster whose nodes
    /// come and go there would be ever more.
    fn found(&mut self, masters: Masters) {
        let names: HashSet<&Address> = masters
            .slots
            .iter()
            .chain([&masters.only])
            .flatten()
            .collect();
        self.pools.retain(|address, _| names.contains(address));
        self.masters = masters;
    }
}

impl Masters {
    fn get(&self, slot: u16) -> Option<Address> {
        let of_slot = self.slots.get(usize::from(slot)).cloned().flatten();
        of_slot.or_else(|| self.only.clone())
    }

    fn forget(&mut self, slot: u16) {
        self.only = None;
        if let Some(of_slot) = self.slots.get_mut(usize::from(slot)) {
            *of_slot = None;
        }
    }
}

/// Closes the connections that nobody has: to a server that hangs, each would cost
/// a timeout before it is found out.
fn empty(pool: &Pool) {
    pool.retain(|_, _| false);
}

/// Logs in on each new connection, and keeps the server's words if it refuses.
fn log_in(login: Login) -> Hook {
    let login = Arc::new(login);
    Hook::async_fn(move |connection, _| {
        let login = Arc::clone(&login);
        Box::pin(async move {
            if let Some(password) = &login.password {
                let mut auth = cmd("AUTH");
                auth.arg(&login.user).arg(password);
                auth.exec_async(connection)
                    .await
                    .map_err(HookError::Backend)?;
            }
            if login.db != 0 {
                let mut select = cmd("SELECT");
                select.arg(login.db);
                select
                    .exec_async(connection)
                    .await
                    .map_err(HookError::Backend)?;
            }
            Ok(())
        })
    })
}

fn not_lent(error: &PoolError) -> Fault {
    match error {
        PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
            Fault::connecting(error)
        }
        PoolError::Timeout(TimeoutType::Wait) => {
            Fault::Unreachable("all connections of the pool are in use".to_owned())
        }
        other => Fault::Unreachable(other.to_string()),
    }
}
