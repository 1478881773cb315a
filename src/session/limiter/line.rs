//! The line of requests that wait: in the order of their arrival, and by host.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::session::time::Timestamp;

/// How many requests of a session can wait at once. One more is refused.
pub const MAX_WAITING: usize = 10_000;

/// A place in the line of one limiter; earlier arrivals have lesser tickets. Never used twice by that limiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// A request that waits.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    pub(super) host: Arc<str>,
    pub(super) arrived: Timestamp,
}

/// Waiters in order of arrival, at most [`MAX_WAITING`]. Those of one host form a lane, which only its first can leave forwards.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    tickets: u64,
    waiters: BTreeMap<Ticket, Waiter>,
    /// No lane is empty.
    lanes: HashMap<Arc<str>, VecDeque<Ticket>>,
}

impl Line {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiters.len() >= MAX_WAITING
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// How many wait for `host`.
    pub(super) fn len_of(&self, host: &str) -> usize {
        self.lanes.get(host).map_or(0, VecDeque::len)
    }

    /// The hosts waited for, each with the first of its lane, in no order.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (&str, Ticket)> {
        self.lanes
            .iter()
            .filter_map(|(host, lane)| Some((&**host, *lane.front()?)))
    }

    /// The first of the lane of `host`.
    pub(super) fn first_of(&self, host: &str) -> Option<Ticket> {
        self.lanes.get(host)?.front().copied()
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Waiter> {
        self.waiters.get(&ticket)
    }

    /// Who has waited longest, and so has the earliest deadline.
    pub(super) fn oldest(&self) -> Option<(Ticket, &Waiter)> {
        let (ticket, waiter) = self.waiters.first_key_value()?;
        Some((*ticket, waiter))
    }

    /// All who wait, in order of arrival.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Ticket, &Waiter)> {
        self.waiters
            .iter()
            .map(|(ticket, waiter)| (*ticket, waiter))
    }

    /// How many arrived before `ticket`.
    pub(super) fn ahead(&self, ticket: Ticket) -> usize {
        self.waiters.range(..ticket).count()
    }

    /// How many who wait for `host` arrived before `ticket`.
    pub(super) fn ahead_for(&self, host: &str, ticket: Ticket) -> usize {
        self.lanes
            .get(host)
            .map_or(0, |lane| lane.partition_point(|other| *other < ticket))
    }

    pub(super) fn join(&mut self, host: &str, now: Timestamp) -> Ticket {
        let ticket = Ticket(self.tickets);
        self.tickets += 1;
        let host: Arc<str> = match self.lanes.get_key_value(host) {
            Some((host, _)) => Arc::clone(host),
            None => host.into(),
        };
        self.lanes
            .entry(Arc::clone(&host))
            .or_default()
            .push_back(ticket);
        self.waiters.insert(ticket, Waiter { host, arrived: now });
        ticket
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiter> {
        let waiter = self.waiters.remove(&ticket)?;
        if let Some(lane) = self.lanes.get_mut(&waiter.host) {
            if let Ok(place) = lane.binary_search(&ticket) {
                lane.remove(place);
            }
            if lane.is_empty() {
                self.lanes.remove(&waiter.host);
            }
        }
        Some(waiter)
    }

    /// The clock was set back by `step`: everyone arrived as much earlier by its face.
    pub(super) fn shift_back(&mut self, step: Duration) {
        for waiter in self.waiters.values_mut() {
            waiter.arrived = waiter.arrived - step;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_leaves_moves_everyone_behind_up() {
        let mut line = Line::default();
        let now = Timestamp::default();
        let tickets = ["a", "b", "a", "a"].map(|host| line.join(host, now));
        let ranks = |line: &Line| {
            tickets.map(|ticket| {
                let waiter = line.get(ticket)?;
                Some((line.ahead(ticket), line.ahead_for(&waiter.host, ticket)))
            })
        };
        assert_eq!(
            ranks(&line),
            [Some((0, 0)), Some((1, 0)), Some((2, 1)), Some((3, 2))]
        );
        assert!(line.remove(tickets[2]).is_some());
        assert!(line.remove(tickets[2]).is_none());
        assert_eq!(
            ranks(&line),
            [Some((0, 0)), Some((1, 0)), None, Some((2, 1))]
        );
        assert!(line.remove(tickets[0]).is_some());
        assert_eq!(line.oldest().map(|(ticket, _)| ticket), Some(tickets[1]));
        assert_eq!(line.first_of("a"), Some(tickets[3]));
        assert!(line.remove(tickets[1]).is_some());
        assert_eq!(line.firsts().collect::<Vec<_>>(), [("a", tickets[3])]);
        assert!(line.remove(tickets[3]).is_some());
        assert!(line.is_empty() && line.lanes.is_empty());
    }
}
