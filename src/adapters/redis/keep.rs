//! Looking after the servers: where they are, whether they answer, and connecting to them again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use futures_util::join;
use tokio::time::sleep;

use super::NAME;
use super::link::{CALM, Inner, Map, Standing};
use super::node::Node;
use super::survey::Surveyor;
use super::url::Address;

/// How often the servers are looked at.
const PROBE_EVERY: Duration = Duration::from_millis(500);
/// How often one that is gone is looked for.
const RETRY_EVERY: Duration = Duration::from_millis(250);

impl Inner {
    /// Looks after the servers for ever.
    pub(super) async fn keep(&self) {
        let mut surveyor = Surveyor::default();
        loop {
            let well = self.look(&mut surveyor).await;
            let pause = if well { PROBE_EVERY } else { RETRY_EVERY };
            let closed = self.any_closed();
            tokio::select! {
                () = sleep(pause) => {}
                () = self.nudge.notified() => sleep(CALM).await,
                () = closed => {}
            }
        }
    }

    /// Ends when a connection does.
    fn any_closed(&self) -> impl Future<Output = ()> + use<> {
        let nodes: Vec<_> = {
            let map = self.map.borrow();
            let up = map.nodes.values().filter_map(|standing| match standing {
                Standing::Up(node) => Some(Arc::clone(node)),
                Standing::Down(_) => None,
            });
            up.collect()
        };
        async move {
            let closed = nodes.iter().map(|node| Box::pin(node.wire().closed()));
            let closed: Vec<_> = closed.collect();
            if closed.is_empty() {
                std::future::pending::<()>().await;
            }
            select_all(closed).await;
        }
    }

    /// Looks at every server, connects to those that are not, and writes down what it found; whether all is well.
    async fn look(&self, surveyor: &mut Surveyor) -> bool {
        let Map { layout, nodes } = self.map.borrow().clone();
        let up = nodes.into_values().filter_map(|standing| match standing {
            Standing::Up(node) if !node.wire().is_closed() => Some(node),
            _ => None,
        });
        let up: Vec<_> = up.collect();
        let wires = up.iter();
        let wires = wires.map(|node| (node.address().clone(), node.wire().clone()));
        let survey = surveyor.survey(&self.dialer, wires.collect());
        let probes = join_all(up.iter().map(|node| self.probe(node)));
        let layout = match (join!(survey, probes).0, layout) {
            (Ok(layout), _) => Arc::new(layout),
            // Who says where the servers are is gone; the servers may be where they were.
            (Err(_), Some(Ok(layout))) => layout,
            (Err(trouble), known) => {
                if !matches!(known, Some(Err(known)) if known == trouble) {
                    tracing::warn!(adapter = NAME, "{trouble}");
                }
                self.map.send_modify(|map| map.layout = Some(Err(trouble)));
                return false;
            }
        };
        let known = self.map.borrow().nodes.clone();
        let visits = layout.servers().into_iter().map(|(address, first)| {
            let known = known.get(address);
            async move { (address.clone(), self.visit(address, first, known).await) }
        });
        let nodes: BTreeMap<_, _> = join_all(visits).await.into_iter().collect();
        let is_up = |standing: &Standing| matches!(standing, Standing::Up(_));
        let well = nodes.values().all(is_up);
        self.map.send_replace(Map {
            layout: Some(Ok(layout)),
            nodes,
        });
        well
    }

    /// Whether a server still answers. That one is silent is written down at once, whatever others take their time for; one
    /// that has closed its connection may only have been started anew.
    async fn probe(&self, node: &Node) {
        let Err(trouble) = node.probe().await else {
            return;
        };
        if !trouble.is_drop() {
            tracing::warn!(adapter = NAME, "{trouble}");
            let address = node.address().clone();
            self.map.send_modify(|map| {
                map.nodes.insert(address, Standing::Down(trouble));
            });
        }
    }

    /// How a server stands that stood so, having been connected to if need be.
    async fn visit(&self, address: &Address, first: u16, known: Option<&Standing>) -> Standing {
        if let Some(Standing::Up(node)) = known
            && !node.wire().is_closed()
        {
            return Standing::Up(Arc::clone(node));
        }
        let trial = self.trial(first);
        let connected = match Node::connect(&self.dialer, address, &trial).await {
            // It may have accepted the connection while it was ending; now it tells whether it is gone.
            Err(trouble) if trouble.is_drop() => Node::connect(&self.dialer, address, &trial).await,
            connected => connected,
        };
        match connected {
            Ok(node) => {
                if let Some(Standing::Down(_)) = known {
                    tracing::info!(adapter = NAME, redis = %address, "Redis is back");
                }
                Standing::Up(Arc::new(node))
            }
            Err(trouble) => {
                if !matches!(known, Some(Standing::Down(known)) if *known == trouble) {
                    tracing::warn!(adapter = NAME, "{trouble}");
                }
                Standing::Down(trouble)
            }
        }
    }
}
