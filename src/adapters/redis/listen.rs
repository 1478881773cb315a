//! Hearing what other processes do: a subscription to every server, and a number that counts the times it was interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{join_all, select_all};
use redis::aio::PubSub;
use tokio::sync::{mpsc, watch};
use tokio::time::{interval, sleep, timeout};

use super::dial::{Dialer, PROBE_TIMEOUT};
use super::link::Map;
use super::news::{self, News};
use super::trouble::Trouble;
use super::url::Address;
use crate::adapters::{Change, Freshness};

/// Whether changes are heard, and how often they were not.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    /// The interruptions, times two, and one more while changes are heard.
    state: AtomicU64,
}

impl Hearing {
    pub(super) fn freshness(&self) -> Freshness {
        let state = self.state.load(Ordering::Acquire);
        if state % 2 == 1 {
            Freshness::Linked(state / 2)
        } else {
            Freshness::Unlinked
        }
    }

    /// From here on every change is heard.
    fn begin(&self) {
        self.state.fetch_or(1, Ordering::AcqRel);
    }

    /// From here on changes may be missed; whether they were heard before.
    fn end(&self) -> bool {
        let heard = self.state.load(Ordering::Acquire) % 2 == 1;
        if heard {
            // From odd to even: the number of interruptions moves.
            self.state.fetch_add(1, Ordering::AcqRel);
        }
        heard
    }
}

/// Who listens to what.
#[derive(Debug)]
pub(super) struct Listener {
    pub(super) dialer: Arc<Dialer>,
    pub(super) map: watch::Receiver<Map>,
    pub(super) channel: String,
    pub(super) process: String,
    pub(super) hearing: Arc<Hearing>,
    pub(super) changes: mpsc::UnboundedSender<Change>,
}

/// How often a subscription is asked for a sign of life.
const PING_EVERY: Duration = Duration::from_millis(500);
/// How long to wait before a subscription that failed is made again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

impl Listener {
    /// Listens until nobody wants to hear any more.
    pub(super) async fn listen(mut self) {
        loop {
            let Ok(servers) = self.servers().await else {
                return;
            };
            let subscribing = servers
                .iter()
                .map(|server| self.dialer.listen(server, &self.channel));
            let subscriptions: Result<Vec<_>, Trouble> =
                join_all(subscribing).await.into_iter().collect();
            match subscriptions {
                Ok(subscriptions) => {
                    self.hearing.begin();
                    let trouble = self.hear(&servers, subscriptions).await;
                    self.hearing.end();
                    if self.changes.is_closed() {
                        return;
                    }
                    tracing::warn!(
                        adapter = super::NAME,
                        "changes of other processes are not heard: {trouble}"
                    );
                }
                Err(trouble) => {
                    tracing::debug!(adapter = super::NAME, "no subscription: {trouble}");
                }
            }
            sleep(RETRY_AFTER).await;
        }
    }

    /// The servers to listen to, once all are up. In a cluster that is every master: whatever becomes of the links between
    /// them, a change is told where it was made.
    async fn servers(&mut self) -> Result<Vec<Address>, watch::error::RecvError> {
        loop {
            if let Some(servers) = self.map.borrow_and_update().listened() {
                return Ok(servers);
            }
            self.map.changed().await?;
        }
    }

    /// Hears until something is missed, or may have been; what it was.
    async fn hear(&self, servers: &[Address], subscriptions: Vec<PubSub>) -> Trouble {
        let mut ends: Vec<_> = servers
            .iter()
            .zip(subscriptions)
            .map(|(server, subscription)| {
                let hearing: std::pin::Pin<Box<dyn Future<Output = Trouble> + Send + '_>> =
                    Box::pin(self.hear_one(server, subscription));
                hearing
            })
            .collect();
        ends.push(Box::pin(self.moved(servers)));
        select_all(ends).await.0
    }

    async fn hear_one(&self, server: &Address, subscription: PubSub) -> Trouble {
        let (mut sink, mut lines) = subscription.split();
        let hear = async {
            while let Some(line) = lines.next().await {
                match news::read(line.get_payload_bytes(), &self.process) {
                    News::Nothing => {}
                    News::Unknown => {
                        return Trouble::new(format_args!(
                            "Redis at {server} passes on a message that this version does not understand"
                        ));
                    }
                    News::Change(change) => {
                        if self.changes.send(change).is_err() {
                            return Trouble::new("nobody listens any more");
                        }
                    }
                }
            }
            Trouble::dropped(server)
        };
        let ping = async {
            let mut ticks = interval(PING_EVERY);
            loop {
                ticks.tick().await;
                match timeout(PROBE_TIMEOUT, sink.ping::<redis::Value>()).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => return Trouble::answered(server, &error),
                    Err(_) => return Trouble::silent(server),
                }
            }
        };
        tokio::select! {
            trouble = hear => trouble,
            trouble = ping => trouble,
            () = self.changes.closed() => Trouble::new("nobody listens any more"),
        }
    }

    /// Ends when other servers than these have to be listened to.
    async fn moved(&self, servers: &[Address]) -> Trouble {
        let mut map = self.map.clone();
        let others = |map: &Map| map.owners().is_some_and(|now| now != servers);
        match map.wait_for(others).await {
            Ok(_) => Trouble::new("the sessions have moved to other servers"),
            Err(_) => Trouble::new("the adapter is being shut down"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interruption_has_its_number() {
        let hearing = Hearing::default();
        assert_eq!(hearing.freshness(), Freshness::Unlinked);
        assert!(!hearing.end());
        hearing.begin();
        assert_eq!(hearing.freshness(), Freshness::Linked(0));
        assert!(hearing.end());
        assert_eq!(hearing.freshness(), Freshness::Unlinked);
        hearing.begin();
        assert_eq!(hearing.freshness(), Freshness::Linked(1));
    }
}
