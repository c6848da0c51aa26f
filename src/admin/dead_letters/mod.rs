//! Dead letters over HTTP: the workbench, one path an operation.
//!
//! | path | asked for | answer |
//! | --- | --- | --- |
//! | `GET /api/v1/dead-letters` | filter, `after`, `limit` | a page, newest first |
//! | `GET …/groups` | | `{"groups": […]}`, most letters first |
//! | `GET …/show` | `id`, `queue` | `{"letters": […]}`, whole |
//! | `POST …/repair`, `…/return`, `…/discard` | a [`Question`] | a [`Report`] |
//! | `POST …/export` | `filter`, `after`, `limit` | letters, their handles |
//! | `POST …/take` | `handles` | `{"taken": n}` |
//! | `POST …/import` | letters, one a line | a [`Report`] |
//!
//! What goes over many letters is asked for again with the `next` of the answer before,
//! until there is none: a call is bounded in letters, in bytes and in time, and only so
//! many are worked on at once. An event is an attacker's text: it leaves only as JSON
//! data that no browser takes for a page.
//!
//! [`Question`]: crate::dead_letter::workbench::Question
//! [`Report`]: crate::dead_letter::workbench::Report

mod carry;
mod change;
mod input;
mod look;
mod names;
mod refusal;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Admin;
use crate::dead_letter::workbench::{WorkError, Workbench};
use refusal::Refusal;

/// Calls that are worked on at once; what one has in memory is bounded.
const AT_ONCE: usize = 4;
/// How long a call waits until it is worked on.
const QUEUE_PATIENCE: Duration = Duration::from_secs(10);
/// How long one may take. Only an expression that is slow takes as long.
const WORK_PATIENCE: Duration = Duration::from_secs(30);

/// The way to the workbench.
pub struct Desk {
    /// `None` while the gateway is starting.
    workbench: Box<dyn Fn() -> Option<Workbench> + Send + Sync>,
    turns: Arc<Semaphore>,
}

impl Desk {
    /// `workbench` gives it, as soon as it is there.
    pub fn new(workbench: impl Fn() -> Option<Workbench> + Send + Sync + 'static) -> Self {
        Self {
            workbench: Box::new(workbench),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
        }
    }

    /// Waits for a turn.
    async fn turn(&self) -> Result<Turn, Refusal> {
        let turn = timeout(QUEUE_PATIENCE, self.turns.clone().acquire_owned());
        let turn = turn.await.map_err(|_| Refusal::busy())?;
        Ok(Turn {
            workbench: (self.workbench)().ok_or_else(Refusal::starting)?,
            _turn: turn.map_err(|_| Refusal::starting())?,
        })
    }
}

/// Somebody's turn at the workbench.
struct Turn {
    workbench: Workbench,
    _turn: OwnedSemaphorePermit,
}

impl Turn {
    /// Looks at something, as long as the caller waits for it.
    async fn look<T>(&self, work: impl Future<Output = Worked<T>>) -> Result<T, Refusal> {
        let done = timeout(WORK_PATIENCE, work).await;
        Ok(done.map_err(|_| Refusal::too_slow(WORK_PATIENCE))??)
    }

    /// Changes something; goes on to the end when the caller is gone, since what is
    /// broken off between two steps is done once more.
    async fn change<T, W, F>(self, work: W) -> Result<T, Refusal>
    where
        T: Send + 'static,
        W: FnOnce(Workbench) -> F,
        F: Future<Output = Worked<T>> + Send + 'static,
    {
        let work = work(self.workbench.clone());
        let done = tokio::spawn(async move { self.look(work).await }).await;
        done.map_err(|_| Refusal::broken())?
    }
}

type Worked<T> = Result<T, WorkError>;

pub(super) fn routes() -> Router<Arc<Admin>> {
    let routes = Router::new()
        .route("/", get(look::list))
        .route("/groups", get(look::groups))
        .route("/show", get(look::show))
        .route("/repair", post(change::repair))
        .route("/return", post(change::return_))
        .route("/discard", post(change::discard))
        .route("/export", post(carry::export))
        .route("/take", post(carry::take))
        .route("/import", post(carry::import));
    Router::new().nest("/api/v1/dead-letters", routes)
}

/// An answer that is JSON already.
fn json_bytes(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}
