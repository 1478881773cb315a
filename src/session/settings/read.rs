//! The settings of a session out of JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::fields::{Field, InvalidField, MAX_SAFE_INTEGER};
use super::{Bounds, BrowserSettings, OnLimit, RateLimit, Render, Settings, Viewport, headers};

pub(super) fn settings(value: &Value, bounds: &Bounds) -> Result<Settings, InvalidField> {
    let mut fields = Field::root(value).fields()?;
    let settings = Settings {
        ttl: optional(fields.take("ttl"), |field| ttl(field, bounds))?
            .unwrap_or(bounds.default_ttl),
        max_age: optional(fields.take("maxAge"), |field| seconds(field, MAX_SECONDS))?,
        browser: optional(fields.take("browser"), browser)?.unwrap_or_default(),
        rate_limit: optional(fields.take("rateLimit"), rate_limit)?.unwrap_or_default(),
        render: optional(fields.take("render"), render)?,
        headers: optional(fields.take("headers"), headers::read)?.unwrap_or_default(),
        upstream_proxy: optional(fields.take("upstreamProxy"), |field| {
            match field.text()?.parse() {
                Ok(proxy) => Ok(proxy),
                Err(error) => field.invalid(format!("{error}")),
            }
        })?,
        egress: None,
        labels: optional(fields.take("labels"), labels)?.unwrap_or_default(),
    };
    fields.end()?;
    Ok(settings)
}

fn optional<'a, T>(
    field: Option<Field<'a>>,
    read: impl FnOnce(&Field<'a>) -> Result<T, InvalidField>,
) -> Result<Option<T>, InvalidField> {
    match field {
        Some(field) => read(&field).map(Some),
        None => Ok(None),
    }
}

fn ttl(field: &Field<'_>, bounds: &Bounds) -> Result<Duration, InvalidField> {
    seconds(field, bounds.max_ttl.as_secs().clamp(1, MAX_SECONDS))
}

fn seconds(field: &Field<'_>, greatest: u64) -> Result<Duration, InvalidField> {
    field.integer(1, greatest).map(Duration::from_secs)
}

fn browser(field: &Field<'_>) -> Result<BrowserSettings, InvalidField> {
    let mut fields = field.fields()?;
    let browser = BrowserSettings {
        user_agent: optional(fields.take("userAgent"), user_agent)?,
        viewport: optional(fields.take("viewport"), viewport)?,
        locale: optional(fields.take("locale"), |field| {
            name(field, 35, b"-", "a language tag such as `de-CH`")
        })?,
        timezone: optional(fields.take("timezone"), |field| {
            name(field, 64, b"/_+-", "a time zone such as `Europe/Zurich`")
        })?,
    };
    fields.end()?;
    Ok(browser)
}

fn user_agent(field: &Field<'_>) -> Result<String, InvalidField> {
    let text = field.text()?;
    if text.is_empty() || text.len() > headers::MAX_VALUE || !headers::is_value(text) {
        return field.invalid(format!(
            "must be a field value of 1 to {} bytes",
            headers::MAX_VALUE
        ));
    }
    Ok(text.to_owned())
}

fn viewport(field: &Field<'_>) -> Result<Viewport, InvalidField> {
    let mut fields = field.fields()?;
    let viewport = Viewport {
        width: pixels(&fields.require("width")?)?,
        height: pixels(&fields.require("height")?)?,
    };
    fields.end()?;
    Ok(viewport)
}

fn pixels(field: &Field<'_>) -> Result<u32, InvalidField> {
    narrow(field, 1, MAX_PIXELS)
}

/// A name of letters, digits and some other bytes, as language tags and time zones are.
fn name(
    field: &Field<'_>,
    longest: usize,
    others: &[u8],
    what: &str,
) -> Result<String, InvalidField> {
    let text = field.text()?;
    let begins = text
        .bytes()
        .next()
        .is_some_and(|first| first.is_ascii_alphabetic());
    if !begins
        || text.len() > longest
        || !text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || others.contains(&byte))
    {
        return field.invalid(format!("must be {what}"));
    }
    Ok(text.to_owned())
}

fn rate_limit(field: &Field<'_>) -> Result<RateLimit, InvalidField> {
    let mut fields = field.fields()?;
    let limit = RateLimit {
        requests_per_second: optional(fields.take("requestsPerSecond"), |field| {
            match field.number()? {
                rate if rate >= 0.0 => Ok(rate),
                _ => field.invalid("must not be negative"),
            }
        })?,
        burst: optional(fields.take("burst"), |field| narrow(field, 1, u32::MAX))?,
        concurrency: optional(fields.take("concurrency"), |field| {
            narrow(field, 0, u32::MAX)
        })?,
        per_host: optional(fields.take("perHost"), Field::flag)?,
        on_limit: optional(fields.take("onLimit"), |field| match field.text()? {
            "wait" => Ok(OnLimit::Wait),
            "reject" => Ok(OnLimit::Reject),
            _ => field.invalid("must be `wait` or `reject`"),
        })?,
        max_wait_ms: optional(fields.take("maxWaitMs"), |field| {
            field.integer(0, MAX_SAFE_INTEGER)
        })?,
    };
    fields.end()?;
    Ok(limit)
}

fn narrow(field: &Field<'_>, least: u32, greatest: u32) -> Result<u32, InvalidField> {
    let number = field.integer(least.into(), greatest.into())?;
    Ok(u32::try_from(number).expect("the range above ends within u32"))
}

fn render(field: &Field<'_>) -> Result<Render, InvalidField> {
    match field.text()? {
        "http" => Ok(Render::Http),
        "browser" => Ok(Render::Browser),
        "auto" => Ok(Render::Auto),
        _ => field.invalid("must be `http`, `browser` or `auto`"),
    }
}

fn labels(field: &Field<'_>) -> Result<BTreeMap<String, String>, InvalidField> {
    let entries = field.entries()?;
    if entries.len() > MAX_LABELS {
        return field.invalid(format!("must not have more than {MAX_LABELS} labels"));
    }
    let mut labels = BTreeMap::new();
    for (name, field) in entries {
        let value = field.text()?;
        if name.is_empty() || name.len() > MAX_LABEL || value.len() > MAX_LABEL {
            return field.invalid(format!(
                "must have a name of 1 to {MAX_LABEL} bytes and a value of no more"
            ));
        }
        labels.insert(name.to_owned(), value.to_owned());
    }
    Ok(labels)
}

/// The greatest length of time that a session may name: 100 years in seconds.
pub(super) const MAX_SECONDS: u64 = 100 * 365 * 24 * 60 * 60;

/// The greatest side of a viewport that Chromium's protocol takes.
const MAX_PIXELS: u32 = 10_000_000;

const MAX_LABELS: usize = 64;
const MAX_LABEL: usize = 256;
