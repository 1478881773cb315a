//! The buckets of one rate: one for the session, or one for each of its hosts.

use std::collections::HashMap;
use std::time::Duration;

use super::gcra::{Gcra, Tat};
use super::policy::Rate;
use super::state::LimiterState;
use crate::session::time::Timestamp;

/// How many hosts of a session can have a bucket of their own at once.
///
/// A bucket that is full again is dropped, since it says no more than none does. Where all are in use, the hosts beyond share one
/// bucket: each of them stays within the rate, and goes slower than it might.
pub const MAX_HOSTS: usize = 4096;

#[derive(Debug, Clone)]
pub(super) struct Buckets {
    gcra: Gcra,
    /// The one bucket; where hosts have their own, that of the hosts beyond [`MAX_HOSTS`].
    shared: Tat,
    own: Option<Own>,
}

/// Buckets by host.
#[derive(Debug, Clone, Default)]
struct Own {
    tats: HashMap<Box<str>, Tat>,
    /// When a full table was last found to have no bucket to drop: the moment before which it is of no use to look again.
    busy_until: Timestamp,
}

impl Buckets {
    /// Buckets of `rate`, as full as `state` says.
    ///
    /// A state made under the other setting of `per_host` is read so that no host gets more than it had: the one bucket is as
    /// empty as the emptiest of the hosts', and every host's starts as empty as the one was.
    pub(super) fn new(rate: Rate, per_host: bool, state: &LimiterState, now: Timestamp) -> Self {
        let gcra = Gcra::new(rate);
        let stored = |tat: u64| gcra.bounded(Tat(tat), now);
        let mut buckets = Self {
            gcra,
            shared: stored(state.tat.unwrap_or_default()),
            own: per_host.then(Own::default),
        };
        for (host, tat) in &state.hosts {
            let tat = stored(*tat);
            match &mut buckets.own {
                Some(own) if own.tats.len() < MAX_HOSTS => {
                    own.tats.insert(host.clone(), tat);
                }
                _ => buckets.shared = buckets.shared.max(tat),
            }
        }
        buckets
    }

    pub(super) fn per_host(&self) -> bool {
        self.own.is_some()
    }

    /// Takes a token for a request to `host` that arrives `now`; false where there is none.
    pub(super) fn take(&mut self, host: &str, now: Timestamp) -> bool {
        let gcra = self.gcra;
        gcra.take(self.tat_mut(host, now), now)
    }

    /// Takes a token for a request to `host` that has been waiting for it; false where there is none.
    pub(super) fn take_waiting(&mut self, host: &str, now: Timestamp) -> bool {
        let gcra = self.gcra;
        gcra.take_waiting(self.tat_mut(host, now), now)
    }

    /// The earliest moment at which the `n`th token for `host` (counted from 1) can be taken, where none is taken before `from`.
    pub(super) fn nth(&self, host: &str, n: usize, from: Timestamp) -> Timestamp {
        self.gcra.nth(self.tat(host), n, from)
    }

    /// How many requests the rate lets go at `now` to whichever host: what the emptiest bucket holds.
    pub(super) fn available(&self, now: Timestamp) -> u32 {
        let emptiest = self.hosts().map(|(_, tat)| tat).max();
        let emptiest = emptiest.map_or(self.shared, |tat| tat.max(self.shared));
        self.gcra.available(emptiest, now)
    }

    /// The hosts that have a bucket of their own.
    pub(super) fn hosts(&self) -> impl Iterator<Item = (&str, Tat)> {
        let own = self.own.iter().flat_map(|own| &own.tats);
        own.map(|(host, tat)| (&**host, *tat))
    }

    /// Writes down every bucket that is not full.
    pub(super) fn save(&self, state: &mut LimiterState, now: Timestamp) {
        let lasting = |tat: Tat| (!tat.is_full(now)).then_some(tat.0);
        state.tat = lasting(self.shared);
        state.hosts = self
            .hosts()
            .filter_map(|(host, tat)| Some((host.into(), lasting(tat)?)))
            .collect();
    }

    /// The clock was set back by `step`: buckets are full as much earlier by its face.
    pub(super) fn shift_back(&mut self, step: Duration) {
        self.shared = self.shared.shifted_back(step);
        if let Some(own) = &mut self.own {
            own.busy_until = own.busy_until - step;
            for tat in own.tats.values_mut() {
                *tat = tat.shifted_back(step);
            }
        }
    }

    fn tat(&self, host: &str) -> Tat {
        let own = self.own.as_ref().and_then(|own| own.tats.get(host));
        own.copied().unwrap_or(self.shared)
    }

    fn tat_mut(&mut self, host: &str, now: Timestamp) -> &mut Tat {
        let Some(own) = &mut self.own else {
            return &mut self.shared;
        };
        if !own.tats.contains_key(host) {
            if !own.make_room(now) {
                return &mut self.shared;
            }
            // The host may have gone by the shared bucket before: a bucket of its own must not give it a second burst.
            own.tats.insert(host.into(), self.shared);
        }
        own.tats
            .get_mut(host)
            .expect("the host was found or put there above")
    }
}

impl Own {
    /// Whether there is room for another host, if need be by dropping the buckets that are full.
    fn make_room(&mut self, now: Timestamp) -> bool {
        if self.tats.len() < MAX_HOSTS {
            return true;
        }
        if now < self.busy_until {
            return false;
        }
        self.tats.retain(|_, tat| !tat.is_full(now));
        let first_full = self.tats.values().min().copied().unwrap_or_default();
        self.busy_until = first_full.full_at();
        self.tats.len() < MAX_HOSTS
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000 + millis * 1000)
    }

    fn buckets(per_host: bool, state: &LimiterState) -> Buckets {
        let rate = Rate::new(1.0, NonZeroU32::new(2).expect("two")).expect("in range");
        Buckets::new(rate, per_host, state, at(0))
    }

    fn saved(buckets: &Buckets, now: Timestamp) -> LimiterState {
        let mut state = LimiterState::default();
        buckets.save(&mut state, now);
        state
    }

    #[test]
    fn hosts_share_one_bucket_or_have_their_own() {
        for (per_host, wanted) in [(false, [true, true, false]), (true, [true, true, true])] {
            let mut buckets = buckets(per_host, &LimiterState::default());
            let taken = ["a", "a", "b"].map(|host| buckets.take(host, at(0)));
            assert_eq!(taken, wanted, "per_host: {per_host}");
            assert_eq!(buckets.available(at(0)), 0);
        }
    }

    #[test]
    fn a_state_survives_and_a_full_bucket_leaves_none() {
        let mut buckets = buckets(true, &LimiterState::default());
        for (host, millis) in [("a", 0), ("a", 0), ("b", 0)] {
            assert!(buckets.take(host, at(millis)));
        }
        let state = saved(&buckets, at(500));
        assert_eq!(state.hosts.len(), 2);
        let restored = self::buckets(true, &state);
        assert_eq!(restored.nth("a", 1, at(0)), at(1000));
        assert_eq!(restored.nth("b", 1, at(0)), at(0));
        assert_eq!(saved(&buckets, at(1000)).hosts.len(), 1);
        assert!(saved(&buckets, at(2000)).is_empty());
    }

    #[test]
    fn a_state_of_the_other_kind_never_gives_a_second_burst() {
        let mut by_host = buckets(true, &LimiterState::default());
        while by_host.take("a", at(0)) {}
        let one = buckets(false, &saved(&by_host, at(0)));
        assert_eq!(one.available(at(0)), 0);
        let mut again = buckets(true, &saved(&one, at(0)));
        assert!(!again.take("a", at(0)));
        assert!(!again.take("b", at(999)));
        assert!(again.take("b", at(1000)));
    }

    #[test]
    fn when_every_bucket_is_in_use_more_hosts_share_one() {
        let mut buckets = buckets(true, &LimiterState::default());
        for n in 0..MAX_HOSTS {
            assert!(buckets.take(&format!("host-{n}"), at(0)));
        }
        let taken = ["x", "y", "z"].map(|host| buckets.take(host, at(0)));
        assert_eq!(taken, [true, true, false]);
        assert_eq!(buckets.hosts().count(), MAX_HOSTS);
        // A host with a bucket is not touched by the crowd.
        assert!(buckets.take("host-1", at(0)));

        // A second later all buckets but one are full again and make room; `x` is held to what it took from the shared one.
        assert!(buckets.take("x", at(1000)));
        assert!(!buckets.take("x", at(1000)));
        assert_eq!(buckets.hosts().count(), 2);
    }
}
