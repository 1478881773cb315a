//! When a request can start at the earliest, and who in line cannot make its deadline any more.

use std::collections::HashMap;
use std::time::Duration;

use super::{Limiter, Ticket};
use crate::session::time::Timestamp;

impl Limiter {
    /// The earliest moment at which the rate and the pause of `host` let one more request go.
    pub(super) fn next_turn(&self, host: &str, now: Timestamp) -> Timestamp {
        let ready = self.pauses.until(host, now).unwrap_or(now);
        let buckets = self.buckets.as_ref();
        buckets.map_or(ready, |buckets| buckets.nth(host, 1, ready))
    }

    /// The earliest moment at which a request to `host` can start that has `same_host` waiters of its host before it, if no slot
    /// is wanting and nobody before it gives up. `others(t)` says how many of all hosts are before it that may go at `t` as
    /// far as pauses are concerned.
    ///
    /// It is never too late by more than the lateness allowed to timers: whoever is refused by it could not have gone. It is exact
    /// while nothing else happens, unless paused hosts share a bucket with others: then tokens may lapse that it counts on.
    pub(super) fn start(
        &self,
        host: &str,
        same_host: usize,
        now: Timestamp,
        others: impl Fn(Timestamp) -> usize,
    ) -> Timestamp {
        let ready = self.pauses.until(host, now).unwrap_or(now);
        let Some(buckets) = &self.buckets else {
            return ready;
        };
        let mut start = buckets.nth(host, same_host + 1, ready);
        if buckets.per_host() {
            return start;
        }
        // Waiters of a paused host are in the way only if their pause ends before our turn, and each that is makes our turn later:
        // so up to the first moment that agrees with itself. Each round counts in another pause, so it ends.
        loop {
            let turn = buckets.nth(host, others(start) + 1, now);
            if turn <= start {
                return start;
            }
            start = turn;
        }
    }

    /// When a waiter that may start at `start` has to be looked at: a slot is given by a poll after a release, which needs no
    /// timer.
    pub(super) fn wake_for(&self, start: Timestamp, deadline: Timestamp) -> Timestamp {
        if self.has_slot() {
            start.min(deadline)
        } else {
            deadline
        }
    }

    /// Turns away whom a later pause or another policy left without a chance.
    pub(super) fn refuse_hopeless(
        &mut self,
        now: Timestamp,
        refused: &mut Vec<(Ticket, Duration)>,
    ) {
        if !self.prospects_changed {
            return;
        }
        let patience = self.policy.patience();
        let already = refused.len();
        let mut before = Before::default();
        for (ticket, waiter) in self.line.iter() {
            let host = &*waiter.host;
            let pause = self.pauses.until(host, now);
            let start = self.start(host, before.of(host), now, |by| before.free_by(by));
            if start > waiter.arrived + patience {
                refused.push((ticket, worth_waiting(start, now)));
            } else {
                before.add(host, pause);
            }
        }
        for (ticket, _) in &refused[already..] {
            self.line.remove(*ticket);
        }
    }

    /// Turns away whose deadline has come.
    pub(super) fn refuse_overdue(&mut self, now: Timestamp, refused: &mut Vec<(Ticket, Duration)>) {
        let patience = self.policy.patience();
        while let Some((ticket, waiter)) = self.line.oldest() {
            if waiter.arrived + patience > now {
                return;
            }
            let start = self.start(&waiter.host, 0, now, |_| 0);
            refused.push((ticket, worth_waiting(start, now)));
            self.line.remove(ticket);
        }
    }
}

/// The time until `start`, as advice to somebody refused. Where only a slot is wanting nobody knows, and a second is polite.
pub(super) fn worth_waiting(start: Timestamp, now: Timestamp) -> Duration {
    match start.since(now) {
        Duration::ZERO => Duration::from_secs(1),
        wait => wait,
    }
}

/// Those in line before somebody.
#[derive(Default)]
struct Before<'a> {
    all: usize,
    by_host: HashMap<&'a str, usize>,
    /// Of paused hosts: when the pause ends, and how many.
    paused: HashMap<&'a str, (Timestamp, usize)>,
}

impl<'a> Before<'a> {
    fn add(&mut self, host: &'a str, pause: Option<Timestamp>) {
        self.all += 1;
        *self.by_host.entry(host).or_default() += 1;
        if let Some(until) = pause {
            self.paused.entry(host).or_insert((until, 0)).1 += 1;
        }
    }

    fn of(&self, host: &str) -> usize {
        self.by_host.get(host).copied().unwrap_or_default()
    }

    /// How many are not paused any more at `by`.
    fn free_by(&self, by: Timestamp) -> usize {
        let paused = self.paused.values().filter(|(until, _)| *until > by);
        self.all - paused.map(|(_, count)| count).sum::<usize>()
    }
}
