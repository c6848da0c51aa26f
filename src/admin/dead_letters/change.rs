//! `POST` of a question: repair, return, discard.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use super::input;
use super::refusal::Refusal;
use crate::admin::Admin;
use crate::dead_letter::workbench::Question;

const REPAIR: [&str; 5] = ["filter", "after", "limit", "apply", "expression"];
const RETURN: [&str; 5] = ["filter", "after", "limit", "apply", "to_queue"];
const DISCARD: [&str; 4] = ["filter", "after", "limit", "apply"];

type Asked = State<Arc<Admin>>;

pub(super) async fn repair(admin: Asked, request: Request) -> Result<Response, Refusal> {
    let question = read(request, &REPAIR).await?;
    let turn = admin.dead_letters.turn().await?;
    let report = turn.change(|workbench| async move { workbench.repair(&question).await });
    Ok(Json(report.await?).into_response())
}

pub(super) async fn return_(admin: Asked, request: Request) -> Result<Response, Refusal> {
    let question = read(request, &RETURN).await?;
    let turn = admin.dead_letters.turn().await?;
    let report = turn.change(|workbench| async move { workbench.return_(&question).await });
    Ok(Json(report.await?).into_response())
}

pub(super) async fn discard(admin: Asked, request: Request) -> Result<Response, Refusal> {
    let question = read(request, &DISCARD).await?;
    let turn = admin.dead_letters.turn().await?;
    let report = turn.change(|workbench| async move { workbench.discard(&question).await });
    Ok(Json(report.await?).into_response())
}

async fn read(request: Request, known: &[&str]) -> Result<Question, Refusal> {
    input::read(input::question(request, known).await?)
}
