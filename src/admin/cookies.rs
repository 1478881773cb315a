//! The cookies of a session: listed, put, removed, as Playwright's objects.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use http::header::HeaderMap;

use super::Admin;
use super::body::{Json, NoBody};
use super::etag::IfMatch;
use super::problem::Problem;
use super::query::cookie_filter;
use super::sessions::{Id, find, still_there};
use super::state::{Shape, change, shown};
use crate::clock;
use crate::registry::commit;
use crate::session::formats::playwright;
use crate::session::storage::StorageDelta;

/// `GET /api/v1/sessions/{id}/cookies`.
pub(super) async fn list(State(admin): State<Arc<Admin>>, Id(id): Id) -> Result<Response, Problem> {
    let visit = find(&admin, &id).await?;
    Ok(shown(&admin, &visit, Shape::Cookies).await)
}

/// `PUT /api/v1/sessions/{id}/cookies`: adds or replaces, all of them or none; one that has expired removes.
pub(super) async fn put(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
    fields: HeaderMap,
    body: Json,
) -> Result<Response, Problem> {
    let visit = find(&admin, &id).await?;
    let now = clock::now();
    let cookies = playwright::cookies_from_json(&body.value()?, now)?;
    change(
        &visit,
        Shape::Cookies,
        &IfMatch::of(&fields),
        now,
        |jar, _| (jar.put(cookies, now), StorageDelta::default()),
    )
    .await?;
    Ok(shown(&admin, &visit, Shape::Cookies).await)
}

/// `DELETE /api/v1/sessions/{id}/cookies`: all, or those of `?name=&domain=&path=`.
pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
    RawQuery(query): RawQuery,
    _: NoBody,
) -> Result<Response, Problem> {
    let filter = cookie_filter(query.as_deref())?;
    let visit = find(&admin, &id).await?;
    let now = clock::now();
    let number = visit.change(|jar, _| match &filter {
        Some(filter) => jar.remove_where(filter, now),
        None => jar.clear(now),
    });
    commit(&visit, number).await?;
    still_there(&visit)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
