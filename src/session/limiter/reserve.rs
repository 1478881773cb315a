//! Cells of a bucket that several processes share: the arithmetic that every shared store repeats.

use std::time::Duration;

use super::policy::Rate;
use crate::session::time::Timestamp;

/// The cells that a process may use, each once, and how its bucket stands thereafter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cells {
    /// How long each of the wanted cells has to be waited for, in order; fewer than were wanted where the patience ends.
    pub waits: Vec<Duration>,
    /// How many more may be used at once.
    pub spare: u32,
    /// When the bucket is full again: its theoretical arrival time.
    pub full_at: Timestamp,
    /// How long the next cell, that nobody has taken, would have to be waited for.
    pub next: Duration,
}

impl Rate {
    /// What a cell costs, in microseconds; rounded up, so that rounding never lets more through than the rate.
    #[must_use]
    pub fn interval_micros(self) -> u64 {
        // A rate lies between 1e-6 and 1e6, so this lies between 1 and 1e12.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let interval = (1e6 / self.per_second()).ceil() as u64;
        interval
    }

    /// How far the theoretical arrival time of a bucket may lie ahead of a request that still goes at once, in microseconds.
    #[must_use]
    pub fn tolerance_micros(self) -> u64 {
        let rest = u64::from(self.burst().get() - 1);
        self.interval_micros()
            .saturating_mul(rest)
            .min(LONGEST_REFILL)
    }

    /// How many requests could go at once at `now`, of a bucket that is full at `full_at`.
    #[must_use]
    pub fn free(self, full_at: Timestamp, now: Timestamp) -> u32 {
        let cells = self.reserve(full_at, now, self.burst().get(), 0, Duration::ZERO);
        u32::try_from(cells.waits.len()).unwrap_or(u32::MAX)
    }

    /// Takes cells at `at` of a bucket that is full at `before`: up to `wanted`, of which none lies further ahead than
    /// `patience`; then up to `spare` of those that could go at once, but no more than a quarter of them, since other
    /// processes may have need of them before this one.
    ///
    /// With *i* for the [interval](Self::interval_micros) and *t* for the [tolerance](Self::tolerance_micros), all in
    /// microseconds since the epoch:
    ///
    /// ```text
    /// tat     = min(max(before, at), at + t + i + 86_400_000_000)
    /// wanted  = min(wanted, floor((at + patience + t - tat) / i) + 1)    none where the numerator is negative
    /// tat     = tat + wanted * i
    /// free    = floor((at + t - tat) / i) + 1                            none where the numerator is negative
    /// spare   = min(spare, floor(free / 4))
    /// full_at = tat + spare * i
    /// ```
    ///
    /// A clock that was set back by more than a day cannot stop a session for longer than that.
    #[must_use]
    pub fn reserve(
        self,
        before: Timestamp,
        at: Timestamp,
        wanted: u32,
        spare: u32,
        patience: Duration,
    ) -> Cells {
        let (interval, tolerance) = (
            signed(self.interval_micros()),
            signed(self.tolerance_micros()),
        );
        let now = at.as_micros();
        let latest = now
            .saturating_add(tolerance)
            .saturating_add(interval)
            .saturating_add(DAY);
        let mut tat = before.as_micros().max(now).min(latest);
        let cells = |tat: i64, patience: i64| {
            let room = now
                .saturating_add(patience)
                .saturating_add(tolerance)
                .saturating_sub(tat);
            if room < 0 { 0 } else { room / interval + 1 }
        };
        let wait = |tat: i64| {
            let ahead = tat.saturating_sub(tolerance).saturating_sub(now);
            Duration::from_micros(u64::try_from(ahead).unwrap_or(0))
        };
        let patience = i64::try_from(patience.as_micros()).unwrap_or(i64::MAX);
        let granted = cells(tat, patience.min(LONGEST_PATIENCE)).min(i64::from(wanted));
        let waits = (0..granted)
            .map(|cell| wait(tat.saturating_add(cell.saturating_mul(interval))))
            .collect();
        tat = tat.saturating_add(granted.saturating_mul(interval));
        let spare = (cells(tat, 0) / 4).min(i64::from(spare));
        tat = tat.saturating_add(spare.saturating_mul(interval));
        Cells {
            waits,
            spare: u32::try_from(spare).unwrap_or(0),
            full_at: Timestamp::from_micros(tat),
            next: wait(tat),
        }
    }
}

fn signed(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX)
}

const DAY: i64 = 86_400_000_000;

/// The patience that counts, in microseconds: a year.
pub const LONGEST_PATIENCE: i64 = 365 * DAY;

/// In microseconds, 31 years: sums with the present stay exact in a double, as a script of a store may reckon.
const LONGEST_REFILL: u64 = 1_000_000_000_000_000;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_000_000);

    fn rate(per_second: f64, burst: u32) -> Rate {
        Rate::new(per_second, NonZeroU32::new(burst).expect("a burst")).expect("in range")
    }

    fn millis(waits: &[u64]) -> Vec<Duration> {
        waits.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn a_full_bucket_gives_its_burst_and_then_the_rate() {
        let cells = rate(10.0, 3).reserve(Timestamp::default(), NOW, 5, 9, Duration::from_secs(1));
        assert_eq!(cells.waits, millis(&[0, 0, 0, 100, 200]));
        assert_eq!((cells.spare, cells.next), (0, Duration::from_millis(300)));
        assert_eq!(cells.full_at, NOW + Duration::from_millis(500));
        assert_eq!(rate(10.0, 3).free(NOW + Duration::from_millis(150), NOW), 1);
    }

    #[test]
    fn none_lies_beyond_the_patience() {
        let full = Timestamp::default();
        for (patience, granted) in [(0, 3), (99, 3), (100, 4), (250, 5)] {
            let patience = Duration::from_millis(patience);
            let cells = rate(10.0, 3).reserve(full, NOW, 9, 0, patience);
            assert_eq!(cells.waits.len(), granted, "{patience:?}");
        }
        let later = NOW + Duration::from_secs(5);
        let none = rate(10.0, 3).reserve(later, NOW, 1, 4, Duration::from_secs(1));
        assert_eq!((none.waits.len(), none.spare, none.full_at), (0, 0, later));
        assert_eq!(none.next, Duration::from_millis(4800));
    }

    #[test]
    fn of_what_is_left_others_keep_three_quarters() {
        let cells = rate(10.0, 9).reserve(Timestamp::default(), NOW, 1, 9, Duration::ZERO);
        assert_eq!((cells.waits.len(), cells.spare), (1, 2));
        assert_eq!(cells.full_at, NOW + Duration::from_millis(300));
    }

    #[test]
    fn a_clock_that_was_far_ahead_stops_nobody_for_long() {
        let ahead = NOW + Duration::from_hours(1000);
        let cells = rate(10.0, 1).reserve(ahead, NOW, 0, 0, Duration::ZERO);
        assert_eq!(cells.next, Duration::from_micros(86_400_100_000));
    }

    proptest! {
        /// However processes share a bucket: what goes until any moment is at most the burst and the rate over the time.
        #[test]
        fn no_window_sees_more_than_burst_and_rate(
            burst in 1..9u32,
            per_second in 1..50u32,
            asks in proptest::collection::vec((0..500u64, 0..4u32, 0..4u32, 0..2000u64), 1..40),
        ) {
            let rate = rate(f64::from(per_second), burst);
            let (mut now, mut tat, mut starts) = (NOW, Timestamp::default(), Vec::new());
            for (pause, wanted, spare, patience) in asks {
                now = now + Duration::from_millis(pause);
                let cells = rate.reserve(tat, now, wanted, spare, Duration::from_millis(patience));
                prop_assert!(cells.full_at >= tat);
                starts.extend(cells.waits.iter().map(|wait| now + *wait));
                starts.extend((0..cells.spare).map(|_| now));
                tat = cells.full_at;
            }
            starts.sort_unstable();
            for (first, from) in starts.iter().enumerate() {
                for (last, to) in starts.iter().enumerate().skip(first) {
                    let window = u64::try_from(to.since(*from).as_micros()).expect("short");
                    let allowed = u64::from(burst) + window / rate.interval_micros();
                    prop_assert!((last - first + 1) as u64 <= allowed);
                }
            }
        }
    }
}
