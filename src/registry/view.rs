//! A session as the admin API shows it (INTERFACE.md, section 6).

use serde_json::{Value, json};

use super::live::{Defaults, LiveSession, policy_of};
use crate::session::id::SessionId;
use crate::session::limiter::{Limiter, View};
use crate::session::record::{Counters, Record};
use crate::session::settings::Settings;
use crate::session::time::Timestamp;

/// What is shown of a session: no cookie value, no storage, no password.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its name.
    pub id: SessionId,
    adapter: &'static str,
    settings: Settings,
    created: Timestamp,
    last_used: Timestamp,
    expires: Timestamp,
    cookies: usize,
    origins: Vec<String>,
    counters: Counters,
    limiter: View,
}

impl SessionView {
    /// A session in use here.
    pub fn of_live(session: &LiveSession, now: Timestamp) -> Self {
        let state = session.state();
        Self {
            id: session.id().clone(),
            adapter: session.adapter_name(),
            settings: (**state.settings()).clone(),
            created: session.created(),
            last_used: session.last_used(),
            expires: session.expires(),
            cookies: state.jar.live(now).count(),
            origins: state
                .storage
                .origins()
                .iter()
                .map(ToString::to_string)
                .collect(),
            counters: session.counters(),
            limiter: session.gate().view(now),
        }
    }

    pub(super) fn of_record(
        record: &Record,
        adapter: &'static str,
        defaults: &Defaults,
        now: Timestamp,
    ) -> Self {
        let policy = policy_of(&record.settings, &defaults.policy);
        Self {
            id: record.id.clone(),
            adapter,
            settings: record.settings.clone(),
            created: record.created,
            last_used: record.last_used,
            expires: record.expires,
            cookies: record.jar.live(now).count(),
            origins: record
                .storage
                .origins()
                .iter()
                .map(ToString::to_string)
                .collect(),
            counters: record.counters,
            limiter: Limiter::new(policy, &record.limiter, now).view(now),
        }
    }

    /// The session object of the API.
    pub fn to_json(&self) -> Value {
        let mut object = json!({
            "id": self.id.as_str(),
            "adapter": self.adapter,
        });
        let fields = object.as_object_mut().expect("made as an object above");
        if let Value::Object(settings) = self.settings.to_json() {
            fields.extend(settings);
        }
        if let Value::Object(rest) = json!({
            "createdAt": self.created,
            "lastUsedAt": self.last_used,
            "expiresAt": self.expires,
            "cookieCount": self.cookies,
            "origins": self.origins,
            "counters": self.counters,
            "limiter": {
                "available": self.limiter.available,
                "nextAllowedAt": self.limiter.next_allowed_at,
            },
        }) {
            fields.extend(rest);
        }
        object
    }
}
