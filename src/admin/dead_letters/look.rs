//! `GET`: lists, groups, whole letters.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::input;
use super::json_bytes;
use super::refusal::Refusal;
use crate::admin::Admin;
use crate::dead_letter::workbench::{Cursor, Filter};

/// Letters of a page if nothing is said.
const PAGE: usize = 50;

#[derive(Debug, Deserialize)]
struct Listing {
    filter: Filter,
    #[serde(default)]
    after: Option<Cursor>,
    #[serde(default)]
    limit: Option<usize>,
}

pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = input::query(request, &["after", "limit"]).await?;
    let asked: Listing = input::read(asked)?;
    let limit = asked.limit.unwrap_or(PAGE);
    let turn = admin.dead_letters.turn().await?;
    let page = turn.workbench.list(&asked.filter, asked.after, limit);
    Ok(Json(turn.look(page).await?).into_response())
}

pub(super) async fn groups(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Response, Refusal> {
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        return Err(Refusal::bad("groups take no parameters"));
    }
    let turn = admin.dead_letters.turn().await?;
    let groups = turn.look(turn.workbench.groups()).await?;
    Ok(Json(json!({ "groups": groups })).into_response())
}

pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = input::query(request, &[]).await?;
    let asked: Listing = input::read(asked)?;
    let others = Filter {
        id: None,
        queue: None,
        ..asked.filter.clone()
    };
    let Some(id) = asked.filter.id.filter(|_| others == Filter::default()) else {
        return Err(Refusal::bad("give the `id`, and the `queue` if you like"));
    };
    let queue = asked.filter.queue;
    let turn = admin.dead_letters.turn().await?;
    let letters = turn.look(turn.workbench.show(queue.as_ref(), &id)).await?;
    if letters.is_empty() {
        return Err(Refusal::new(
            StatusCode::NOT_FOUND,
            "there is no dead letter of this id",
        ));
    }
    let mut body = String::from("{\"letters\":[");
    for (i, letter) in letters.iter().enumerate() {
        body.push_str(if i == 0 { "" } else { "," });
        body.push_str(letter.get());
    }
    body.push_str("]}");
    Ok(json_bytes(body.into()))
}
