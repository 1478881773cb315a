//! The head of a record: what is one value a field, of settings, times and counts.

use std::convert::Infallible;
use std::str::FromStr;

use serde::Deserialize as _;
use serde_json::Value;

use super::secret::Place;
use super::{Codec, FORMAT, Unreadable, broken};
use crate::session::id::SessionId;
use crate::session::record::{Counters, Generation, Record};
use crate::session::settings::Settings;
use crate::session::time::Timestamp;

/// The head of a stored record.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::adapters) struct Head {
    pub(in crate::adapters) generation: Generation,
    pub(in crate::adapters) revision: u64,
    pub(in crate::adapters) created: Timestamp,
    pub(in crate::adapters) last_used: Timestamp,
    pub(in crate::adapters) expires: Timestamp,
    pub(in crate::adapters) settings: Settings,
    pub(in crate::adapters) counters: Counters,
}

impl From<&Record> for Head {
    fn from(record: &Record) -> Self {
        Self {
            generation: record.generation,
            revision: record.revision,
            created: record.created,
            last_used: record.last_used,
            expires: record.expires,
            settings: record.settings.clone(),
            counters: record.counters,
        }
    }
}

impl Head {
    /// The counters and their fields.
    pub(in crate::adapters) fn counters(counters: &Counters) -> [(&'static str, u64); 7] {
        [
            ("requests", counters.requests),
            ("rendered", counters.rendered),
            ("delayed", counters.delayed),
            ("rejected", counters.rejected),
            ("failed", counters.failed),
            ("bytesIn", counters.bytes_in),
            ("bytesOut", counters.bytes_out),
        ]
    }
}

impl Codec {
    /// The fields of a head and their text: `format`; `generation`, 32 hexadecimal digits; `revision`; `created`, `lastUsed` and
    /// `expires` in microseconds since the Unix epoch; `settings`, see [`Self::settings`]; and the
    /// [counters](Head::counters).
    pub(in crate::adapters) fn head(
        &self,
        id: &SessionId,
        head: &Head,
    ) -> Vec<(&'static str, String)> {
        let mut fields = vec![
            ("format", FORMAT.to_string()),
            ("generation", head.generation.to_string()),
            ("revision", head.revision.to_string()),
            ("created", head.created.as_micros().to_string()),
            ("lastUsed", head.last_used.as_micros().to_string()),
            ("expires", head.expires.as_micros().to_string()),
            ("settings", self.settings(id, &head.settings)),
        ];
        let counted = Head::counters(&head.counters);
        fields.extend(counted.map(|(name, count)| (name, count.min(MOST).to_string())));
        fields
    }

    /// Reads the fields of a head. A counter that is absent is 0; fields that are not of a head are passed over.
    pub(in crate::adapters) fn read_head<'a>(
        &self,
        id: &SessionId,
        field: impl Fn(&'static str) -> Option<&'a str>,
    ) -> Result<Head, Unreadable> {
        let damaged = |field, reason: &str| Unreadable::Damaged {
            id: id.clone(),
            field,
            reason: reason.to_owned(),
        };
        let require = |name| field(name).ok_or_else(|| damaged(name, "is missing"));
        let number =
            |name| read::<u64>(require(name)?).ok_or_else(|| damaged(name, "is no number"));
        let time = |name| {
            read(require(name)?)
                .map(Timestamp::from_micros)
                .ok_or_else(|| damaged(name, "is no time in microseconds"))
        };
        let count = |name| match field(name) {
            Some(_) => number(name),
            None => Ok(0),
        };
        let format = number("format")?;
        if format != u64::from(FORMAT) {
            return Err(Unreadable::Format {
                id: id.clone(),
                found: format,
            });
        }
        Ok(Head {
            generation: read(require("generation")?)
                .ok_or_else(|| damaged("generation", "is not 32 hexadecimal digits"))?,
            revision: number("revision")?,
            created: time("created")?,
            last_used: time("lastUsed")?,
            expires: time("expires")?,
            settings: self.read_settings(id, require("settings")?)?,
            counters: Counters {
                requests: count("requests")?,
                rendered: count("rendered")?,
                delayed: count("delayed")?,
                rejected: count("rejected")?,
                failed: count("failed")?,
                bytes_in: count("bytesIn")?,
                bytes_out: count("bytesOut")?,
            },
        })
    }

    /// Settings as JSON in the form of the API, but that what is absent is absent, and that the values of `headers` and
    /// the upstream proxy, password included, are sealed.
    pub(in crate::adapters) fn settings(&self, id: &SessionId, settings: &Settings) -> String {
        let mut json = serde_json::to_value(settings).expect("settings are JSON");
        let Ok(()) = each_secret::<Infallible>(id, &mut json, |place, secret| {
            *secret = self.protect_text(&place, secret);
            Ok(())
        });
        json.to_string()
    }

    /// Reads stored settings.
    pub(in crate::adapters) fn read_settings(
        &self,
        id: &SessionId,
        text: &str,
    ) -> Result<Settings, Unreadable> {
        let damaged = |reason| Unreadable::Damaged {
            id: id.clone(),
            field: "settings",
            reason,
        };
        let mut json: Value =
            serde_json::from_str(text).map_err(|error| damaged(broken(&error)))?;
        each_secret(id, &mut json, |place, secret| {
            let plain = self.reveal_text(&place, secret)?;
            plain.as_str().clone_into(secret);
            Ok(())
        })?;
        Settings::deserialize(json).map_err(|error| damaged(format!("are not valid: {error}")))
    }
}

/// The greatest count that every store can hold.
const MOST: u64 = i64::MAX as u64;

/// Changes the secrets of settings in JSON where they stand.
fn each_secret<E>(
    id: &SessionId,
    json: &mut Value,
    mut change: impl FnMut(Place<'_>, &mut String) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(Value::Object(headers)) = json.get_mut("headers") {
        for (name, value) in headers {
            if let Value::String(value) = value {
                let of = &[name.as_str()];
                let field = "header";
                change(Place { id, field, of }, value)?;
            }
        }
    }
    if let Some(Value::String(proxy)) = json.get_mut("upstreamProxy") {
        let field = "upstream proxy";
        change(Place { id, field, of: &[] }, proxy)?;
    }
    Ok(())
}

fn read<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}
