//! What is kept of a limiter when its session is not in this process.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::gcra::{nanos, timestamp};
use crate::session::time::Timestamp;

/// The state of a limiter, to be stored with its session and given to [`Limiter::new`](super::Limiter::new).
///
/// All times are nanoseconds since the Unix epoch. A bucket that is full and a pause that is over are not in it, so the state
/// of a session at rest is empty. Requests in flight and waiting are not in it: they live and die with their connections.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimiterState {
    /// The theoretical arrival time of the bucket that hosts share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tat: Option<u64>,
    /// The theoretical arrival times of the buckets that belong to one host.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) hosts: BTreeMap<Box<str>, u64>,
    /// When the pauses of hosts end.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) pauses: BTreeMap<Box<str>, u64>,
}

impl LimiterState {
    /// A state put together from what a store keeps apart: for each bucket when it is full, the empty name being the one that
    /// hosts share; and when the pauses of hosts end.
    #[must_use]
    pub fn from_parts(
        buckets: impl IntoIterator<Item = (Box<str>, Timestamp)>,
        pauses: impl IntoIterator<Item = (Box<str>, Timestamp)>,
    ) -> Self {
        let mut hosts: BTreeMap<_, _> = buckets
            .into_iter()
            .map(|(host, full_at)| (host, nanos(full_at)))
            .collect();
        Self {
            tat: hosts.remove(""),
            hosts,
            pauses: pauses
                .into_iter()
                .map(|(host, until)| (host, nanos(until)))
                .collect(),
        }
    }

    /// The buckets that are not full, and when each is; the empty name is the one that hosts share.
    pub fn buckets(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        let shared = self.tat.iter().map(|tat| ("", timestamp(*tat)));
        let hosts = self.hosts.iter();
        shared.chain(hosts.map(|(host, tat)| (&**host, timestamp(*tat))))
    }

    /// When the emptiest bucket is full; `None` where all are.
    #[must_use]
    pub fn full_at(&self) -> Option<Timestamp> {
        let emptiest = self.hosts.values().copied().max().max(self.tat);
        emptiest.map(timestamp)
    }

    /// The hosts that are paused, and until when.
    pub fn pauses(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.pauses
            .iter()
            .map(|(host, until)| (&**host, timestamp(*until)))
    }

    /// Whether there is nothing to remember: every bucket is full and no host is paused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tat.is_none() && self.hosts.is_empty() && self.pauses.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_short_and_stable() {
        let state = LimiterState {
            tat: Some(1_795_000_000_000_000_001),
            hosts: BTreeMap::from([("a.example".into(), 1_795_000_000_000_000_002)]),
            pauses: BTreeMap::from([("b.example".into(), 1_795_000_000_000_000_000)]),
        };
        for (state, stored) in [
            (LimiterState::default(), "{}"),
            (
                state,
                r#"{"tat":1795000000000000001,"hosts":{"a.example":1795000000000000002},"pauses":{"b.example":1795000000000000000}}"#,
            ),
        ] {
            assert_eq!(serde_json::to_string(&state).expect("plain values"), stored);
            let read: LimiterState = serde_json::from_str(stored).expect("what was written");
            assert_eq!(read, state);
            assert_eq!(read.is_empty(), stored == "{}");
        }
    }
}
