//! Reading, showing, patching and storing settings.

use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Bounds, BrowserSettings, OnLimit, RateLimit, Render, Settings, Viewport};

const BOUNDS: Bounds = Bounds {
    default_ttl: Duration::from_mins(30),
    max_ttl: Duration::from_hours(24),
};

fn full() -> Value {
    json!({
        "ttl": 3600,
        "maxAge": 86_400,
        "browser": {"userAgent": "Agent/1", "viewport": {"width": 1280, "height": 800}, "locale": "de-CH", "timezone": "Europe/Zurich"},
        "rateLimit": {"requestsPerSecond": 0.5, "burst": 2, "concurrency": 0, "perHost": true, "onLimit": "reject", "maxWaitMs": 0},
        "render": "auto",
        "headers": {"X-A": "1", "accept-language": "de"},
        "upstreamProxy": "http://user:secret@proxy.example:3128",
        "labels": {"team": "a"},
    })
}

fn read(value: &Value) -> Settings {
    Settings::from_json(value, &BOUNDS).unwrap()
}

fn patched(value: &Value, patch: &Value) -> Value {
    read(value).merge_patch(patch, &BOUNDS).unwrap().to_json()
}

#[test]
fn an_empty_object_is_the_defaults() {
    let settings = read(&json!({}));
    assert_eq!(settings, Settings::default());
    assert_eq!(settings.ttl, Duration::from_secs(1800));
    let short = Bounds {
        default_ttl: Duration::from_secs(5),
        ..BOUNDS
    };
    assert_eq!(
        Settings::from_json(&json!({}), &short).unwrap(),
        Settings::with_default_ttl(&short)
    );
}

#[test]
fn every_field_is_read() {
    let settings = read(&full());
    assert_eq!(settings.ttl, Duration::from_secs(3600));
    assert_eq!(settings.max_age, Some(Duration::from_secs(86_400)));
    assert_eq!(
        settings.browser,
        BrowserSettings {
            user_agent: Some("Agent/1".to_owned()),
            viewport: Some(Viewport {
                width: 1280,
                height: 800
            }),
            locale: Some("de-CH".to_owned()),
            timezone: Some("Europe/Zurich".to_owned()),
        }
    );
    assert_eq!(
        settings.rate_limit,
        RateLimit {
            requests_per_second: Some(0.5),
            burst: Some(2),
            concurrency: Some(0),
            per_host: Some(true),
            on_limit: Some(OnLimit::Reject),
            max_wait_ms: Some(0),
        }
    );
    assert_eq!(settings.render, Some(Render::Auto));
    assert_eq!(settings.headers["X-A"], "1");
    assert_eq!(settings.labels["team"], "a");
}

#[test]
fn errors_name_the_field() {
    let long = "x".repeat(9000);
    for (change, field) in [
        (json!({"ttl": 0}), "ttl"),
        (json!({"ttl": -1}), "ttl"),
        (json!({"ttl": 1.5}), "ttl"),
        (json!({"ttl": "60"}), "ttl"),
        (json!({"ttl": null}), "ttl"),
        (json!({"ttl": 86_401}), "ttl"),
        (json!({"maxAge": 0}), "maxAge"),
        (json!({"maxAge": 1e300}), "maxAge"),
        (json!({"browser": []}), "browser"),
        (json!({"browser": {"agent": "x"}}), "browser.agent"),
        (json!({"browser": {"userAgent": ""}}), "browser.userAgent"),
        (
            json!({"browser": {"userAgent": "a\nb"}}),
            "browser.userAgent",
        ),
        (json!({"browser": {"userAgent": " a"}}), "browser.userAgent"),
        (json!({"browser": {"userAgent": long}}), "browser.userAgent"),
        (
            json!({"browser": {"viewport": {"width": 1}}}),
            "browser.viewport.height",
        ),
        (
            json!({"browser": {"viewport": {"width": 0, "height": 1}}}),
            "browser.viewport.width",
        ),
        (
            json!({"browser": {"viewport": {"width": 1, "height": 1, "depth": 1}}}),
            "browser.viewport.depth",
        ),
        (json!({"browser": {"locale": "de CH"}}), "browser.locale"),
        (json!({"browser": {"timezone": ""}}), "browser.timezone"),
        (
            json!({"rateLimit": {"requestsPerSecond": -0.1}}),
            "rateLimit.requestsPerSecond",
        ),
        (
            json!({"rateLimit": {"requestsPerSecond": "1"}}),
            "rateLimit.requestsPerSecond",
        ),
        (json!({"rateLimit": {"burst": 0}}), "rateLimit.burst"),
        (
            json!({"rateLimit": {"burst": 4_294_967_296_u64}}),
            "rateLimit.burst",
        ),
        (
            json!({"rateLimit": {"concurrency": -1}}),
            "rateLimit.concurrency",
        ),
        (json!({"rateLimit": {"perHost": 1}}), "rateLimit.perHost"),
        (
            json!({"rateLimit": {"onLimit": "queue"}}),
            "rateLimit.onLimit",
        ),
        (
            json!({"rateLimit": {"maxWaitMs": 0.5}}),
            "rateLimit.maxWaitMs",
        ),
        (json!({"rateLimit": {"rate": 1}}), "rateLimit.rate"),
        (json!({"render": "never"}), "render"),
        (json!({"headers": {"a b": "c"}}), "headers.a b"),
        (json!({"headers": {"X-A": 1}}), "headers.X-A"),
        (json!({"headers": {"X-A": "b\r\nc: d"}}), "headers.X-A"),
        (json!({"headers": {"X-A": "1", "x-a": "2"}}), "headers.x-a"),
        (json!({"headers": {"Cookie": "a=b"}}), "headers.Cookie"),
        (json!({"headers": {"Host": "a"}}), "headers.Host"),
        (
            json!({"headers": {"Content-Length": "1"}}),
            "headers.Content-Length",
        ),
        (
            json!({"headers": {"Transfer-Encoding": "chunked"}}),
            "headers.Transfer-Encoding",
        ),
        (
            json!({"headers": {"Connection": "close"}}),
            "headers.Connection",
        ),
        (
            json!({"headers": {"Proxy-Authorization": "x"}}),
            "headers.Proxy-Authorization",
        ),
        (
            json!({"headers": {"X-Session-ID": "x"}}),
            "headers.X-Session-ID",
        ),
        (
            json!({"headers": {"X-Burdock-Render": "http"}}),
            "headers.X-Burdock-Render",
        ),
        (json!({"headers": ["a"]}), "headers"),
        (json!({"upstreamProxy": "ftp://a"}), "upstreamProxy"),
        (json!({"upstreamProxy": {}}), "upstreamProxy"),
        (json!({"labels": {"a": 1}}), "labels.a"),
        (json!({"labels": {"": "b"}}), "labels."),
        (json!({"labels": "a"}), "labels"),
        (json!({"id": "a"}), "id"),
        (json!([]), ""),
        (json!(null), ""),
    ] {
        let error = Settings::from_json(&change, &BOUNDS).unwrap_err();
        assert_eq!(error.field, field, "{change}: {error}");
    }
}

#[test]
fn maps_are_bounded() {
    let many = |count: usize| {
        (0..count)
            .map(|name| (format!("x-{name}"), json!("v")))
            .collect::<Value>()
    };
    assert!(
        Settings::from_json(&json!({"headers": many(64), "labels": many(64)}), &BOUNDS).is_ok()
    );
    assert_eq!(
        Settings::from_json(&json!({"headers": many(65)}), &BOUNDS)
            .unwrap_err()
            .field,
        "headers"
    );
    assert_eq!(
        Settings::from_json(&json!({"labels": many(65)}), &BOUNDS)
            .unwrap_err()
            .field,
        "labels"
    );
}

#[test]
fn an_integer_may_be_written_as_a_float() {
    assert_eq!(
        read(&json!({"ttl": 60.0, "rateLimit": {"burst": 1e3}}))
            .rate_limit
            .burst,
        Some(1000)
    );
}

#[test]
fn what_is_shown_has_no_password_and_every_field() {
    let shown = read(&full()).to_json();
    let mut wanted = full();
    wanted["upstreamProxy"] = json!("http://user@proxy.example:3128");
    // Not set, but what follows from it.
    wanted["egress"] = wanted["upstreamProxy"].clone();
    assert_eq!(shown, wanted);
    assert!(!format!("{:?}", read(&full())).contains("secret"));
    let empty = Settings::default().to_json();
    assert_eq!(empty["browser"]["viewport"], Value::Null);
    assert_eq!(empty["headers"], json!({}));
}

#[test]
fn what_is_stored_is_complete_whatever_the_bounds_are_today() {
    let year = Bounds {
        max_ttl: Duration::from_hours(365 * 24),
        ..BOUNDS
    };
    let mut long = full();
    long["ttl"] = json!(365 * 86_400);
    for settings in [
        read(&full()),
        Settings::default(),
        Settings::from_json(&long, &year).unwrap(),
    ] {
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    }
}

#[test]
fn a_patch_merges_and_null_removes() {
    for (patch, place, wanted) in [
        (json!({}), "/ttl", json!(3600)),
        (json!({"ttl": 60}), "/ttl", json!(60)),
        (json!({"ttl": null}), "/ttl", json!(1800)),
        (json!({"maxAge": null}), "/maxAge", Value::Null),
        (
            json!({"browser": {"userAgent": "Agent/2"}}),
            "/browser/userAgent",
            json!("Agent/2"),
        ),
        (
            json!({"browser": {"userAgent": "Agent/2"}}),
            "/browser/locale",
            json!("de-CH"),
        ),
        (
            json!({"browser": {"locale": null}}),
            "/browser/locale",
            Value::Null,
        ),
        (
            json!({"browser": {"viewport": {"width": 5}}}),
            "/browser/viewport",
            json!({"width": 5, "height": 800}),
        ),
        (json!({"browser": null}), "/browser/userAgent", Value::Null),
        (
            json!({"rateLimit": {"burst": null}}),
            "/rateLimit/burst",
            Value::Null,
        ),
        (
            json!({"rateLimit": {"burst": null}}),
            "/rateLimit/onLimit",
            json!("reject"),
        ),
        (
            json!({"headers": {"X-A": null}}),
            "/headers",
            json!({"accept-language": "de"}),
        ),
        (
            json!({"headers": {"x-a": null}}),
            "/headers",
            json!({"accept-language": "de"}),
        ),
        (
            json!({"headers": {"x-a": "2"}}),
            "/headers",
            json!({"accept-language": "de", "x-a": "2"}),
        ),
        (json!({"headers": null}), "/headers", json!({})),
        (
            json!({"labels": {"team": null, "b": "c"}}),
            "/labels",
            json!({"b": "c"}),
        ),
        (
            json!({"upstreamProxy": null}),
            "/upstreamProxy",
            Value::Null,
        ),
        (json!({"render": "http"}), "/render", json!("http")),
    ] {
        assert_eq!(
            patched(&full(), &patch).pointer(place),
            Some(&wanted),
            "{patch}"
        );
    }
    let kept = read(&full())
        .merge_patch(&json!({"ttl": 60}), &BOUNDS)
        .unwrap();
    assert_eq!(
        kept.upstream_proxy.unwrap().expose(),
        "http://user:secret@proxy.example:3128"
    );
}

#[test]
fn a_wrong_patch_is_refused_whole() {
    for (patch, field) in [
        (json!([]), ""),
        (json!("x"), ""),
        (json!({"unknown": null}), "unknown"),
        (json!({"unknown": 1}), "unknown"),
        (json!({"browser": {"unknown": null}}), "browser.unknown"),
        (
            json!({"browser": {"viewport": {"depth": null}}}),
            "browser.viewport.depth",
        ),
        (json!({"rateLimit": {"unknown": null}}), "rateLimit.unknown"),
        (
            json!({"browser": {"viewport": {"width": null}}}),
            "browser.viewport.width",
        ),
        (json!({"browser": 1}), "browser"),
        (json!({"ttl": 86_401}), "ttl"),
        (json!({"headers": {"Cookie": "a"}}), "headers.Cookie"),
        (json!({"labels": {"a": {"b": "c"}}}), "labels.a"),
    ] {
        let error = read(&full()).merge_patch(&patch, &BOUNDS).unwrap_err();
        assert_eq!(error.field, field, "{patch}: {error}");
    }
}

#[test]
fn a_ttl_from_before_the_bound_was_lowered_may_stay() {
    let settings = Settings {
        ttl: Duration::from_hours(48),
        ..Settings::default()
    };
    assert_eq!(
        settings
            .merge_patch(&json!({"render": "http"}), &BOUNDS)
            .unwrap()
            .ttl,
        settings.ttl
    );
    assert_eq!(
        settings
            .merge_patch(&json!({"ttl": 172_800}), &BOUNDS)
            .unwrap_err()
            .field,
        "ttl"
    );
}

#[test]
fn patches_know_the_fields_that_are_shown() {
    let shown = read(&full()).to_json();
    for (section, names) in super::patch::KNOWN {
        let place = if section.is_empty() {
            String::new()
        } else {
            format!("/{section}")
        };
        let fields: Vec<&str> = shown
            .pointer(&place)
            .unwrap()
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            // Follows from others, and is not settable.
            .filter(|name| *name != "egress")
            .collect();
        assert_eq!(fields, names, "{section}");
    }
}

fn json_values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-zA-Z:/@.-]{0,8}".prop_map(Value::from),
    ];
    let names = proptest::sample::select(vec![
        "ttl",
        "maxAge",
        "browser",
        "viewport",
        "width",
        "rateLimit",
        "burst",
        "headers",
        "labels",
        "x",
    ]);
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::vec((names.clone(), inner), 0..5).prop_map(|fields| fields
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect()),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_json_is_settings_or_an_error(value in json_values(), patch in json_values()) {
        let base = Settings::from_json(&value, &BOUNDS).unwrap_or_default();
        if let Ok(settings) = base.merge_patch(&patch, &BOUNDS) {
            let json = serde_json::to_string(&settings).unwrap();
            prop_assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
        }
    }
}

#[test]
fn what_a_session_is_bound_to_is_stored_and_shown_but_not_set() {
    let bound = Settings {
        egress: Some("http://u@proxy.example:1".into()),
        ..Settings::default()
    };
    let json = serde_json::to_string(&bound).unwrap();
    assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), bound);
    assert_eq!(bound.to_json()["egress"], "http://u@proxy.example:1");
    for given in [json!({"egress": "http://p:1"}), json!({"egress": null})] {
        let refused = bound.merge_patch(&given, &BOUNDS).unwrap_err();
        assert_eq!(refused.field, "egress", "{given}");
    }
    assert!(Settings::from_json(&json!({"egress": "http://p:1"}), &BOUNDS).is_err());
    let own = bound
        .merge_patch(
            &json!({"upstreamProxy": "socks5://u:secret@own.example"}),
            &BOUNDS,
        )
        .unwrap();
    assert_eq!(
        own.egress, bound.egress,
        "it is kept for when the own proxy goes"
    );
    assert_eq!(own.to_json()["egress"], "socks5://u@own.example:1080");
}
