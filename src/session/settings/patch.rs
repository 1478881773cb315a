//! JSON Merge Patch (RFC 7396) on the settings of a session.

use serde_json::{Map, Value};

use super::fields::{Field, InvalidField};
use super::{Bounds, Settings};

pub(super) fn apply(
    settings: &Settings,
    patch: &Value,
    bounds: &Bounds,
) -> Result<Settings, InvalidField> {
    let Value::Object(fields) = patch else {
        return Field::root(patch).invalid("must be an object");
    };
    refuse_unknown_removals(fields)?;

    let mut target = settings.to_complete_json();
    forget_headers_of_other_case(&mut target, patch);
    merge(&mut target, patch);

    // A ttl from before `max_ttl` was lowered is no fault of a patch that leaves it alone.
    let max_ttl = if patch.get("ttl").is_some() {
        bounds.max_ttl
    } else {
        bounds.max_ttl.max(settings.ttl)
    };
    let patched = Settings::from_json(&target, &Bounds { max_ttl, ..*bounds })?;
    Ok(Settings {
        egress: settings.egress.clone(),
        ..patched
    })
}

/// RFC 7396, section 2.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else {
        return;
    };
    for (name, value) in patch {
        if value.is_null() {
            fields.shift_remove(name);
        } else {
            merge(fields.entry(name.clone()).or_insert(Value::Null), value);
        }
    }
}

/// Merging drops a `null` before anybody could see that its name is unknown.
fn refuse_unknown_removals(fields: &Map<String, Value>) -> Result<(), InvalidField> {
    for (section, names) in KNOWN {
        let object = section
            .split('/')
            .filter(|name| !name.is_empty())
            .try_fold(fields, |fields, name| fields.get(name)?.as_object());
        let unknown = object
            .into_iter()
            .flat_map(Map::keys)
            .find(|name| !names.contains(&name.as_str()));
        if let Some(name) = unknown {
            let place = format!("{section}/{name}")
                .trim_start_matches('/')
                .replace('/', ".");
            return Err(InvalidField::new(place, "is not a known field"));
        }
    }
    Ok(())
}

/// Field names know no case, members of a JSON object do: a patch of `x-a` is one of `X-A`.
fn forget_headers_of_other_case(target: &mut Value, patch: &Value) {
    let Some(patched) = patch.get("headers").and_then(Value::as_object) else {
        return;
    };
    let Some(headers) = target.get_mut("headers").and_then(Value::as_object_mut) else {
        return;
    };
    headers.retain(|name, _| {
        !patched
            .keys()
            .any(|other| other != name && other.eq_ignore_ascii_case(name))
    });
}

/// The fields of each section, by JSON pointer without its first slash.
pub(super) const KNOWN: [(&str, &[&str]); 4] = [
    (
        "",
        &[
            "ttl",
            "maxAge",
            "browser",
            "rateLimit",
            "render",
            "headers",
            "upstreamProxy",
            "labels",
        ],
    ),
    ("browser", &["userAgent", "viewport", "locale", "timezone"]),
    ("browser/viewport", &["width", "height"]),
    (
        "rateLimit",
        &[
            "requestsPerSecond",
            "burst",
            "concurrency",
            "perHost",
            "onLimit",
            "maxWaitMs",
        ],
    ),
];
