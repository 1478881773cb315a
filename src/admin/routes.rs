//! Rules of routes, and what was learnt about pages whose route their documents decide.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use serde_json::{Value, json};

use super::Admin;
use super::body::NoBody;
use super::problem::{Problem, answer};
use super::query::Parameters;
use crate::clock;

/// `GET /api/v1/routes`.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Parameters::read(query.as_deref(), &[])?;
    let router = &admin.exchange.router;
    let rules: Vec<Value> = router
        .rules()
        .iter()
        .map(|rule| json!({ "match": rule.pattern.to_string(), "via": rule.via.as_str() }))
        .collect();
    let learned: Vec<Value> = router
        .learned
        .list(clock::now())
        .into_iter()
        .map(|(host, path, lesson)| {
            json!({
                "host": host,
                "path": path,
                "via": lesson.via.as_str(),
                "reason": lesson.reason(),
                "learnedAt": lesson.learned,
                "expiresAt": lesson.expires,
            })
        })
        .collect();
    let routes = json!({ "rules": rules, "learned": learned });
    Ok(answer(StatusCode::OK, &routes))
}

/// `DELETE /api/v1/routes`: what was learnt is forgotten, of one host with `?host=`.
pub(super) async fn forget(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
    _: NoBody,
) -> Result<Response, Problem> {
    let parameters = Parameters::read(query.as_deref(), &["host"])?;
    let host = parameters.one("host")?;
    admin.exchange.router.learned.forget(host);
    Ok(StatusCode::NO_CONTENT.into_response())
}
