//! The limiter of a session: when a request may start, and who waits until then.
//!
//! It is pure: it is told what time it is and says what to do and when to be asked again. A request arrives and is admitted,
//! queued or refused. While anybody waits, [`Limiter::poll`] has to be called at [`Limiter::next_wake`], and at once after a
//! [`release`](Limiter::release), [`pause`](Limiter::pause) or [`reconfigure`](Limiter::reconfigure); it says who goes and who is
//! turned away. Only an arrival can make the next wake earlier than it was, and only those three can make it due.
//!
//! Three things hold a request back. The *rate* is GCRA by governor, over one bucket or one a host. The *concurrency* is a number
//! of slots for the whole session; a token is taken only together with a slot. A *pause* is an origin's `Retry-After` for its
//! host. Waiters of one host go in order of arrival, and so do those of all hosts that could go at the same moment; one that is
//! held back by a pause or an empty bucket of its host lets the others pass.
//!
//! Everything here is bounded: [`MAX_WAITING`], [`MAX_HOSTS`], [`MAX_PAUSES`] and [`MAX_PAUSE`] say what happens beyond.

mod admission;
mod buckets;
mod forecast;
mod gcra;
mod line;
mod pauses;
mod policy;
mod reserve;
mod retry_after;
mod state;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

use std::time::Duration;

use self::buckets::Buckets;
use self::line::Line;
use self::pauses::Pauses;
use crate::session::time::Timestamp;

pub use self::buckets::MAX_HOSTS;
pub use self::line::{MAX_WAITING, Ticket};
pub use self::pauses::{MAX_PAUSE, MAX_PAUSES};
pub use self::policy::{Policy, Rate, RateOutOfRange};
pub use self::reserve::{Cells, LONGEST_PATIENCE};
pub use self::retry_after::retry_after;
pub use self::state::LimiterState;

/// What becomes of a request that arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "an admitted request has to be released, a queued one to be waited for"]
pub enum Arrival {
    /// It starts now; [`Limiter::release`] when it has ended.
    Admitted,
    /// It waits; [`Limiter::poll`] will name its ticket.
    Queued {
        /// Its place in the line.
        ticket: Ticket,
        /// When it can be decided at the earliest, as far as is known now (see [`Limiter::wake`]).
        wake: Timestamp,
    },
    /// It may not start and may not wait.
    Refused {
        /// How long until it might start.
        retry_after: Duration,
    },
}

/// What a limiter shows of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    /// How many requests could start now, to whichever host that is not paused; `None` is any number.
    pub available: Option<u32>,
    /// From when on the next request starts at once, whichever host it goes to; `None` is now, or as soon as a request
    /// in flight ends.
    pub next_allowed_at: Option<Timestamp>,
}

/// The limiter of one session.
#[derive(Debug)]
// Two of a kind would let through twice as much; only tests imagine another future with one.
#[cfg_attr(test, derive(Clone))]
pub struct Limiter {
    policy: Policy,
    /// `None` where there is no rate.
    buckets: Option<Buckets>,
    pauses: Pauses,
    line: Line,
    in_flight: u32,
    /// The latest time this limiter was told.
    latest: Timestamp,
    /// Whether anything happened since the last poll by which a waiter may have lost its chance.
    prospects_changed: bool,
}

impl Limiter {
    /// A limiter that goes on where `state` was taken; with the default state, one that was never used.
    ///
    /// What `state` claims is bounded by what `policy` could have brought about, so a clock that ran ahead where it was made
    /// cannot stop the session here.
    #[must_use]
    pub fn new(policy: Policy, state: &LimiterState, now: Timestamp) -> Self {
        let mut limiter = Self {
            policy,
            buckets: None,
            pauses: Pauses::new(),
            line: Line::default(),
            in_flight: 0,
            latest: now,
            prospects_changed: false,
        };
        limiter.restore(state, now);
        limiter
    }

    /// Puts another policy in place. Buckets stay as empty as they are, pauses hold on if they are honoured still, and waiters keep
    /// their places; their deadlines are those of the new policy, counted from their arrival.
    pub fn reconfigure(&mut self, policy: Policy, now: Timestamp) {
        let now = self.observe(now);
        let state = self.snapshot(now);
        self.policy = policy;
        self.restore(&state, now);
        self.prospects_changed |= !self.line.is_empty();
    }

    /// Whether nothing limits and nobody waits: the caller may then let a request go without asking, and without a
    /// [`release`](Self::release) afterwards.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.buckets.is_none()
            && self.policy.concurrency.is_none()
            && self.pauses.is_empty()
            && self.line.is_empty()
    }

    /// How many requests wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// How many requests were admitted and not yet released.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// A request to `host` (canonical, without the port) arrives.
    ///
    /// It is refused at once where it could not start before its deadline even if all went well, those who wait for the same
    /// bucket being served before it. How long a slot is occupied cannot be known, so for one it waits.
    pub fn arrive(&mut self, host: &str, now: Timestamp) -> Arrival {
        let now = self.observe(now);
        self.pauses.prune(now);
        if self.may_go(host, now) && !self.would_overtake(host, now) && self.take(host, now) {
            self.in_flight += 1;
            return Arrival::Admitted;
        }
        let start = self.start(host, self.line.len_of(host), now, |by| {
            let held = self.pauses.iter().filter(|(_, until)| *until > by);
            self.line.len() - held.map(|(host, _)| self.line.len_of(host)).sum::<usize>()
        });
        let patience = self.policy.patience();
        if patience.is_zero() || start > now + patience || self.line.is_full() {
            return Arrival::Refused {
                retry_after: forecast::worth_waiting(start, now),
            };
        }
        let ticket = self.line.join(host, now);
        let wake = self.wake_for(start, now + patience);
        Arrival::Queued { ticket, wake }
    }

    /// Lets go whoever may go now, in order, then turns away whose deadline has come or can no longer be met, each with the time
    /// until it might start. Every ticket is named once, in one of the two lists, unless it leaves.
    ///
    /// Whoever is admitted is to be [released](Self::release) in the end.
    pub fn poll(
        &mut self,
        now: Timestamp,
        admitted: &mut Vec<Ticket>,
        refused: &mut Vec<(Ticket, Duration)>,
    ) {
        let now = self.observe(now);
        self.pauses.prune(now);
        if !self.line.is_empty() {
            self.admit_waiters(now, admitted);
            self.refuse_hopeless(now, refused);
            self.refuse_overdue(now, refused);
        }
        self.prospects_changed = false;
    }

    /// When the next poll is due: the earliest moment at which anybody in line can go or must be turned away; `None` where
    /// nobody waits. Until then only a call to one of the other methods can change anything.
    #[must_use]
    pub fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        let now = self.present(now);
        let (_, oldest) = self.line.oldest()?;
        if self.prospects_changed {
            return Some(now);
        }
        let deadline = oldest.arrived + self.policy.patience();
        if !self.has_slot() {
            return Some(deadline);
        }
        let first = self
            .line
            .firsts()
            .map(|(host, _)| self.next_turn(host, now));
        first.chain([deadline]).min()
    }

    /// When `ticket` can be decided at the earliest, as far as is known now: its turn or its deadline. `now` for a ticket that
    /// is not in line.
    ///
    /// Its turn comes sooner when somebody ahead leaves.
    #[must_use]
    pub fn wake(&self, ticket: Ticket, now: Timestamp) -> Timestamp {
        let now = self.present(now);
        let Some(waiter) = self.line.get(ticket) else {
            return now;
        };
        let ahead = self.line.ahead_for(&waiter.host, ticket);
        let start = self.start(&waiter.host, ahead, now, |by| {
            let held = self.pauses.iter().filter(|(_, until)| *until > by);
            self.line.ahead(ticket)
                - held
                    .map(|(host, _)| self.line.ahead_for(host, ticket))
                    .sum::<usize>()
        });
        self.wake_for(start, waiter.arrived + self.policy.patience())
    }

    /// Gives the place of `ticket` up: everyone behind moves up. True if it was in line; else a poll has named it already,
    /// and if that admitted it, the slot is to be [released](Self::release).
    #[must_use = "a ticket that was admitted before it could leave holds a slot"]
    pub fn leave(&mut self, ticket: Ticket) -> bool {
        self.line.remove(ticket).is_some()
    }

    /// A request that was admitted has ended, or was given up: its slot is free. Its token stays spent.
    pub fn release(&mut self) {
        debug_assert!(self.in_flight > 0, "released more often than admitted");
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// The origin `host` wants no request before `until` (see [`retry_after()`]). Ignored where the policy does not honour it.
    pub fn pause(&mut self, host: &str, until: Timestamp, now: Timestamp) {
        let now = self.observe(now);
        if self.policy.honor_retry_after {
            self.pauses.set(host, until, now);
            self.prospects_changed |= !self.line.is_empty();
        }
    }

    /// What a limiter of this session in another process has to know, now.
    #[must_use]
    pub fn snapshot(&self, now: Timestamp) -> LimiterState {
        let now = self.present(now);
        let mut state = LimiterState::default();
        if let Some(buckets) = &self.buckets {
            buckets.save(&mut state, now);
        }
        self.pauses.save(&mut state, now);
        state
    }

    /// How things stand, for the session's owner to see.
    #[must_use]
    pub fn view(&self, now: Timestamp) -> View {
        let now = self.present(now);
        let tokens = self.buckets.as_ref().map(|buckets| buckets.available(now));
        let slots = self
            .policy
            .concurrency
            .map(|slots| slots.get().saturating_sub(self.in_flight));
        let buckets = self.buckets.iter().flat_map(Buckets::hosts);
        let hosts = buckets
            .map(|(host, _)| host)
            .chain(self.pauses.iter().map(|(host, _)| host))
            .chain([ANY_OTHER_HOST]);
        let next = hosts
            .map(|host| {
                let ahead = self.line.len_of(host);
                self.start(host, ahead, now, |_| self.line.len())
            })
            .max();
        View {
            available: [tokens, slots].into_iter().flatten().min(),
            next_allowed_at: next.filter(|next| *next > now),
        }
    }
}

/// Time and state.
impl Limiter {
    fn restore(&mut self, state: &LimiterState, now: Timestamp) {
        let rate = self.policy.rate;
        self.buckets = rate.map(|rate| Buckets::new(rate, self.policy.per_host, state, now));
        self.pauses = Pauses::new();
        if self.policy.honor_retry_after {
            self.pauses.load(state, now);
        }
    }

    /// Takes note of the time. It never runs backwards in here: a little step back, as between two threads that read the clock and
    /// reach us in the other order, counts as no time at all; after a great one the clock was set, and everything moves with it.
    fn observe(&mut self, now: Timestamp) -> Timestamp {
        let step = self.latest.since(now);
        if step > OUT_OF_ORDER {
            if let Some(buckets) = &mut self.buckets {
                buckets.shift_back(step);
            }
            self.pauses.shift_back(step);
            self.line.shift_back(step);
            self.latest = now;
        }
        self.latest = self.latest.max(now);
        self.latest
    }

    /// What [`observe`](Self::observe) makes of `now`, for those who only look.
    fn present(&self, now: Timestamp) -> Timestamp {
        if self.latest.since(now) > OUT_OF_ORDER {
            now
        } else {
            self.latest.max(now)
        }
    }
}

/// A host that this session has never been to; no host is called that.
const ANY_OTHER_HOST: &str = "";

/// How far two readings of one clock may be apart that reach a limiter in the other order.
const OUT_OF_ORDER: Duration = Duration::from_secs(1);
