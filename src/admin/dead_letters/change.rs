//! `POST` of a question: repair, return, discard.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};

use super::input;
use super::refusal::Refusal;
use crate::admin::Admin;
use crate::dead_letter::workbench::{Question, Report};

const REPAIR: [&str; 5] = ["filter", "after", "limit", "apply", "expression"];
const RETURN: [&str; 5] = ["filter", "after", "limit", "apply", "to_queue"];
const DISCARD: [&str; 4] = ["filter", "after", "limit", "apply"];

type Asked = State<Arc<Admin>>;

pub(super) async fn repair(admin: Asked, request: Request) -> Result<Response, Refusal> {
    let question = read(request, &REPAIR).await?;
    let turn = admin.dead_letters.turn().await?;
    let report = turn.change(|workbench| async move {
        let report = workbench.repair(&question).await?;
        note("repaired", &question, &report);
        Ok(report)
    });
    Ok(Json(report.await?).into_response())
}

pub(super) async fn return_(admin: Asked, request: Request) -> Result<Response, Refusal> {
    let question = read(request, &RETURN).await?;
    let turn = admin.dead_letters.turn().await?;
    let report = turn.change(|workbench| async move {
        let report = workbench.return_(&question).await?;
        note("returned", &question, &report);
        Ok(report)
    });
    Ok(Json(report.await?).into_response())
}

pub(super) async fn discard(admin: Asked, request: Request) -> Result<Response, Refusal> {
    let question = read(request, &DISCARD).await?;
    let turn = admin.dead_letters.turn().await?;
    let report = turn.change(|workbench| async move {
        let report = workbench.discard(&question).await?;
        note("discarded", &question, &report);
        Ok(report)
    });
    Ok(Json(report.await?).into_response())
}

/// Leaves a trace of what a person did.
fn note(done: &'static str, question: &Question, report: &Report) {
    if question.apply && report.done > 0 {
        let filter = serde_json::to_string(&question.filter).unwrap_or_default();
        tracing::info!(letters = report.done, %filter, "dead letters were {done}");
    }
}

async fn read(request: Request, known: &[&str]) -> Result<Question, Refusal> {
    input::read(input::question(request, known).await?)
}
