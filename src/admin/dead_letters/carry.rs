//! `POST`: letters out, and in again.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::refusal::Refusal;
use super::{input, json_bytes};
use crate::admin::Admin;

use crate::dead_letter::workbench::{Cursor, Export, Filter, Handle};

/// Letters of a chunk if nothing is said.
const CHUNK: usize = 500;
/// Most letters that go at a time.
const MOST_TAKEN: usize = 1000;
/// An event from Logstash has at most 32 MiB, and is twice as long when it is escaped.
const MOST_IMPORT_BYTES: usize = 96 << 20;

#[derive(Debug, Deserialize)]
struct Wanted {
    #[serde(default)]
    filter: Filter,
    #[serde(default)]
    after: Option<Cursor>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Debug, Deserialize)]
struct Taken {
    handles: Vec<Handle>,
}

pub(super) async fn export(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked = input::question(request, &["filter", "after", "limit"]).await?;
    let asked: Wanted = input::read(asked)?;
    let limit = asked.limit.unwrap_or(CHUNK);
    let turn = admin.dead_letters.turn().await?;
    let export = turn.workbench.export(&asked.filter, asked.after, limit);
    Ok(json_bytes(written(&turn.look(export).await?)))
}

/// The answer; the letters are JSON already.
fn written(export: &Export) -> Vec<u8> {
    let mut body = Vec::with_capacity(export.lines.len() + 100 * export.handles.len() + 100);
    body.extend_from_slice(b"{\"letters\":[");
    let lines = export.lines.split(|byte| *byte == b'\n');
    for (i, line) in lines.filter(|line| !line.is_empty()).enumerate() {
        body.extend_from_slice(if i == 0 { b"" } else { b"," });
        body.extend_from_slice(line);
    }
    let rest = json!({
        "handles": export.handles,
        "examined": export.examined,
        "next": export.next,
    });
    body.extend_from_slice(b"],");
    body.extend_from_slice(&rest.to_string().as_bytes()[1..]);
    body
}

pub(super) async fn take(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Response, Refusal> {
    let asked: Taken = input::read(input::question(request, &["handles"]).await?)?;
    if asked.handles.len() > MOST_TAKEN {
        return Err(Refusal::bad(format!("at most {MOST_TAKEN} at a time")));
    }
    let turn = admin.dead_letters.turn().await?;
    let taken = turn.change(|workbench| async move { workbench.take(&asked.handles).await });
    let taken = taken.await?;
    Ok(Json(json!({ "taken": taken })).into_response())
}

pub(super) async fn import(
    State(admin): State<Arc<Admin>>,
    request: Request,
) -> Result<Response, Refusal> {
    input::check_type(request.headers(), "application/x-ndjson")?;
    // Bodies are long: only whose turn it is has one in memory.
    let turn = admin.dead_letters.turn().await?;
    let lines = input::body(request.into_body(), MOST_IMPORT_BYTES).await?;
    let report = turn.change(|workbench| async move { workbench.import(&lines).await });
    Ok(Json(report.await?).into_response())
}
