//! A shell for the limiter's property tests: its clock jumps to the next event, and it keeps the history of every request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::gcra::TIMER_LATENESS;
use super::{Arrival, Limiter, LimiterState, Policy, Ticket};
use crate::session::time::Timestamp;

pub(super) const HOSTS: [&str; 3] = ["a.example", "b.example", "c.example"];

/// What happens to a limiter, so many microseconds after the event before.
#[derive(Debug, Clone)]
pub(super) enum Event {
    /// A request to a host, that takes so long once it may go.
    Arrive { host: usize, takes: Duration },
    /// A client goes away: of those who wait, the one that is this far along.
    Leave { place: proptest::sample::Index },
    /// A host asks for a pause.
    Pause { host: usize, lasts: Duration },
    /// The limiter is stored and read back, where nobody waits or runs.
    Move,
}

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum End {
    Admitted(Timestamp),
    Refused {
        at: Timestamp,
        retry_after: Duration,
    },
    Left(Timestamp),
}

#[derive(Debug)]
pub(super) struct Request {
    pub(super) host: &'static str,
    pub(super) arrived: Timestamp,
    takes: Duration,
    /// What the limiter said at arrival when it would be decided.
    pub(super) wake: Timestamp,
    pub(super) end: Option<End>,
}

impl Request {
    pub(super) fn ended(&self) -> Timestamp {
        match self.end {
            Some(End::Admitted(at) | End::Left(at) | End::Refused { at, .. }) => at,
            None => panic!("a request without an end: {self:?}"),
        }
    }

    pub(super) fn admitted(&self) -> Option<Timestamp> {
        match self.end {
            Some(End::Admitted(at)) => Some(at),
            _ => None,
        }
    }
}

/// All that happened.
pub(super) struct History {
    policy: Policy,
    pub(super) requests: Vec<Request>,
    pauses: Vec<(&'static str, Timestamp, Timestamp)>,
    lateness: Duration,
}

impl History {
    pub(super) fn ends(&self) -> Vec<Option<End>> {
        self.requests.iter().map(|request| request.end).collect()
    }

    fn paused(&self, host: &str, at: Timestamp) -> bool {
        let mut pauses = self.pauses.iter();
        pauses.any(|(paused, from, until)| *paused == host && *from <= at && at < *until)
    }

    /// In any window a bucket lets through no more than burst and rate, and `more`.
    pub(super) fn check_rate(&self, more: f64) {
        let Some(rate) = self.policy.rate else {
            return;
        };
        let buckets: &[&[&str]] = if self.policy.per_host {
            &[&HOSTS[..1], &HOSTS[1..2], &HOSTS[2..]]
        } else {
            &[&HOSTS]
        };
        for hosts in buckets {
            let theirs = self
                .requests
                .iter()
                .filter(|request| hosts.contains(&request.host));
            let mut starts: Vec<_> = theirs.filter_map(Request::admitted).collect();
            starts.sort_unstable();
            for (first, start) in starts.iter().enumerate() {
                for (last, end) in starts.iter().enumerate().skip(first) {
                    let admitted = last - first + 1;
                    let window = end.since(*start).as_secs_f64();
                    let most = f64::from(rate.burst().get()) + rate.per_second() * window + more;
                    assert!(float(admitted) <= most + 1e-6, "{admitted} in {window} s");
                }
            }
        }
    }

    /// Nobody goes while somebody waits who came earlier, for the same bucket, and is not paused.
    pub(super) fn check_order(&self) {
        let compete = match self.policy.rate {
            Some(_) => !self.policy.per_host,
            None => self.policy.concurrency.is_some(),
        };
        for (later, request) in self.requests.iter().enumerate() {
            let Some(at) = request.admitted() else {
                continue;
            };
            for earlier in &self.requests[..later] {
                if earlier.ended() > at && (earlier.host == request.host || compete) {
                    assert!(
                        self.paused(earlier.host, at),
                        "{earlier:?} before {request:?}"
                    );
                }
            }
        }
    }

    /// Nobody waits longer than the policy has it, or goes to a host that is paused.
    pub(super) fn check_waits(&self) {
        for request in &self.requests {
            let deadline = request.arrived + self.policy.patience() + self.lateness;
            assert!(request.ended() <= deadline, "{request:?}");
            if let Some(at) = request.admitted() {
                // Who went just before the pause came, in the same microsecond, went rightly.
                let before = at - Duration::from_micros(1);
                let paused = self.paused(request.host, before) && self.paused(request.host, at);
                assert!(!paused, "{request:?}");
            }
        }
    }
}

/// A shell as it should be: polls when the limiter asks to, and after whatever may let somebody go.
pub(super) struct Simulation {
    limiter: Limiter,
    policy: Policy,
    pub(super) now: Timestamp,
    requests: Vec<Request>,
    waiting: BTreeMap<Ticket, usize>,
    /// When which request in flight ends.
    running: BTreeSet<(Timestamp, usize)>,
    pauses: Vec<(&'static str, Timestamp, Timestamp)>,
    /// How late each timer fires.
    pub(super) lateness: Duration,
}

impl Simulation {
    pub(super) fn new(policy: Policy) -> Self {
        let now = Timestamp::from_unix_seconds(1_795_000_000);
        Self {
            limiter: Limiter::new(policy, &LimiterState::default(), now),
            policy,
            now,
            requests: Vec::new(),
            waiting: BTreeMap::new(),
            running: BTreeSet::new(),
            pauses: Vec::new(),
            lateness: Duration::ZERO,
        }
    }

    pub(super) fn run(mut self, events: &[(Duration, Event)]) -> History {
        for (after, event) in events {
            self.advance(self.now + *after);
            self.apply(event);
        }
        self.advance(Timestamp::MAX);
        assert!(self.waiting.is_empty(), "everybody was decided in the end");
        assert_eq!(self.limiter.waiting(), 0);
        assert_eq!(self.limiter.in_flight(), 0);
        History {
            policy: self.policy,
            requests: self.requests,
            pauses: self.pauses,
            lateness: self.lateness,
        }
    }

    fn apply(&mut self, event: &Event) {
        match event {
            Event::Arrive { host, takes } => self.arrive(HOSTS[*host], *takes),
            Event::Leave { place } => {
                if self.waiting.is_empty() {
                    return;
                }
                let tickets: Vec<_> = self.waiting.keys().copied().collect();
                let ticket = tickets[place.index(tickets.len())];
                let timer = self.limiter.next_wake(self.now);
                assert!(self.limiter.leave(ticket));
                let later = self.limiter.next_wake(self.now);
                assert!(
                    later.is_none() || later >= timer,
                    "a timer set before is early enough"
                );
                assert!(!self.limiter.leave(ticket));
                let request = self.waiting.remove(&ticket).expect("listed above");
                self.finish(request, End::Left(self.now));
            }
            Event::Pause { host, lasts } => {
                self.limiter
                    .pause(HOSTS[*host], self.now + *lasts, self.now);
                if self.policy.honor_retry_after {
                    self.pauses
                        .push((HOSTS[*host], self.now, self.now + *lasts));
                }
                self.poll();
            }
            Event::Move => {
                if self.waiting.is_empty() && self.running.is_empty() {
                    let state = self.limiter.snapshot(self.now);
                    self.limiter = Limiter::new(self.policy, &state, self.now);
                }
            }
        }
    }

    fn arrive(&mut self, host: &'static str, takes: Duration) {
        let arrival = self.limiter.arrive(host, self.now);
        let number = self.requests.len();
        self.requests.push(Request {
            host,
            arrived: self.now,
            takes,
            wake: self.now,
            end: None,
        });
        match arrival {
            Arrival::Admitted => self.admit(number),
            Arrival::Queued { ticket, wake } => {
                assert_eq!(self.limiter.wake(ticket, self.now), wake);
                self.requests[number].wake = wake;
                assert!(self.waiting.insert(ticket, number).is_none());
            }
            Arrival::Refused { retry_after } => {
                self.refuse(number, retry_after);
                self.check_refusal(host);
            }
        }
        self.check();
    }

    /// What holds at any time.
    fn check(&self) {
        assert_eq!(self.limiter.in_flight() as usize, self.running.len());
        assert_eq!(self.limiter.waiting(), self.waiting.len());
        if let Some(slots) = self.policy.concurrency {
            assert!(self.limiter.in_flight() <= slots.get());
        }
    }

    /// Whoever was refused at once for want of time would not have made it: with all the time in the world, and nothing else
    /// happening, it would have started too late.
    fn check_refusal(&self, host: &str) {
        let patience = self.policy.patience();
        if patience.is_zero() {
            return;
        }
        let mut imagined = self.limiter.clone();
        let patient = Policy {
            max_wait: Duration::from_secs(1_000_000),
            concurrency: None,
            ..self.policy
        };
        imagined.reconfigure(patient, self.now);
        let Arrival::Queued { ticket, .. } = imagined.arrive(host, self.now) else {
            panic!("refused, though it could go at once");
        };
        let (mut now, mut admitted) = (self.now, Vec::new());
        while !admitted.contains(&ticket) {
            now = imagined.next_wake(now).expect("it waits still");
            imagined.poll(now, &mut admitted, &mut Vec::new());
        }
        let late = Duration::from_nanos(TIMER_LATENESS);
        assert!(
            now + late > self.now + patience,
            "refused, though it could go at {now:?}"
        );
    }

    /// Lets time pass until `until`, stopping wherever something is due.
    fn advance(&mut self, until: Timestamp) {
        loop {
            let timer = self.limiter.next_wake(self.now);
            assert_eq!(timer.is_some(), !self.waiting.is_empty());
            let timer = timer.map(|due| (due + self.lateness).max(self.now));
            let end = self.running.first().map(|(at, _)| *at);
            let Some(next) = timer.into_iter().chain(end).min().filter(|at| *at <= until) else {
                break;
            };
            self.now = next;
            if end == Some(next) {
                self.running.pop_first();
                self.limiter.release();
            }
            self.poll();
        }
        // The end of all is not a time to measure anything by.
        if until < Timestamp::MAX {
            self.now = until;
        }
    }

    fn poll(&mut self) {
        let (mut admitted, mut refused) = (Vec::new(), Vec::new());
        self.limiter.poll(self.now, &mut admitted, &mut refused);
        assert!(admitted.is_sorted(), "first come first served");
        for ticket in admitted {
            let request = self.waiting.remove(&ticket).expect("a ticket in line");
            self.admit(request);
        }
        for (ticket, retry_after) in refused {
            let request = self.waiting.remove(&ticket).expect("a ticket in line");
            self.refuse(request, retry_after);
        }
        self.check();
        let again = self.limiter.next_wake(self.now);
        assert!(
            again.is_none_or(|next| next > self.now),
            "a poll leaves nothing due"
        );
    }

    fn admit(&mut self, number: usize) {
        self.finish(number, End::Admitted(self.now));
        let end = self.now + self.requests[number].takes;
        self.running.insert((end, number));
    }

    fn refuse(&mut self, number: usize, retry_after: Duration) {
        assert!(retry_after > Duration::ZERO);
        let at = self.now;
        self.finish(number, End::Refused { at, retry_after });
    }

    fn finish(&mut self, number: usize, end: End) {
        let before = self.requests[number].end.replace(end);
        assert_eq!(before, None, "a request ends once");
    }
}

/// A count as a number to compare with a rate.
pub(super) fn float(count: usize) -> f64 {
    f64::from(u32::try_from(count).expect("a test counts no further"))
}
