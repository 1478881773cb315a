//! The generic cell rate algorithm, decided by governor over theoretical arrival times that are ours to keep.

use std::cell::Cell;
use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{NotKeyed, StateStore};
use governor::{Quota, RateLimiter};

use super::policy::Rate;
use crate::session::time::Timestamp;

/// The theoretical arrival time of a bucket: the moment at which it is full again, in nanoseconds since the Unix epoch.
///
/// Being absolute it can be stored, and read by another process. The default is a bucket that was never used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Tat(pub(super) u64);

impl Tat {
    /// Whether the bucket is full: then there is nothing to remember of it.
    pub(super) fn is_full(self, now: Timestamp) -> bool {
        self.0 <= nanos(now)
    }

    /// The moment at which the bucket is full.
    pub(super) fn full_at(self) -> Timestamp {
        timestamp(self.0)
    }

    /// The same bucket after the clock was set back by `step`.
    pub(super) fn shifted_back(self, step: Duration) -> Self {
        Self(self.0.saturating_sub(saturating_nanos(step)))
    }
}

/// One rate, applied to as many buckets as there are theoretical arrival times.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gcra {
    quota: Quota,
    /// What a request costs, in nanoseconds.
    interval: u64,
    /// How far a theoretical arrival time may lie ahead of a request that still goes: the burst but for one.
    tolerance: u64,
}

impl Gcra {
    pub(super) fn new(rate: Rate) -> Self {
        // Rounded up, so that rounding never lets more through than the rate. A `Rate` lies between 1e-6 and 1e6,
        // so this lies between 1e3 and 1e15 and the cast is exact.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let interval = (1e9 / rate.per_second()).ceil() as u64;
        // governor's sums are unchecked: a bucket that takes longer than `LONGEST_REFILL` to fill would overflow them.
        let burst = u64::from(rate.burst().get()).min(LONGEST_REFILL / interval);
        let burst = u32::try_from(burst)
            .ok()
            .and_then(NonZeroU32::new)
            .expect("a burst is a u32, and an interval far shorter than the longest refill");
        let quota = Quota::with_period(Duration::from_nanos(interval))
            .expect("an interval of 1000 ns or more is not zero")
            .allow_burst(burst);
        Self {
            quota,
            interval,
            tolerance: interval * u64::from(burst.get() - 1),
        }
    }

    /// Takes a token for a request that arrives `now`; false, and nothing taken, where there is none.
    pub(super) fn take(&self, tat: &mut Tat, now: Timestamp) -> bool {
        self.decide(tat, nanos(now))
    }

    /// Takes a token for a request that has been waiting for it.
    ///
    /// It counts as taken when it was there, if that is no longer ago than a timer may be late: otherwise each wait would cost
    /// the rate the lateness of its timer, a tenth of it at 100 requests a second and a burst of 1. The allowance is at most one
    /// interval, so that no window ever sees more than one request beyond burst and rate.
    pub(super) fn take_waiting(&self, tat: &mut Tat, now: Timestamp) -> bool {
        let now = nanos(now);
        let late = now.saturating_sub(tat.0.saturating_sub(self.tolerance));
        let allowance = if late <= TIMER_LATENESS {
            late.min(self.interval)
        } else {
            0
        };
        self.decide(tat, now - allowance)
    }

    /// The earliest moment at which the `n`th token from now can be taken (counted from 1), where none is taken before `from`.
    pub(super) fn nth(&self, tat: Tat, n: usize, from: Timestamp) -> Timestamp {
        let before = u64::try_from(n.saturating_sub(1)).unwrap_or(u64::MAX);
        let theoretical = tat
            .0
            .max(nanos(from))
            .saturating_add(self.interval.saturating_mul(before));
        timestamp(theoretical.saturating_sub(self.tolerance)).max(from)
    }

    /// How many tokens could be taken at `now`.
    pub(super) fn available(&self, tat: Tat, now: Timestamp) -> u32 {
        let now = nanos(now);
        match (now + self.tolerance).checked_sub(tat.0.max(now)) {
            Some(spare) => u32::try_from(spare / self.interval + 1).unwrap_or(u32::MAX),
            None => 0,
        }
    }

    /// The arrival time, or that of an empty bucket where it lies further ahead than any this rate could have made.
    ///
    /// It does so when it was made by a slower rate, or under a clock that was ahead of ours.
    pub(super) fn bounded(&self, tat: Tat, now: Timestamp) -> Tat {
        tat.min(Tat(nanos(now) + self.tolerance + self.interval))
    }

    fn decide(&self, tat: &mut Tat, at: u64) -> bool {
        // governor counts from the reading its clock gives while the limiter is made: from the epoch, hence absolute times.
        let limiter: RateLimiter<NotKeyed, Memory, Present, NoOpMiddleware<Nanos>> =
            RateLimiter::new(
                self.quota,
                Memory(Cell::new(*tat)),
                Present(Cell::new(EPOCH)),
            );
        limiter.clock().0.set(Nanos::new(at));
        let conforms = limiter.check().is_ok();
        *tat = limiter.into_state_store().0.get();
        conforms
    }
}

/// The state of one bucket for the length of one decision.
struct Memory(Cell<Tat>);

impl StateStore for Memory {
    type Key = NotKeyed;

    fn measure_and_replace<T, F, E>(&self, _key: &NotKeyed, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let (outcome, next) = decide(Some(Nanos::new(self.0.get().0)))?;
        self.0.set(Tat(next.as_u64()));
        Ok(outcome)
    }
}

/// A clock that shows what it is set to: time is an argument here.
struct Present(Cell<Nanos>);

impl Clock for Present {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        self.0.get()
    }
}

const EPOCH: Nanos = Nanos::new(0);

/// 73 years: with a present before the year 2262 every sum of governor's stays below 2^64 nanoseconds.
const LONGEST_REFILL: u64 = 1 << 61;

/// How late a timer may be, in nanoseconds: tokio's tick once a millisecond, and the task has to get its turn.
pub(super) const TIMER_LATENESS: u64 = 5_000_000;

/// Nanoseconds since the epoch; moments before it or after the year 2262 count as those.
pub(super) fn nanos(time: Timestamp) -> u64 {
    u64::try_from(time.as_micros().clamp(0, i64::MAX / 1000)).map_or(0, |micros| micros * 1000)
}

/// The first microsecond that is not before `nanos`.
pub(super) fn timestamp(nanos: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(nanos.div_ceil(1000)).unwrap_or(i64::MAX))
}

fn saturating_nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn gcra(per_second: f64, burst: u32) -> Gcra {
        let burst = NonZeroU32::new(burst).expect("a burst of a test is not zero");
        Gcra::new(Rate::new(per_second, burst).expect("a rate of a test is in range"))
    }

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(1_795_000_000_000_000 + micros)
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_by_the_rate() {
        let gcra = gcra(10.0, 3);
        let mut tat = Tat::default();
        assert_eq!(gcra.available(tat, at(0)), 3);
        for (micros, taken, left) in [
            (0, true, 2),
            (0, true, 1),
            (0, true, 0),
            (0, false, 0),
            (99_999, false, 0),
            (100_000, true, 0),
            (350_000, true, 1),
            (10_000_000, true, 2),
        ] {
            assert_eq!(gcra.take(&mut tat, at(micros)), taken, "at {micros}");
            assert_eq!(gcra.available(tat, at(micros)), left, "after {micros}");
        }
    }

    #[test]
    fn extreme_rates_and_bursts_neither_overflow_nor_panic() {
        for per_second in [1e-6, 0.3, 7.0, 1e6] {
            for burst in [1, 2, u32::MAX] {
                for now in [Timestamp::MIN, Timestamp::default(), at(0), Timestamp::MAX] {
                    let gcra = gcra(per_second, burst);
                    for mut tat in [Tat::default(), gcra.bounded(Tat(u64::MAX), now)] {
                        gcra.take(&mut tat, now);
                        gcra.take_waiting(&mut tat, now);
                        gcra.nth(tat, usize::MAX, now);
                        gcra.available(tat, now);
                    }
                }
            }
        }
    }

    #[test]
    fn a_rate_of_a_fraction_is_exact() {
        let gcra = gcra(0.1, 1);
        let mut tat = Tat::default();
        assert!(gcra.take(&mut tat, at(0)));
        assert_eq!(gcra.nth(tat, 1, at(0)), at(10_000_000));
        assert_eq!(gcra.nth(tat, 4, at(0)), at(40_000_000));
    }

    #[test]
    fn rounding_lets_nothing_more_through() {
        let gcra = gcra(3.0, 1);
        let mut tat = Tat::default();
        assert!(gcra.take(&mut tat, at(0)));
        assert_eq!(gcra.nth(tat, 3, at(0)), at(1_000_001));
    }

    #[test]
    fn a_late_timer_costs_nothing_but_a_long_absence_does() {
        let gcra = gcra(100.0, 1);
        let mut tat = Tat::default();
        assert!(gcra.take(&mut tat, at(0)));
        assert!(gcra.take_waiting(&mut tat, at(11_500)));
        assert_eq!(gcra.nth(tat, 1, at(11_500)), at(20_000));
        assert!(gcra.take_waiting(&mut tat, at(50_000)));
        assert_eq!(gcra.nth(tat, 1, at(50_000)), at(60_000));
    }

    #[test]
    fn an_arrival_time_from_a_faster_clock_is_an_empty_bucket() {
        let gcra = gcra(2.0, 4);
        let mut tat = gcra.bounded(Tat(u64::MAX), at(0));
        assert_eq!(gcra.available(tat, at(0)), 0);
        assert_eq!(gcra.nth(tat, 1, at(0)), at(500_000));
        assert!(!gcra.take(&mut tat, at(499_999)));
        assert!(gcra.take(&mut tat, at(500_000)));
    }

    proptest! {
        #[test]
        fn the_closed_forms_agree_with_governor(
            exponent in -4.0..6.0_f64,
            burst in 1..20_u32,
            gaps in prop::collection::vec(0..200_000_i64, 1..60),
            n in 1..20_usize,
        ) {
            let gcra = gcra(10_f64.powf(exponent), burst);
            let mut tat = Tat::default();
            let mut now = at(0);
            for gap in gaps {
                now = Timestamp::from_micros(now.as_micros() + gap);
                let free = gcra.available(tat, now);
                prop_assert_eq!(gcra.nth(tat, 1, now) == now, free > 0);
                prop_assert!(free == 0 || gcra.nth(tat, free as usize, now) == now);
                prop_assert!(gcra.nth(tat, free as usize + 1, now) > now);

                // Whoever takes each token as soon as it is there gets the nth when the closed form says.
                let (promised, mut imagined, mut moment) = (gcra.nth(tat, n, now), tat, now);
                for _ in 0..n {
                    moment = moment.max(gcra.nth(imagined, 1, moment));
                    let taken = if moment > now {
                        gcra.take_waiting(&mut imagined, moment)
                    } else {
                        gcra.take(&mut imagined, moment)
                    };
                    prop_assert!(taken);
                }
                prop_assert_eq!(moment, promised);

                prop_assert_eq!(gcra.take(&mut tat, now), free > 0);
            }
        }
    }
}
