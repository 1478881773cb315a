//! How burdock is: alive, ready, and the whole of it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::Admin;
use super::problem::answer;
use crate::clock;

/// `GET /healthz`: that the process answers at all, also while a store is down.
pub(super) async fn alive() -> Response {
    answer(StatusCode::OK, &json!({ "alive": true }))
}

/// `GET /readyz`: whether requests of every session can be served.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> Response {
    let health = admin.registry().health().await;
    let reasons: Vec<String> = health
        .into_iter()
        .filter_map(|(_, health)| Some(health.err()?.to_string()))
        .collect();
    match reasons.is_empty() {
        true => answer(StatusCode::OK, &json!({ "ready": true })),
        false => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            &json!({ "ready": false, "reasons": reasons }),
        ),
    }
}

/// The pool of browsers, and why there is none.
fn browser(admin: &Admin) -> Value {
    let browsers = &admin.exchange.browsers;
    let mut status = json!(browsers.status());
    match browsers.executable() {
        Ok(executable) => {
            status["available"] = true.into();
            status["executable"] = executable.display().to_string().into();
        }
        Err(error) => {
            status["available"] = false.into();
            status["reason"] = error.to_string().into();
        }
    }
    status
}

/// `GET /api/v1/status`.
pub(super) async fn show(State(admin): State<Arc<Admin>>) -> Response {
    let registry = admin.registry();
    let health = registry.health().await;
    let adapters: Vec<Value> = health
        .into_iter()
        .map(|(name, health)| match health {
            Ok(()) => json!({ "name": name, "healthy": true }),
            Err(error) => json!({ "name": name, "healthy": false, "error": error.to_string() }),
        })
        .collect();
    let status = json!({
        "name": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "startedAt": admin.started,
        "uptimeSeconds": clock::now().since(admin.started).as_secs(),
        "listeners": { "proxy": admin.proxy, "admin": admin.guard.bound },
        "adapters": adapters,
        "sessions": {
            // Unknown while a store does not answer; the adapters above say which.
            "active": registry.count().await.ok(),
            "live": registry.live(),
            "max": registry.options().max_active,
        },
        "ca": {
            "path": admin.ca.path().display().to_string(),
            "fingerprint": admin.ca.fingerprint_sha256(),
            "notAfter": admin.ca.not_after(),
        },
        "browser": browser(&admin),
    });
    answer(StatusCode::OK, &status)
}
