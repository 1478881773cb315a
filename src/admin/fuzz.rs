//! What fuzzers feed this floor: the bodies of the API.

use serde_json::{Value, json};

use super::json::{self, Object};
pub(crate) use super::scrape::fuzz::scrape_call;
use crate::session::settings::{Bounds, Settings};

/// A body to make a session, and the same as a patch. What is accepted can be shown, stored and read back.
pub(crate) fn session_body(data: &[u8]) {
    let Ok(value) = json::parse(data) else {
        return;
    };
    assert_eq!(
        serde_json::from_slice::<Value>(data).ok().as_ref(),
        Some(&value),
        "strictness refuses, and changes nothing"
    );
    let Ok(mut object) = Object::of(value) else {
        return;
    };
    let (Ok(_), Ok(_)) = (object.take_id(), object.take_text("adapter")) else {
        return;
    };
    let body = object.rest();
    let bounds = Bounds::default();
    if let Ok(settings) = Settings::from_json(&body, &bounds) {
        holds(&settings, &bounds);
    }
    let base = json!({
        "ttl": 60,
        "browser": {"userAgent": "a", "viewport": {"width": 1, "height": 1}},
        "headers": {"X-A": "1"},
        "upstreamProxy": "http://u:p@proxy.example:3128",
        "labels": {"a": "b"},
    });
    let base = Settings::from_json(&base, &bounds).expect("valid settings");
    if let Ok(patched) = base.merge_patch(&body, &bounds) {
        holds(&patched, &bounds);
        // RFC 7396: a patch of values, made twice, is made once.
        assert_eq!(patched.merge_patch(&body, &bounds).as_ref(), Ok(&patched));
    }
}

fn holds(settings: &Settings, bounds: &Bounds) {
    assert!(settings.ttl <= bounds.max_ttl && !settings.ttl.is_zero());
    let stored = serde_json::to_string(settings).expect("settings are JSON");
    let read: Settings = serde_json::from_str(&stored).expect("what was stored reads back");
    assert_eq!(read, *settings);
    let unchanged = settings.merge_patch(&json!({}), bounds);
    assert_eq!(unchanged.as_ref(), Ok(settings));
    if let Some(proxy) = &settings.upstream_proxy {
        let shown = settings.to_json();
        let shown = shown["upstreamProxy"].as_str().map(url::Url::parse);
        let shown = shown.and_then(Result::ok).expect("a URL is shown");
        let whole = url::Url::parse(&proxy.expose()).expect("it was one");
        assert_eq!(shown.password(), None, "the password is shown");
        assert_eq!(shown.username(), whole.username());
    }
}
