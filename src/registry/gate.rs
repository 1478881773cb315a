//! The line before a session's limiter: who waits sleeps here, and is woken when its turn comes.
//!
//! Who goes when is decided by [`Limiter`]; this is the shell that sleeps until then.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::lease::Lease;
use super::live::LiveSession;
use crate::adapters::StoreError;
use crate::clock;
use crate::session::limiter::{Arrival, Limiter, LimiterState, Policy, Ticket, View};
use crate::session::time::Timestamp;

/// A session's limiter and those who wait for it.
#[derive(Debug)]
pub struct Gate {
    /// Nothing limits at the moment, so that nobody needs the lock.
    open: AtomicBool,
    /// Held for one decision, never across an await.
    line: Mutex<Line>,
    /// Tells the driver that its next look may be due earlier.
    nudge: Notify,
    /// The rate, where other processes have their part of it; the limiter in line then has none.
    lease: Mutex<Option<Arc<Lease>>>,
    /// Whether the store is one that other processes use.
    shared: bool,
}

#[derive(Debug)]
struct Line {
    limiter: Limiter,
    waiting: HashMap<Ticket, oneshot::Sender<Verdict>>,
    /// A task sleeps until somebody's turn comes; it ends with the line.
    driven: bool,
    /// Reused, so that a decision allocates nothing.
    admitted: Vec<Ticket>,
    refused: Vec<(Ticket, Duration)>,
}

type Verdict = Result<(), Refused>;

/// The limit of the session does not let the request go in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    /// When the same request might go.
    pub retry_after: Duration,
}

/// Why a request may not go.
#[derive(Clone, Debug)]
pub enum Denied {
    /// The session's limit.
    Refused(Refused),
    /// The limit is kept in a store that does not answer: nobody goes.
    Store(StoreError),
}

/// The right to send one request. Dropped, its slot is free again.
#[derive(Debug)]
pub struct Permit {
    session: Arc<LiveSession>,
    /// Whether the limiter counts this request as in flight.
    counted: bool,
    /// Whether the request had to wait.
    pub delayed: bool,
}

impl Gate {
    /// A gate of that policy; `shared` where the session is in a store that other processes use.
    pub(super) fn new(policy: Policy, state: &LimiterState, shared: bool, now: Timestamp) -> Self {
        let (local, lease) = part(policy, state, shared);
        let limiter = Limiter::new(local, state, now);
        Self {
            open: AtomicBool::new(limiter.is_open() && lease.is_none()),
            lease: Mutex::new(lease),
            shared,
            line: Mutex::new(Line {
                limiter,
                waiting: HashMap::new(),
                driven: false,
                admitted: Vec::new(),
                refused: Vec::new(),
            }),
            nudge: Notify::new(),
        }
    }

    /// Waits for the session's limit to let a request to `host` go.
    ///
    /// # Errors
    /// [`Denied`] where the policy refuses, the wait would be longer than it allows, or the store of a shared rate is gone.
    ///
    /// # Cancellation
    /// Dropped while it waits, the place in the line is given up and everyone behind moves up.
    pub async fn pass(session: &Arc<LiveSession>, host: &str) -> Result<Permit, Denied> {
        let mut permit = Self::line_up(session, host)
            .await
            .map_err(Denied::Refused)?;
        let lease = session.gate().lease(permit.counted);
        if let Some(lease) = lease {
            permit.delayed |= lease.take(session, host).await?;
        }
        Ok(permit)
    }

    /// The lease, looked for only by those who found the gate not open.
    fn lease(&self, counted: bool) -> Option<Arc<Lease>> {
        counted.then(|| self.lease.lock().clone()).flatten()
    }

    async fn line_up(session: &Arc<LiveSession>, host: &str) -> Result<Permit, Refused> {
        let gate = session.gate();
        let permit = |counted, delayed| Permit {
            session: Arc::clone(session),
            counted,
            delayed,
        };
        if gate.open.load(Ordering::Acquire) {
            return Ok(permit(false, false));
        }
        let mut place = match gate.arrive(session, host) {
            Ok(Ok(())) => return Ok(permit(true, false)),
            Ok(Err(refused)) => return Err(refused),
            Err(place) => place,
        };
        let verdict = (&mut place.verdict).await;
        place.settled = true;
        match verdict {
            Ok(verdict) => verdict.map(|()| permit(true, true)),
            Err(_) => unreachable!("a place leaves the line by its verdict or by its drop"),
        }
    }

    /// Pauses the session for a host, as its `Retry-After` asks.
    pub fn pause(&self, host: &str, until: Timestamp, now: Timestamp) {
        self.with(now, |line| line.limiter.pause(host, until, now));
    }

    /// What the limiter would allow now.
    pub fn view(&self, now: Timestamp) -> View {
        let local = self.line.lock().limiter.view(now);
        let Some(lease) = self.lease.lock().clone() else {
            return local;
        };
        let rate = lease.view(now);
        View {
            available: [local.available, rate.available]
                .into_iter()
                .flatten()
                .min(),
            next_allowed_at: local.next_allowed_at.max(rate.next_allowed_at),
        }
    }

    pub(super) fn snapshot(&self, now: Timestamp) -> LimiterState {
        self.line.lock().limiter.snapshot(now)
    }

    pub(super) fn reconfigure(&self, policy: Policy, now: Timestamp) {
        let (local, lease) = part(policy, &self.snapshot(now), self.shared);
        *self.lease.lock() = lease;
        self.with(now, |line| line.limiter.reconfigure(local, now));
    }

    /// Takes over what another process knows of pauses.
    pub(super) fn absorb(&self, state: &LimiterState, now: Timestamp) {
        self.with(now, |line| {
            for (host, until) in state.pauses() {
                line.limiter.pause(host, until, now);
            }
        });
    }

    fn arrive(&self, session: &Arc<LiveSession>, host: &str) -> Result<Verdict, Place> {
        let now = clock::now();
        self.with(now, |line| match line.limiter.arrive(host, now) {
            Arrival::Admitted => Ok(Ok(())),
            Arrival::Refused { retry_after } => Ok(Err(Refused { retry_after })),
            Arrival::Queued { ticket, .. } => {
                let (sender, verdict) = oneshot::channel();
                line.waiting.insert(ticket, sender);
                if !std::mem::replace(&mut line.driven, true) {
                    tokio::spawn(drive(Arc::clone(session)));
                }
                Err(Place {
                    session: Arc::clone(session),
                    ticket,
                    verdict,
                    settled: false,
                })
            }
        })
    }

    fn set_open(&self, limiter: &Limiter) {
        let open = limiter.is_open() && self.lease.lock().is_none();
        self.open.store(open, Ordering::Release);
    }

    /// Does something to the line, then tells everyone concerned what came of it.
    fn with<T>(&self, now: Timestamp, change: impl FnOnce(&mut Line) -> T) -> T {
        let mut line = self.line.lock();
        let line = &mut *line;
        let result = change(line);
        // Once more where a slot went to a waiter that is gone: the next in line may have it.
        while line.settle(now) {}
        self.set_open(&line.limiter);
        if line.driven {
            self.nudge.notify_one();
        }
        result
    }
}

/// What of a policy is decided here, and what with other processes.
fn part(policy: Policy, state: &LimiterState, shared: bool) -> (Policy, Option<Arc<Lease>>) {
    if !shared {
        return (policy, None);
    }
    let lease = Lease::new(&policy, state).map(Arc::new);
    (
        Policy {
            rate: None,
            ..policy
        },
        lease,
    )
}

/// Sleeps until the next turn or deadline in a session's line, over and over until nobody waits.
async fn drive(session: Arc<LiveSession>) {
    let gate = session.gate();
    loop {
        let now = clock::now();
        let next = {
            let mut line = gate.line.lock();
            while line.settle(now) {}
            let next = line.limiter.next_wake(now);
            if next.is_none() {
                line.driven = false;
            }
            gate.set_open(&line.limiter);
            next
        };
        let Some(next) = next else { return };
        tokio::select! {
            () = tokio::time::sleep(next.since(now).max(SHORTEST_SLEEP)) => {}
            () = gate.nudge.notified() => {}
        }
    }
}

impl Line {
    /// Tells those whose turn it is, and those who can no longer make it; whether a slot came back meanwhile.
    fn settle(&mut self, now: Timestamp) -> bool {
        self.limiter
            .poll(now, &mut self.admitted, &mut self.refused);
        let mut returned = false;
        for ticket in self.admitted.drain(..) {
            let told = self
                .waiting
                .remove(&ticket)
                .is_some_and(|waiter| waiter.send(Ok(())).is_ok());
            if !told {
                self.limiter.release();
                returned = true;
            }
        }
        for (ticket, retry_after) in self.refused.drain(..) {
            if let Some(waiter) = self.waiting.remove(&ticket) {
                // A waiter that is gone needs no refusal.
                let _ = waiter.send(Err(Refused { retry_after }));
            }
        }
        returned
    }
}

/// tokio's timers count milliseconds.
const SHORTEST_SLEEP: Duration = Duration::from_millis(1);

impl Drop for Permit {
    fn drop(&mut self) {
        if self.counted {
            let now = clock::now();
            self.session.gate().with(now, |line| line.limiter.release());
        }
    }
}

/// A place in the line.
#[derive(Debug)]
struct Place {
    session: Arc<LiveSession>,
    ticket: Ticket,
    verdict: oneshot::Receiver<Verdict>,
    settled: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.settled {
            return;
        }
        let now = clock::now();
        self.session.gate().with(now, |line| {
            if line.waiting.remove(&self.ticket).is_some() {
                // It was waiting, so it holds no slot.
                let _ = line.limiter.leave(self.ticket);
            } else if matches!(self.verdict.try_recv(), Ok(Ok(()))) {
                line.limiter.release();
            }
        });
    }
}
