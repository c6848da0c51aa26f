//! One connection to one server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::{
    Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, Value, cmd,
};
use deadpool_redis::{Connection, Pool};

use super::empty;
use super::fault::{self, Fault};
use super::options::Address;

/// A connection to the master of a list, on loan from a pool.
///
/// Clones share the one socket. Commands are carried out in the order in which
/// their futures were first polled, so that several can be in flight. A connection
/// whose answer was lost never goes back into the pool. A dropped future does not
/// take back its command.
#[derive(Clone)]
pub struct Conn {
    wire: MultiplexedConnection,
    loan: Arc<Loan>,
}

/// What all clones share; the last one gives it back.
struct Loan {
    connection: Option<Connection>,
    pool: Pool,
    lost: AtomicBool,
    id: u64,
    address: Address,
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.lost.load(Relaxed)
            && let Some(connection) = self.connection.take()
        {
            drop(Connection::take(connection));
        }
    }
}

impl std::fmt::Debug for Conn {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Conn({}, {})", self.loan.address, self.loan.id)
    }
}

impl Conn {
    /// Asks for the connection's id, which ends it from elsewhere.
    pub(super) async fn new(
        connection: Connection,
        pool: &Pool,
        address: &Address,
    ) -> Result<Self, Fault> {
        let mut wire = MultiplexedConnection::clone(&connection);
        let id = cmd("CLIENT").arg("ID").query_async(&mut wire).await;
        let loan = Loan {
            connection: Some(connection),
            pool: pool.clone(),
            lost: AtomicBool::new(id.is_err()),
            id: id.map_err(|error| Fault::connecting(&error))?,
            address: address.clone(),
        };
        Ok(Self {
            wire,
            loan: Arc::new(loan),
        })
    }

    /// What the server calls this connection: for `CLIENT KILL ID`. Never used
    /// again by the same server process.
    pub fn id(&self) -> u64 {
        self.loan.id
    }

    /// The server's address.
    pub fn address(&self) -> &Address {
        &self.loan.address
    }

    /// Whether an answer was lost on it, here or in a clone.
    pub fn is_lost(&self) -> bool {
        self.loan.lost.load(Relaxed)
    }

    /// Sends one command.
    pub async fn call<T: FromRedisValue>(&mut self, command: &Cmd) -> Result<T, Fault> {
        let answer = command.query_async(&mut self.wire).await;
        answer.map_err(|error| self.note(Fault::sent(&error)))
    }

    /// Sends a pipeline, or a transaction (`atomic()`), in one piece. A transaction
    /// is done wholly or not at all, but for [`Fault::Refused`] (see
    /// [the table](super::fault)); a plain pipeline of which only a part was done is
    /// [`Fault::Lost`].
    pub async fn run<T: FromRedisValue>(&mut self, pipeline: &Pipeline) -> Result<T, Fault> {
        let mut judge = Judge {
            wire: &mut self.wire,
            fault: None,
        };
        let answer = pipeline.query_async(&mut judge).await;
        let fault = judge.fault.take();
        answer.map_err(|error| self.note(fault.unwrap_or_else(|| Fault::sent(&error))))
    }

    /// Sends a plain pipeline whose commands stand each for itself: an answer for
    /// each, in order.
    pub async fn each(&mut self, pipeline: &Pipeline) -> Result<Vec<Result<Value, Fault>>, Fault> {
        let sent = self.wire.req_packed_commands(pipeline, 0, pipeline.len());
        let answers = sent.await.map_err(|error| self.note(Fault::sent(&error)))?;
        let each = answers.into_iter().map(|answer| match answer {
            Value::ServerError(error) => Err(Fault::of(&error)),
            value => Ok(value),
        });
        Ok(each.collect())
    }

    fn note(&self, fault: Fault) -> Fault {
        if fault.spoils_connection() {
            self.loan.lost.store(true, Relaxed);
            empty(&self.loan.pool);
        }
        fault
    }
}

/// Stands between a pipeline and its connection, and reads all answers before the
/// crate sums them up: it would show the first error only, and takes the error of a
/// refused MULTI for an impossible one.
struct Judge<'c> {
    wire: &'c mut MultiplexedConnection,
    fault: Option<Fault>,
}

impl Judge<'_> {
    async fn answers(
        &mut self,
        pipeline: &Pipeline,
        count: usize,
    ) -> Result<Vec<Value>, RedisError> {
        let transaction = pipeline.is_transaction();
        // MULTI and EXEC are answered too.
        let count = if transaction {
            pipeline.len() + 2
        } else {
            count
        };
        let answers = self.wire.req_packed_commands(pipeline, 0, count).await?;
        self.fault = match transaction {
            true => fault::in_transaction(&answers),
            false => fault::in_pipeline(&answers),
        };
        if self.fault.is_some() {
            return Err((ErrorKind::Client, "judged").into());
        }
        let last = if transaction { count - 1 } else { 0 };
        Ok(answers.into_iter().skip(last).collect())
    }
}

impl ConnectionLike for Judge<'_> {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        self.wire.req_packed_command(command)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        _offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.answers(pipeline, count))
    }

    fn get_db(&self) -> i64 {
        self.wire.get_db()
    }
}
