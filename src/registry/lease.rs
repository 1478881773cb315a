//! A rate that other processes share: its cells are taken from the store, a few at a time, and given to requests in order.
//!
//! While cells are left here no request waits for the store. Where none is, the first in line asks for as many as wait, so that
//! a crowd costs one round trip. Without its store a rate lets nobody through.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::gate::{Denied, Refused};
use super::live::LiveSession;
use crate::adapters::{Reserve, StoreError};
use crate::clock;
use crate::session::limiter::{Cells, LimiterState, MAX_HOSTS, MAX_WAITING, Policy, Rate, View};
use crate::session::time::Timestamp;

/// A session's part of its rate.
#[derive(Debug)]
pub(super) struct Lease {
    rate: Rate,
    per_host: bool,
    /// How long a request may wait.
    patience: Duration,
    /// Held for one decision, never across an await. At most [`MAX_HOSTS`], idle ones giving way.
    buckets: Mutex<HashMap<Box<str>, Bucket>>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Cells that may be used at once, and when they were had.
    spare: VecDeque<Instant>,
    /// In order of arrival.
    waiting: VecDeque<Waiter>,
    /// Somebody is asking the store.
    asking: bool,
    /// When the bucket is full again, by what the store said last.
    full_at: Timestamp,
}

#[derive(Debug)]
struct Waiter {
    arrived: Instant,
    verdict: oneshot::Sender<Verdict>,
}

/// When to go, or why not.
type Verdict = Result<Instant, Denied>;

/// A spare cell that nobody has used for so long is lost: kept for longer, those of many processes would add up to a second
/// burst.
const SPARE_LASTS: Duration = Duration::from_secs(1);

/// The most cells that are asked for at once, and so the most that a process that dies takes with it.
const MOST_WANTED: usize = 256;
const MOST_SPARE: u32 = 64;

impl Lease {
    /// The part of a session whose limiter's state was stored as `state`; `None` where it has no rate.
    pub(super) fn new(policy: &Policy, state: &LimiterState) -> Option<Self> {
        let rate = policy.rate?;
        let shared = Bucket {
            full_at: state.full_at().unwrap_or_default(),
            ..Bucket::default()
        };
        Some(Self {
            rate,
            per_host: policy.per_host,
            patience: policy.patience(),
            buckets: Mutex::new(HashMap::from([("".into(), shared)])),
        })
    }

    /// Takes a cell for a request to `host`, waiting for it as long as the policy allows; whether it had to wait for more than
    /// the store's answer.
    ///
    /// # Errors
    /// [`Denied`], also where the store does not answer.
    ///
    /// # Cancellation
    /// Dropped while it waits for the store, the next in line has the cell; dropped thereafter, the cell is lost.
    pub(super) async fn take(
        self: &Arc<Self>,
        session: &Arc<LiveSession>,
        host: &str,
    ) -> Result<bool, Denied> {
        let name = if self.per_host { host } else { "" };
        let verdict = {
            let mut buckets = self.buckets.lock();
            make_room(&mut buckets, name);
            let bucket = buckets.entry(name.into()).or_default();
            let now = Instant::now();
            let spare = bucket.take_spare(now);
            let waits = !spare && {
                if bucket.waiting.len() >= MAX_WAITING {
                    return Err(Denied::Refused(Refused {
                        retry_after: self.patience,
                    }));
                }
                true
            };
            let verdict = waits.then(|| {
                let (verdict, given) = oneshot::channel();
                bucket.waiting.push_back(Waiter {
                    arrived: now,
                    verdict,
                });
                given
            });
            if bucket.spare.is_empty() && !std::mem::replace(&mut bucket.asking, true) {
                let (lease, session) = (Arc::clone(self), Arc::clone(session));
                tokio::spawn(lease.ask(session, name.into()));
            }
            verdict
        };
        let Some(verdict) = verdict else {
            return Ok(false);
        };
        match verdict.await {
            Ok(Ok(at)) => {
                let waits = at > Instant::now();
                if waits {
                    tokio::time::sleep_until(at.into()).await;
                }
                Ok(waits)
            }
            Ok(Err(denied)) => Err(denied),
            // Whoever asks answers everybody; it can only have been torn down with the process.
            Err(_) => Err(Denied::Refused(Refused {
                retry_after: Duration::from_secs(1),
            })),
        }
    }

    /// Asks the store until nobody waits.
    async fn ask(self: Arc<Self>, session: Arc<LiveSession>, name: Box<str>) {
        loop {
            let wanted = {
                let mut buckets = self.buckets.lock();
                let Some(bucket) = buckets.get_mut(&name) else {
                    return;
                };
                bucket.waiting.retain(|waiter| !waiter.verdict.is_closed());
                bucket.waiting.len().min(MOST_WANTED)
            };
            let reserve = Reserve {
                bucket: name.clone(),
                rate: self.rate,
                wanted: u32::try_from(wanted).unwrap_or(u32::MAX),
                spare: self.rate.burst().get().min(MOST_SPARE),
                patience: self.patience,
            };
            let answer = match session.adapter.shared() {
                Some(shared) => {
                    shared
                        .reserve(session.id(), session.generation(), &reserve)
                        .await
                }
                None => Ok(None),
            };
            let mut buckets = self.buckets.lock();
            let Some(bucket) = buckets.get_mut(&name) else {
                return;
            };
            match answer {
                Ok(Some(taken)) => {
                    let cells = self.rate.reserve(
                        taken.before,
                        taken.at,
                        reserve.wanted,
                        reserve.spare,
                        reserve.patience,
                    );
                    let full_in = cells.full_at.since(taken.at);
                    bucket.full_at = clock::now() + full_in;
                    bucket.give(&cells, wanted, self.patience);
                }
                // It was deleted meanwhile; what its requests still do writes nothing.
                Ok(None) => {
                    session.end();
                    bucket.let_everybody_go();
                }
                Err(error) => bucket.deny_everybody(&error),
            }
            if bucket.waiting.is_empty() {
                bucket.asking = false;
                return;
            }
        }
    }

    /// What the store would allow now, as far as it is known here.
    pub(super) fn view(&self, now: Timestamp) -> View {
        let buckets = self.buckets.lock();
        let full_at = buckets
            .values()
            .map(|bucket| bucket.full_at)
            .max()
            .unwrap_or_default();
        let next = self.rate.reserve(full_at, now, 0, 0, Duration::ZERO).next;
        View {
            available: Some(self.rate.free(full_at, now)),
            next_allowed_at: (!next.is_zero()).then(|| now + next),
        }
    }
}

/// Drops the buckets that nobody waits for where there are too many: what they know is in the store.
fn make_room(buckets: &mut HashMap<Box<str>, Bucket>, name: &str) {
    if buckets.len() >= MAX_HOSTS && !buckets.contains_key(name) {
        buckets.retain(|_, bucket| bucket.asking || !bucket.waiting.is_empty());
    }
}

impl Bucket {
    fn take_spare(&mut self, now: Instant) -> bool {
        while let Some(had) = self.spare.pop_front() {
            if now.saturating_duration_since(had) < SPARE_LASTS {
                return true;
            }
        }
        false
    }

    /// Hands the cells out in order; of those who were asked for, whoever gets none in time is refused.
    fn give(&mut self, cells: &Cells, wanted: usize, patience: Duration) {
        let now = Instant::now();
        let mut waits = cells.waits.iter().copied().peekable();
        let mut served = 0;
        while let Some(wait) = waits.peek().copied() {
            let Some(waiter) = self.waiting.pop_front() else {
                break;
            };
            served += 1;
            let at = now + wait;
            if at.saturating_duration_since(waiter.arrived) > patience && !wait.is_zero() {
                // Whoever stands behind has more patience left.
                let _ = waiter.verdict.send(Err(Denied::Refused(Refused {
                    retry_after: cells.next,
                })));
                continue;
            }
            if waiter.verdict.send(Ok(at)).is_ok() {
                waits.next();
            }
        }
        for waiter in self
            .waiting
            .drain(..wanted.saturating_sub(served).min(self.waiting.len()))
        {
            // A waiter that is gone needs no refusal.
            let _ = waiter.verdict.send(Err(Denied::Refused(Refused {
                retry_after: cells.next.max(Duration::from_millis(1)),
            })));
        }
        let kept = waits.filter(Duration::is_zero).count();
        self.spare
            .extend(std::iter::repeat_n(now, kept + cells.spare as usize));
    }

    fn let_everybody_go(&mut self) {
        let now = Instant::now();
        for waiter in self.waiting.drain(..) {
            let _ = waiter.verdict.send(Ok(now));
        }
    }

    fn deny_everybody(&mut self, error: &StoreError) {
        for waiter in self.waiting.drain(..) {
            let _ = waiter.verdict.send(Err(Denied::Store(error.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiters(bucket: &mut Bucket, count: usize) -> Vec<oneshot::Receiver<Verdict>> {
        (0..count)
            .map(|_| {
                let (verdict, given) = oneshot::channel();
                bucket.waiting.push_back(Waiter {
                    arrived: Instant::now(),
                    verdict,
                });
                given
            })
            .collect()
    }

    fn cells(waits: &[u64], spare: u32) -> Cells {
        Cells {
            waits: waits.iter().copied().map(Duration::from_millis).collect(),
            spare,
            full_at: Timestamp::default(),
            next: Duration::from_millis(700),
        }
    }

    #[test]
    fn cells_go_to_those_who_wait_in_order_and_the_rest_is_refused() {
        let mut bucket = Bucket::default();
        let mut given = waiters(&mut bucket, 4);
        drop(given.remove(1));
        bucket.give(&cells(&[0, 100], 1), 3, Duration::from_secs(1));
        let mut verdicts = given.iter_mut().map(|given| given.try_recv());
        assert!(matches!(verdicts.next(), Some(Ok(Ok(_)))));
        assert!(matches!(verdicts.next(), Some(Ok(Ok(_)))));
        assert!(
            verdicts.next().is_some_and(|waits| waits.is_err()),
            "nobody asked for it yet"
        );
        assert_eq!((bucket.waiting.len(), bucket.spare.len()), (1, 1));

        bucket.give(&cells(&[], 0), 1, Duration::from_secs(1));
        let refused = given.last_mut().expect("the fourth").try_recv();
        let Ok(Err(Denied::Refused(refused))) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(refused.retry_after, Duration::from_millis(700));
    }

    #[test]
    fn a_cell_that_nobody_takes_is_spare_for_a_while() {
        let mut bucket = Bucket::default();
        drop(waiters(&mut bucket, 1));
        bucket.give(&cells(&[0], 0), 1, Duration::from_secs(1));
        assert_eq!(bucket.spare.len(), 1);
        let now = Instant::now();
        assert!(!bucket.take_spare(now + SPARE_LASTS));
        bucket.give(&cells(&[], 2), 0, Duration::from_secs(1));
        assert!(bucket.take_spare(now));
        assert_eq!(bucket.spare.len(), 1);
    }
}
