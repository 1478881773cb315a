//! The hosts that asked to be left alone for a while, and until when.

use std::collections::HashMap;
use std::time::Duration;

use super::gcra::{nanos, timestamp};
use super::state::LimiterState;
use crate::session::time::Timestamp;

/// The longest pause, whatever an origin asks for: a wrong date must not shut a session out for good.
pub const MAX_PAUSE: Duration = Duration::from_hours(24);

/// How many hosts of a session can be paused at once. Beyond it the pause that ends first gives way.
pub const MAX_PAUSES: usize = 1024;

/// Pauses by host, at most [`MAX_PAUSES`] of at most [`MAX_PAUSE`] each.
#[derive(Debug, Clone)]
pub(super) struct Pauses {
    until: HashMap<Box<str>, Timestamp>,
    /// No pause ends before this.
    first_end: Timestamp,
}

impl Pauses {
    pub(super) fn new() -> Self {
        Self {
            until: HashMap::new(),
            first_end: Timestamp::MAX,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.until.is_empty()
    }

    /// Pauses `host` until `until`, or until `MAX_PAUSE` from now if that is earlier. A pause is never shortened: of two
    /// answers that cross on the way nobody knows which the origin means.
    pub(super) fn set(&mut self, host: &str, until: Timestamp, now: Timestamp) {
        let until = until.min(now + MAX_PAUSE);
        if until <= now {
            return;
        }
        if let Some(present) = self.until.get_mut(host) {
            *present = until.max(*present);
        } else if self.make_room(until, now) {
            self.until.insert(host.into(), until);
        }
        self.first_end = self.first_end.min(until);
    }

    /// When the pause of `host` ends, if it is paused at `now`.
    pub(super) fn until(&self, host: &str, now: Timestamp) -> Option<Timestamp> {
        if self.until.is_empty() {
            return None;
        }
        self.until.get(host).copied().filter(|until| *until > now)
    }

    /// Forgets the pauses that are over.
    pub(super) fn prune(&mut self, now: Timestamp) {
        if self.first_end > now {
            return;
        }
        self.until.retain(|_, until| *until > now);
        self.first_end = self.until.values().copied().min().unwrap_or(Timestamp::MAX);
    }

    /// Takes up the pauses of a stored limiter that are not over.
    pub(super) fn load(&mut self, state: &LimiterState, now: Timestamp) {
        for (host, until) in &state.pauses {
            self.set(host, timestamp(*until), now);
        }
    }

    /// Writes down the pauses that are not over.
    pub(super) fn save(&self, state: &mut LimiterState, now: Timestamp) {
        let lasting = self.iter().filter(|(_, until)| *until > now);
        state.pauses = lasting
            .map(|(host, until)| (host.into(), nanos(until)))
            .collect();
    }

    /// The paused hosts; some of the pauses may be over.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Timestamp)> {
        self.until.iter().map(|(host, until)| (&**host, *until))
    }

    /// The clock was set back by `step`: pauses end as much earlier by its face.
    pub(super) fn shift_back(&mut self, step: Duration) {
        for until in self.until.values_mut() {
            *until = *until - step;
        }
        self.first_end = self.first_end - step;
    }

    /// Whether there is room for a pause until `until`, if need be by dropping one that ends sooner.
    fn make_room(&mut self, until: Timestamp, now: Timestamp) -> bool {
        self.prune(now);
        if self.until.len() < MAX_PAUSES {
            return true;
        }
        let first = self
            .until
            .iter()
            .min_by_key(|(_, end)| **end)
            .map(|(host, end)| (host.clone(), *end));
        match first {
            Some((host, end)) if end < until => self.until.remove(&host).is_some(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_unix_seconds(1_795_000_000 + seconds)
    }

    #[test]
    fn a_pause_ends_and_is_never_shortened() {
        let mut pauses = Pauses::new();
        pauses.set("a", at(10), at(0));
        pauses.set("a", at(5), at(0));
        pauses.set("b", at(0), at(0));
        assert_eq!(pauses.until("a", at(9)), Some(at(10)));
        assert_eq!(pauses.until("a", at(10)), None);
        assert_eq!(pauses.until("b", at(0)), None);
        pauses.prune(at(9));
        assert!(!pauses.is_empty());
        pauses.prune(at(10));
        assert!(pauses.is_empty());
    }

    #[test]
    fn no_pause_is_longer_than_a_day() {
        let mut pauses = Pauses::new();
        pauses.set("a", Timestamp::MAX, at(0));
        assert_eq!(pauses.until("a", at(0)), Some(at(86_400)));
    }

    #[test]
    fn when_full_the_pause_that_ends_first_gives_way() {
        let mut pauses = Pauses::new();
        for n in 0..MAX_PAUSES {
            let end = 100 + i64::try_from(n).expect("small");
            pauses.set(&format!("host-{n}"), at(end), at(0));
        }
        pauses.set("sooner", at(50), at(0));
        assert_eq!(pauses.until("sooner", at(0)), None);
        pauses.set("later", at(5000), at(0));
        assert_eq!(pauses.until("later", at(0)), Some(at(5000)));
        assert_eq!(pauses.until("host-0", at(0)), None);
        assert_eq!(pauses.iter().count(), MAX_PAUSES);
    }

    #[test]
    fn the_pause_of_a_host_that_is_paused_already_moves_even_when_full() {
        let mut pauses = Pauses::new();
        for n in 0..MAX_PAUSES {
            pauses.set(&format!("host-{n}"), at(100), at(0));
        }
        pauses.set("host-7", at(200), at(0));
        assert_eq!(pauses.until("host-7", at(0)), Some(at(200)));
        assert_eq!(pauses.iter().count(), MAX_PAUSES);
    }
}
