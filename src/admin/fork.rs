//! `POST /api/v1/sessions/{id}/fork`: a new session with a copy of another's settings, cookies and storage.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use serde_json::json;

use super::Admin;
use super::body::Json;
use super::problem::Problem;
use super::sessions::{Id, created, find};

/// Makes the copy, in the same adapter; its counters and limits begin anew.
pub(super) async fn fork(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
    body: Json,
) -> Result<Response, Problem> {
    let original = find(&admin, &id).await?;
    let mut object = body.object_or_empty()?;
    let id = object.take_id()?;
    let ttl = object.take("ttl");
    object.end()?;
    let mut seed = original.seed();
    if let Some(ttl) = ttl {
        seed.settings = seed
            .settings
            .merge_patch(&json!({ "ttl": ttl }), &admin.bounds)?;
    }
    let visit = admin
        .registry()
        .create(id, Some(original.adapter_name()), seed)
        .await?;
    Ok(created(&visit))
}
