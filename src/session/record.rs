//! A session as it is stored.

use std::fmt;
use std::ops::Add;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::id::SessionId;
use super::jar::Jar;
use super::limiter::LimiterState;
use super::settings::Settings;
use super::storage::Storage;
use super::time::Timestamp;

/// Everything that is stored of a session. Changes reach it as a [`super::Delta`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Its name.
    pub id: SessionId,
    /// Which session of that name it is: a late write of a deleted one must not reach its successor.
    pub generation: Generation,
    /// How many changes it has seen that other holders of a copy must learn of: the [durable](super::Delta::is_durable) ones.
    #[serde(default)]
    pub revision: u64,
    /// When it was created.
    pub created: Timestamp,
    /// When it was last used.
    pub last_used: Timestamp,
    /// When it ends if it is not used again.
    pub expires: Timestamp,
    /// What its owner set.
    pub settings: Settings,
    /// Its cookies.
    pub jar: Jar,
    /// Its localStorage and sessionStorage.
    pub storage: Storage,
    /// What it has done.
    pub counters: Counters,
    /// The saved state of its limiter.
    pub limiter: LimiterState,
}

impl Record {
    /// A session without cookies that begins, and is first used, at `now`.
    #[must_use]
    pub fn new(id: SessionId, generation: Generation, settings: Settings, now: Timestamp) -> Self {
        Self {
            id,
            generation,
            revision: 0,
            created: now,
            last_used: now,
            expires: settings.expiry_after_use(now, now),
            settings,
            jar: Jar::default(),
            storage: Storage::default(),
            counters: Counters::default(),
            limiter: LimiterState::default(),
        }
    }

    /// When the session ends if it is used at `now`: after `ttl`, and never later than `max_age` after its creation.
    #[must_use]
    pub fn expiry_after_use(&self, now: Timestamp) -> Timestamp {
        self.settings.expiry_after_use(self.created, now)
    }

    /// Whether its end has come.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires <= now
    }
}

impl Settings {
    /// When a session of these settings, created at `created`, ends if it is used at `now`.
    #[must_use]
    pub fn expiry_after_use(&self, created: Timestamp, now: Timestamp) -> Timestamp {
        let slides = now + self.ttl;
        self.max_age
            .map_or(slides, |max_age| slides.min(created + max_age))
    }
}

/// 128 random bits that tell one session of a name from the next; printed as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Generation(u128);

impl Generation {
    /// A generation from random bits.
    #[must_use]
    pub const fn new(random: u128) -> Self {
        Self(random)
    }

    /// The bits.
    #[must_use]
    pub const fn get(self) -> u128 {
        self.0
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a generation is 32 hexadecimal digits")]
pub struct InvalidGeneration;

impl FromStr for Generation {
    type Err = InvalidGeneration;

    fn from_str(text: &str) -> Result<Self, InvalidGeneration> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidGeneration);
        }
        u128::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| InvalidGeneration)
    }
}

impl Serialize for Generation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Generation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

/// What a session has done so far. Adding saturates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Counters {
    /// Requests admitted.
    pub requests: u64,
    /// Of them, those that took the browser route.
    pub rendered: u64,
    /// Of them, those that waited for the limiter.
    pub delayed: u64,
    /// Requests that the limiter refused.
    pub rejected: u64,
    /// Requests that ended in a fault of burdock's or of the way to the origin.
    pub failed: u64,
    /// Bytes that came from origins.
    pub bytes_in: u64,
    /// Bytes that went to origins.
    pub bytes_out: u64,
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            rendered: self.rendered.saturating_add(other.rendered),
            delayed: self.delayed.saturating_add(other.delayed),
            rejected: self.rejected.saturating_add(other.rejected),
            failed: self.failed.saturating_add(other.failed),
            bytes_in: self.bytes_in.saturating_add(other.bytes_in),
            bytes_out: self.bytes_out.saturating_add(other.bytes_out),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn record(ttl: u64, max_age: Option<u64>) -> Record {
        let settings = Settings {
            ttl: Duration::from_secs(ttl),
            max_age: max_age.map(Duration::from_secs),
            ..Settings::default()
        };
        Record::new(
            "a".parse().unwrap(),
            Generation::new(7),
            settings,
            Timestamp::from_unix_seconds(1_000),
        )
    }

    #[test]
    fn use_moves_the_end_but_not_beyond_the_greatest_age() {
        let at = Timestamp::from_unix_seconds;
        let sliding = record(60, None);
        assert_eq!(sliding.expires, at(1_060));
        assert_eq!(sliding.expiry_after_use(at(1_050)), at(1_110));
        let bounded = record(60, Some(100));
        assert_eq!(bounded.expires, at(1_060));
        assert_eq!(bounded.expiry_after_use(at(1_050)), at(1_100));
        assert_eq!(record(60, Some(30)).expires, at(1_030));
    }

    #[test]
    fn it_is_expired_the_moment_its_end_comes() {
        let record = record(60, None);
        assert!(!record.is_expired(record.expires - Duration::from_micros(1)));
        assert!(record.is_expired(record.expires));
    }

    #[test]
    fn a_generation_prints_and_reads_back() {
        let generation = Generation::new(0x0123_4567);
        assert_eq!(generation.to_string(), "00000000000000000000000001234567");
        assert_eq!(generation.to_string().parse(), Ok(generation));
        for text in [
            "",
            "1234",
            "+0000000000000000000000001234567",
            "zz000000000000000000000001234567",
        ] {
            assert_eq!(text.parse::<Generation>(), Err(InvalidGeneration), "{text}");
        }
    }

    #[test]
    fn what_was_serialized_reads_back() {
        let record = record(60, Some(100));
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }
}
