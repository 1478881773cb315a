//! Upstream proxies: how they are, which sessions leave by them, and the rules.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::Admin;
use super::problem::{Problem, answer};
use super::query::Parameters;
use crate::upstream::egress::Report;

/// `GET /api/v1/egress`.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    Parameters::read(query.as_deref(), &[])?;
    let egress = &admin.exchange.pool_terms.egress;
    let proxies: Vec<Value> = proxies(&admin)
        .into_iter()
        .map(|(url, sessions, health)| {
            let mut proxy = json!({
                "url": url,
                "healthy": health.healthy,
                "sessions": sessions,
                "failures": health.failures,
            });
            if let Some(error) = health.last_error {
                proxy["lastError"] = error.into();
            }
            if let Some(used) = health.last_used {
                proxy["lastUsedAt"] = json!(used);
            }
            proxy
        })
        .collect();
    let rules: Vec<Value> = egress
        .rules()
        .0
        .iter()
        .map(|rule| json!({ "match": rule.pattern.to_string(), "via": rule.via.as_str() }))
        .collect();
    Ok(answer(
        StatusCode::OK,
        &json!({ "proxies": proxies, "rules": rules }),
    ))
}

/// Each proxy of the pool by its URL without password, with the live sessions that leave by it, and how it is.
pub(super) fn proxies(admin: &Admin) -> Vec<(String, usize, Report)> {
    let leaving = admin.registry().leaving();
    let proxies = admin.exchange.pool_terms.egress.proxies();
    proxies
        .iter()
        .map(|proxy| {
            let sessions = leaving.get(proxy.name()).copied().unwrap_or_default();
            (proxy.name().to_owned(), sessions, proxy.health())
        })
        .collect()
}
