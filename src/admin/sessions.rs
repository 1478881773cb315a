//! Sessions: made, listed, shown, patched, deleted.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, HeaderMap, LOCATION};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::Admin;
use super::body::{Json, NoBody};
use super::etag::{self, IfMatch};
use super::json::Object;
use super::problem::{Name, Problem, answer};
use super::query::{Listing, cursor};
use crate::clock;
use crate::registry::{RegistryError, SessionView, Visit};
use crate::session::id::SessionId;
use crate::session::settings::Settings;

/// `GET /api/v1/sessions`.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    let Listing { adapter, query } = Listing::read(query.as_deref())?;
    let page = match admin.registry().list(adapter.as_deref(), &query).await {
        Ok(page) => page,
        // No session lives in an adapter that is not configured.
        Err(RegistryError::NoAdapter(_)) => {
            return Ok(answer(StatusCode::OK, &json!({ "sessions": [] })));
        }
        Err(error) => return Err(error.into()),
    };
    let sessions: Vec<Value> = page.sessions.iter().map(SessionView::to_json).collect();
    let mut list = json!({ "sessions": sessions });
    if let Some(next) = &page.next {
        list["nextCursor"] = cursor(next).into();
    }
    // A list that lacks the sessions of a store says so.
    if !page.silent.is_empty() {
        list["unavailable"] = page
            .silent
            .iter()
            .map(|error| json!({ "adapter": error.adapter, "reason": &*error.reason }))
            .collect();
    }
    Ok(answer(StatusCode::OK, &list))
}

/// `POST /api/v1/sessions`.
pub(super) async fn create(
    State(admin): State<Arc<Admin>>,
    body: Json,
) -> Result<Response, Problem> {
    let mut object = body.object_or_empty()?;
    let id = object.take_id()?;
    let adapter = object.take_text("adapter")?;
    if adapter
        .as_deref()
        .is_some_and(|name| !is_adapter_name(name))
    {
        return Err(Problem::invalid(
            "adapter",
            "must be `memory`, `file`, `redis` or `mongodb`",
        ));
    }
    let settings = Settings::from_json(&object.rest(), &admin.bounds)?;
    let visit = admin
        .registry()
        .create(id, adapter.as_deref(), settings)
        .await?;
    Ok(created(&visit))
}

/// `DELETE /api/v1/sessions`.
pub(super) async fn clear(State(admin): State<Arc<Admin>>, _: NoBody) -> Result<Response, Problem> {
    let deleted = admin.registry().clear().await?;
    Ok(answer(StatusCode::OK, &json!({ "deleted": deleted })))
}

/// `GET /api/v1/sessions/{id}`.
pub(super) async fn show(State(admin): State<Arc<Admin>>, Id(id): Id) -> Result<Response, Problem> {
    let visit = find(&admin, &id).await?;
    Ok(shown(StatusCode::OK, &visit))
}

/// `PATCH /api/v1/sessions/{id}`.
pub(super) async fn patch(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
    fields: HeaderMap,
    body: Json,
) -> Result<Response, Problem> {
    let visit = find(&admin, &id).await?;
    let mut patch = body.object()?;
    refuse_change(&mut patch, "id", visit.id())?;
    refuse_change(&mut patch, "adapter", visit.adapter_name())?;
    let patch = patch.rest();
    let condition = IfMatch::of(&fields);
    let change = |settings: &Settings| {
        condition.check(|| etag::of_settings(&visit, settings))?;
        Ok::<_, Problem>(settings.merge_patch(&patch, &admin.bounds)?)
    };
    admin.registry().reconfigure(&visit, change).await?;
    still_there(&visit)?;
    Ok(shown(StatusCode::OK, &visit))
}

/// `DELETE /api/v1/sessions/{id}`.
pub(super) async fn delete(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
    _: NoBody,
) -> Result<Response, Problem> {
    match admin.registry().delete(&id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(Problem::no_session(&id)),
    }
}

/// `GET /api/v1/sessions/{id}/screenshot`: the last page that was rendered for it.
pub(super) async fn screenshot(
    State(admin): State<Arc<Admin>>,
    Id(id): Id,
) -> Result<Response, Problem> {
    let visit = find(&admin, &id).await?;
    let picture = admin.exchange.browsers.thumbnail(&visit).ok_or_else(|| {
        let detail =
            "no page of the session was rendered here lately, or `browser.thumbnails` is off";
        Problem::new(Name::NotFound, detail)
    })?;
    let fields = [(CONTENT_TYPE, "image/jpeg"), (CACHE_CONTROL, "no-store")];
    Ok((fields, picture).into_response())
}

/// The id of a path.
#[derive(Debug)]
pub(super) struct Id(pub(super) SessionId);

impl FromRequestParts<Arc<Admin>> for Id {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, admin: &Arc<Admin>) -> Result<Self, Problem> {
        let Path(text) = Path::<String>::from_request_parts(parts, admin)
            .await
            .map_err(|rejection| Problem::invalid("id", rejection.body_text()))?;
        let id = text
            .parse()
            .map_err(|error: crate::session::InvalidSessionId| {
                Problem::invalid("id", error.to_string())
            })?;
        Ok(Self(id))
    }
}

/// The session of a call, its expiry left as it is.
pub(super) async fn find(admin: &Admin, id: &SessionId) -> Result<Visit, Problem> {
    admin
        .registry()
        .find(id)
        .await?
        .ok_or_else(|| Problem::no_session(id))
}

/// A change of a session that was deleted meanwhile has changed nothing.
pub(super) fn still_there(visit: &Visit) -> Result<(), Problem> {
    match visit.is_gone() {
        true => Err(Problem::no_session(visit.id())),
        false => Ok(()),
    }
}

/// The answer of a call that made a session.
pub(super) fn created(visit: &Visit) -> Response {
    let mut response = shown(StatusCode::CREATED, visit);
    let location = format!("/api/v1/sessions/{}", visit.id());
    response.headers_mut().insert(
        LOCATION,
        HeaderValue::try_from(location).expect("an id is visible ASCII"),
    );
    response
}

/// Whether the contract has an adapter of that name, be it configured or not.
pub(super) fn is_adapter_name(name: &str) -> bool {
    matches!(name, "memory" | "file" | "redis" | "mongodb")
}

fn shown(status: StatusCode, visit: &Visit) -> Response {
    let settings = visit.settings();
    let mut response = answer(status, &SessionView::of_live(visit, clock::now()).to_json());
    response
        .headers_mut()
        .insert(ETAG, etag::of_settings(visit, &settings));
    response
}

/// A patch may name what cannot change, as long as it names it as it is.
fn refuse_change(patch: &mut Object, name: &str, present: &str) -> Result<(), Problem> {
    match patch.take_any(name) {
        None => Ok(()),
        Some(Value::String(same)) if same == present => Ok(()),
        Some(_) => Err(Problem::invalid(
            name,
            format!("is `{present}` and cannot change"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_may_repeat_what_cannot_change() {
        for (patch, wanted) in [
            (json!({}), true),
            (json!({"id": "a"}), true),
            (json!({"id": "b"}), false),
            (json!({"id": null}), false),
            (json!({"id": 1}), false),
        ] {
            let mut object = Object::of(patch.clone()).unwrap();
            let refused = refuse_change(&mut object, "id", "a");
            assert_eq!(refused.is_ok(), wanted, "{patch}");
            assert!(object.end().is_ok(), "{patch}: it was taken");
        }
    }
}
