//! What the owner of a session set: checked once from JSON, shown without secrets, changed by JSON Merge Patch.

pub(super) mod fields;
mod headers;
mod patch;
mod proxy_url;
mod read;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

pub use self::fields::InvalidField;
pub use self::headers::GivenNames;
pub use self::proxy_url::{InvalidProxyUrl, ProxyScheme, ProxyUrl};

/// The settable fields of a session (docs/INTERFACE.md, section 6) besides `id` and `adapter`.
///
/// Serialized it is complete, the password of the upstream proxy included: that form is for stores.
/// [`Settings::to_json`] is the form to show.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// How long the session lives after each use, in whole seconds.
    pub ttl: Duration,
    /// How long it lives at most after its creation, in whole seconds.
    pub max_age: Option<Duration>,
    /// The browser it pretends to be.
    pub browser: BrowserSettings,
    /// Its own limits; what is absent comes from the configuration.
    pub rate_limit: RateLimit,
    /// The route its requests take, where no header names one.
    pub render: Option<Render>,
    /// Fields added to requests that do not bring them, by name as given.
    pub headers: BTreeMap<String, String>,
    /// The upstream proxy of its own, which it leaves by.
    pub upstream_proxy: Option<ProxyUrl>,
    /// The proxy of the pool that it is bound to, as [`ProxyUrl`] is shown. Not settable: it is chosen when the session is made,
    /// and kept with it so that restarts and other processes find it bound to the same.
    pub egress: Option<Box<str>>,
    /// Its owner's notes.
    pub labels: BTreeMap<String, String>,
}

/// Which browser a session is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BrowserSettings {
    /// The `User-Agent` on both routes.
    pub user_agent: Option<String>,
    /// The size of its window.
    pub viewport: Option<Viewport>,
    /// Its language, a BCP 47 tag.
    pub locale: Option<String>,
    /// Its time zone, an IANA name.
    pub timezone: Option<String>,
}

/// A window's size in CSS pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Viewport {
    /// At least 1.
    pub width: u32,
    /// At least 1.
    pub height: u32,
}

/// The limits of a session; each that is absent is the configuration's.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RateLimit {
    /// Requests a second, fractions allowed; 0: unlimited.
    pub requests_per_second: Option<f64>,
    /// How many may go at once after a pause; at least 1.
    pub burst: Option<u32>,
    /// Requests in flight at once; 0: unlimited.
    pub concurrency: Option<u32>,
    /// Whether the rate holds for each host by itself.
    pub per_host: Option<bool>,
    /// What happens to a request over the limit.
    pub on_limit: Option<OnLimit>,
    /// How long a request waits at most, in milliseconds.
    pub max_wait_ms: Option<u64>,
}

/// What happens to a request over the limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnLimit {
    /// It queues, first come first served.
    #[default]
    Wait,
    /// It is answered 429 at once.
    Reject,
}

/// Which route a request takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Render {
    /// By http.
    Http,
    /// By a browser.
    Browser,
    /// By http first, and by a browser where the page needs one.
    Auto,
}

/// What the configuration says of the life of sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// The `ttl` of a session that names none.
    pub default_ttl: Duration,
    /// The greatest `ttl`.
    pub max_ttl: Duration,
}

impl Default for Bounds {
    fn default() -> Self {
        Self {
            default_ttl: DEFAULT_TTL,
            max_ttl: Duration::from_hours(30 * 24),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: DEFAULT_TTL,
            max_age: None,
            browser: BrowserSettings::default(),
            rate_limit: RateLimit::default(),
            render: None,
            headers: BTreeMap::new(),
            upstream_proxy: None,
            egress: None,
            labels: BTreeMap::new(),
        }
    }
}

impl Settings {
    /// The settings of a session that names none.
    #[must_use]
    pub fn with_default_ttl(bounds: &Bounds) -> Self {
        Self {
            ttl: bounds.default_ttl,
            ..Self::default()
        }
    }

    /// Reads the object of a `POST`, without `id` and `adapter`.
    ///
    /// # Errors
    /// [`InvalidField`] names the first field that is unknown or wrong, such as `browser.viewport.width`.
    pub fn from_json(value: &Value, bounds: &Bounds) -> Result<Self, InvalidField> {
        read::settings(value, bounds)
    }

    /// The settings after a JSON Merge Patch (RFC 7396); `null` removes a setting.
    ///
    /// # Errors
    /// As [`Settings::from_json`], for the fields of the patch and for the whole that it makes.
    pub fn merge_patch(&self, patch: &Value, bounds: &Bounds) -> Result<Self, InvalidField> {
        patch::apply(self, patch, bounds)
    }

    /// Every field as it may be shown: absent ones are `null`, the upstream proxy has no password.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "ttl": self.ttl.as_secs(),
            "maxAge": self.max_age.map(|max_age| max_age.as_secs()),
            "browser": {
                "userAgent": self.browser.user_agent,
                "viewport": self.browser.viewport.map(|viewport| json!({"width": viewport.width, "height": viewport.height})),
                "locale": self.browser.locale,
                "timezone": self.browser.timezone,
            },
            "rateLimit": {
                "requestsPerSecond": self.rate_limit.requests_per_second,
                "burst": self.rate_limit.burst,
                "concurrency": self.rate_limit.concurrency,
                "perHost": self.rate_limit.per_host,
                "onLimit": self.rate_limit.on_limit,
                "maxWaitMs": self.rate_limit.max_wait_ms,
            },
            "render": self.render,
            "headers": self.headers,
            "upstreamProxy": self.upstream_proxy.as_ref().map(ToString::to_string),
            "egress": self.egress(),
            "labels": self.labels,
        })
    }

    /// The upstream proxy that it leaves by, without password: its own, or that of the pool which it is bound to.
    #[must_use]
    pub fn egress(&self) -> Option<String> {
        match &self.upstream_proxy {
            Some(own) => Some(own.to_string()),
            None => self.egress.as_deref().map(str::to_owned),
        }
    }

    /// What [`Settings::from_json`] reads back: absent fields absent, the password in its place, without what is not settable.
    fn to_complete_json(&self) -> Value {
        let mut shown = self.to_json();
        shown["upstreamProxy"] = json!(self.upstream_proxy.as_ref().map(ProxyUrl::expose));
        shown["egress"] = Value::Null;
        without_nulls(&mut shown);
        shown
    }
}

impl Serialize for Settings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut complete = self.to_complete_json();
        if let Some(egress) = &self.egress {
            complete[EGRESS] = json!(egress);
        }
        complete.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Settings {
    /// Reads what was serialized, whatever bounds the configuration sets today.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let unbounded = Bounds {
            default_ttl: DEFAULT_TTL,
            max_ttl: Duration::from_secs(read::MAX_SECONDS),
        };
        let mut value = Value::deserialize(deserializer)?;
        let egress = match value
            .as_object_mut()
            .and_then(|fields| fields.shift_remove(EGRESS))
        {
            None => None,
            Some(Value::String(egress)) => Some(egress.into()),
            Some(_) => return Err(serde::de::Error::custom("`egress`: must be a string")),
        };
        let settings = Self::from_json(&value, &unbounded).map_err(serde::de::Error::custom)?;
        Ok(Self { egress, ..settings })
    }
}

/// The field that stores have and the API only shows.
const EGRESS: &str = "egress";

fn without_nulls(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    let kept = std::mem::take(fields)
        .into_iter()
        .filter(|(_, field)| !field.is_null())
        .map(|(name, mut field)| {
            without_nulls(&mut field);
            (name, field)
        });
    *fields = kept.collect::<Map<_, _>>();
}

const DEFAULT_TTL: Duration = Duration::from_mins(30);
