//! Who goes: those whose host is not paused, for whom there is a token and a slot, in order of arrival.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::{Limiter, Ticket};
use crate::session::time::Timestamp;

impl Limiter {
    pub(super) fn has_slot(&self) -> bool {
        self.policy
            .concurrency
            .is_none_or(|slots| self.in_flight < slots.get())
    }

    /// Whether a request to `host` could go now, were nobody before it.
    pub(super) fn may_go(&self, host: &str, now: Timestamp) -> bool {
        self.has_slot() && self.next_turn(host, now) <= now
    }

    /// Whether a newcomer for `host` that may go would take what somebody in line is due: a poll has to come first.
    pub(super) fn would_overtake(&self, host: &str, now: Timestamp) -> bool {
        if self.line.is_empty() {
            return false;
        }
        let hosts_compete = self.policy.concurrency.is_some()
            || self
                .buckets
                .as_ref()
                .is_some_and(|buckets| !buckets.per_host());
        self.line.len_of(host) > 0
            || hosts_compete && self.line.firsts().any(|(host, _)| self.may_go(host, now))
    }

    /// Takes a token for a newcomer, where tokens are needed.
    pub(super) fn take(&mut self, host: &str, now: Timestamp) -> bool {
        let buckets = self.buckets.as_mut();
        buckets.is_none_or(|buckets| buckets.take(host, now))
    }

    /// Lets everybody in line go who may, earliest first, whatever the host.
    pub(super) fn admit_waiters(&mut self, now: Timestamp, admitted: &mut Vec<Ticket>) {
        if !self.has_slot() {
            return;
        }
        let firsts = self.line.firsts();
        let mut firsts: BinaryHeap<_> = firsts
            .filter(|(host, _)| self.next_turn(host, now) <= now)
            .map(|(_, ticket)| Reverse(ticket))
            .collect();
        while self.has_slot() {
            let Some(Reverse(ticket)) = firsts.pop() else {
                return;
            };
            let host = match self.line.get(ticket) {
                Some(waiter) => waiter.host.clone(),
                None => continue,
            };
            let buckets = self.buckets.as_mut();
            if buckets.is_none_or(|buckets| buckets.take_waiting(&host, now)) {
                self.line.remove(ticket);
                self.in_flight += 1;
                admitted.push(ticket);
                firsts.extend(self.line.first_of(&host).map(Reverse));
            }
        }
    }
}
