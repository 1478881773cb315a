//! What a request changed of a session, small and mergeable: the only merge there is in Rust.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::jar::{Cookie, CookieKey, EchoMark};
use super::limiter::LimiterState;
use super::record::{Counters, Record};
use super::settings::Settings;
use super::storage::StorageDelta;
use super::time::Timestamp;

/// A change to a session. [`Record::apply`] of two, one after the other, is `apply` of [`Delta::then`], but for the
/// revision: that counts changes.
///
/// ```
/// use burdock::session::{Counters, Delta};
///
/// let one = Delta { counters: Counters { requests: 1, ..Counters::default() }, ..Delta::default() };
/// let three = one.clone().then(one.clone()).then(one);
/// assert_eq!(three.counters.requests, 3);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Delta {
    /// Cookies set and removed.
    pub cookies: CookieDelta,
    /// Storage items set and removed.
    pub storage: StorageDelta,
    /// The settings as they are from now on.
    pub settings: Option<Settings>,
    /// The session was used, or its expiry moved.
    pub touched: Option<Touch>,
    /// Added to the session's counters.
    pub counters: Counters,
    /// The limiter's state as it is from now on.
    pub limiter: Option<LimiterState>,
}

impl Delta {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the change must be acknowledged by the store before a response is released: cookies, storage and settings
    /// must, a touch, counters and the limiter's state may lag.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        !self.cookies.is_empty() || !self.storage.is_empty() || self.settings.is_some()
    }

    /// This change followed by `later`, as one. Associative.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        Self {
            cookies: self.cookies.then(later.cookies),
            storage: self.storage.then(later.storage),
            settings: later.settings.or(self.settings),
            touched: match (self.touched, later.touched) {
                (Some(earlier), Some(later)) => Some(earlier.then(later)),
                (earlier, later) => later.or(earlier),
            },
            counters: self.counters + later.counters,
            limiter: later.limiter.or(self.limiter),
        }
    }
}

/// When a session was last used and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Touch {
    /// The use; a touch that is older than what is known changes nothing.
    pub last_used: Timestamp,
    /// The end of the session from there.
    pub expires: Timestamp,
}

impl Touch {
    /// Of two touches the one of the later use holds; of two of one use the one that came later.
    fn then(self, later: Self) -> Self {
        if later.last_used >= self.last_used {
            later
        } else {
            self
        }
    }
}

/// Cookies set and removed by key, and the values that became stale thereby.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CookieDelta {
    cleared: bool,
    #[serde(with = "as_list")]
    changes: BTreeMap<CookieKey, Option<Arc<Cookie>>>,
    echoes: Vec<EchoMark>,
}

/// One change to a jar.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum CookieChange {
    /// The cookie takes the place of any with its key.
    Set(#[serde(with = "shared")] Arc<Cookie>),
    /// The cookie of this key goes, if there is one.
    Remove(CookieKey),
}

impl CookieDelta {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.cleared && self.changes.is_empty() && self.echoes.is_empty()
    }

    /// Whether every cookie goes before [`Self::changes`] are made.
    #[must_use]
    pub fn cleared(&self) -> bool {
        self.cleared
    }

    /// The changes, one a key, in the order of the keys (in which they are made is all the same).
    pub fn changes(&self) -> impl Iterator<Item = CookieChange> + '_ {
        self.changes.iter().map(|(key, cookie)| match cookie {
            Some(cookie) => CookieChange::Set(Arc::clone(cookie)),
            None => CookieChange::Remove(key.clone()),
        })
    }

    /// What became stale or fresh, in order; see [`super::jar::Superseded`].
    #[must_use]
    pub fn echoes(&self) -> &[EchoMark] {
        &self.echoes
    }

    /// This change followed by `later`, as one. Associative.
    #[must_use]
    pub fn then(mut self, mut later: Self) -> Self {
        if later.cleared {
            self.cleared = true;
            self.changes = later.changes;
        } else if self.changes.is_empty() {
            self.changes = later.changes;
        } else {
            self.changes.append(&mut later.changes);
        }
        // Marks are replayed, not merged: which of them a bounded memory forgets depends on their whole order.
        self.echoes.append(&mut later.echoes);
        self
    }

    pub(super) fn clear(&mut self) {
        self.cleared = true;
        self.changes.clear();
    }

    pub(super) fn set(&mut self, cookie: Arc<Cookie>) {
        self.changes.insert(cookie.key().clone(), Some(cookie));
    }

    pub(super) fn remove(&mut self, key: CookieKey) {
        self.changes.insert(key, None);
    }

    pub(super) fn mark(&mut self, mark: EchoMark) {
        self.echoes.push(mark);
    }

    pub(super) fn by_key(&self) -> &BTreeMap<CookieKey, Option<Arc<Cookie>>> {
        &self.changes
    }
}

impl Record {
    /// Makes the change.
    pub fn apply(&mut self, delta: &Delta) {
        self.revision += u64::from(delta.is_durable());
        self.jar.apply(&delta.cookies);
        self.storage.apply(&delta.storage);
        if let Some(settings) = &delta.settings {
            self.settings = settings.clone();
        }
        if let Some(touch) = delta.touched {
            let known = Touch {
                last_used: self.last_used,
                expires: self.expires,
            };
            Touch {
                last_used: self.last_used,
                expires: self.expires,
            } = known.then(touch);
        }
        self.counters = self.counters + delta.counters;
        if let Some(limiter) = &delta.limiter {
            self.limiter = limiter.clone();
        }
    }
}

/// A map by key as the list of its changes, since JSON has no keys but strings.
mod as_list {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serializer};

    use super::{Cookie, CookieChange, CookieKey};
    use crate::session::jar::{CookieParts, InvalidCookie};

    type Changes = BTreeMap<CookieKey, Option<Arc<Cookie>>>;

    pub(super) fn serialize<S: Serializer>(
        changes: &Changes,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(changes.iter().map(|(key, cookie)| match cookie {
            Some(cookie) => CookieChange::Set(Arc::clone(cookie)),
            None => CookieChange::Remove(key.clone()),
        }))
    }

    /// A cookie whose domain is a public suffix by this process's list is passed over, as a jar passes over a stored one.
    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Changes, D::Error> {
        let mut changes = Changes::new();
        for change in Vec::<StoredChange>::deserialize(deserializer)? {
            match change {
                StoredChange::Set(parts) => match Cookie::new(parts) {
                    Ok(cookie) => {
                        changes.insert(cookie.key().clone(), Some(Arc::new(cookie)));
                    }
                    Err(InvalidCookie::PUBLIC_SUFFIX) => {}
                    Err(error) => return Err(serde::de::Error::custom(error)),
                },
                StoredChange::Remove(key) => {
                    changes.insert(key, None);
                }
            }
        }
        Ok(changes)
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    enum StoredChange {
        Set(CookieParts),
        Remove(CookieKey),
    }
}

/// A shared cookie as the cookie itself.
mod shared {
    use std::sync::Arc;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Cookie;

    pub(super) fn serialize<S: Serializer>(
        cookie: &Arc<Cookie>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        Cookie::serialize(cookie, serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<Cookie>, D::Error> {
        Cookie::deserialize(deserializer).map(Arc::new)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::session::jar::{CookieUrl, Jar};
    use crate::session::record::Generation;
    use crate::session::storage::{Area, ItemKey};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

    fn record() -> Record {
        Record::new(
            "a".parse().unwrap(),
            Generation::new(1),
            Settings::default(),
            NOW,
        )
    }

    fn deltas() -> impl Strategy<Value = Delta> {
        let cookies = proptest::collection::vec((0..3u8, 0..3u8), 0..3).prop_map(|lines| {
            let url = CookieUrl {
                secure: true,
                host: "shop.example",
                path: "/",
            };
            lines
                .into_iter()
                .fold(CookieDelta::default(), |delta, (name, value)| {
                    let mut jar = Jar::default();
                    delta.then(jar.receive(
                        &url,
                        [format!("{name}={value}; Max-Age={value}").as_bytes()],
                        NOW,
                    ))
                })
        });
        let storage = proptest::option::of("[ab]").prop_map(|value| {
            let mut delta = StorageDelta::default();
            let key = ItemKey {
                origin: "https://a.example".parse().unwrap(),
                area: Area::LocalStorage,
                name: "k".into(),
            };
            match value {
                Some(value) => delta.set(key, &value),
                None => delta.remove(key),
            }
            delta
        });
        let settings = proptest::option::of(1..9u64).prop_map(|ttl| {
            ttl.map(|ttl| Settings {
                ttl: Duration::from_secs(ttl),
                ..Settings::default()
            })
        });
        let touched = proptest::option::of((0..5u64, 0..5u64)).prop_map(|touch| {
            touch.map(|(used, ends)| Touch {
                last_used: NOW + Duration::from_secs(used),
                expires: NOW + Duration::from_secs(ends),
            })
        });
        let counters = (any::<u64>(), 0..9u64).prop_map(|(requests, failed)| Counters {
            requests,
            failed,
            ..Counters::default()
        });
        (cookies, storage, settings, touched, counters).prop_map(
            |(cookies, storage, settings, touched, counters)| Delta {
                cookies,
                storage,
                settings,
                touched,
                counters,
                limiter: None,
            },
        )
    }

    #[test]
    fn nothing_is_empty_and_only_state_is_durable() {
        assert!(Delta::default().is_empty() && !Delta::default().is_durable());
        let touch = Touch {
            last_used: NOW,
            expires: NOW,
        };
        let touched = Delta {
            touched: Some(touch),
            ..Delta::default()
        };
        assert!(!touched.is_empty() && !touched.is_durable());
        let settings = Delta {
            settings: Some(Settings::default()),
            ..Delta::default()
        };
        assert!(settings.is_durable());
    }

    #[test]
    fn a_late_touch_changes_nothing() {
        let mut record = record();
        let touch = |seconds| Touch {
            last_used: NOW + Duration::from_secs(seconds),
            expires: NOW + Duration::from_secs(seconds + 60),
        };
        for seconds in [10, 5] {
            record.apply(&Delta {
                touched: Some(touch(seconds)),
                ..Delta::default()
            });
        }
        assert_eq!(
            (record.last_used, record.expires),
            (touch(10).last_used, touch(10).expires)
        );
    }

    proptest! {
        #[test]
        fn deltas_merge_associatively(a in deltas(), b in deltas(), c in deltas()) {
            let left = a.clone().then(b.clone()).then(c.clone());
            prop_assert_eq!(&left, &a.clone().then(b.clone().then(c.clone())));
            let (mut at_once, mut by_and_by) = (record(), record());
            at_once.apply(&left);
            for delta in [&a, &b, &c] {
                by_and_by.apply(delta);
            }
            let changes = [&a, &b, &c].iter().filter(|delta| delta.is_durable()).count();
            prop_assert_eq!(by_and_by.revision, changes as u64);
            by_and_by.revision = at_once.revision;
            prop_assert_eq!(at_once, by_and_by);
            let json = serde_json::to_string(&left).unwrap();
            prop_assert_eq!(serde_json::from_str::<Delta>(&json).unwrap(), left);
        }

        #[test]
        fn an_empty_delta_changes_nothing(delta in deltas()) {
            prop_assert_eq!(&delta.clone().then(Delta::default()), &delta);
            prop_assert_eq!(&Delta::default().then(delta.clone()), &delta);
        }
    }
}
