//! Looking after the servers: where they are, whether they answer, and connecting to them again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join_all, select_all};
use tokio::time::sleep;

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
        let before = self.map.borrow().clone();
        let up = before
            .nodes
            .iter()
            .filter_map(|(address, standing)| match standing {
                Standing::Up(node) if !node.wire().is_closed() => {
                    Some((address.clone(), node.wire().clone()))
                }
                _ => None,
            });
        let surveyed = surveyor.survey(&self.dialer, up.collect()).await;
        let layout = match (surveyed, &before.layout) {
            (Ok(layout), _) => Arc::new(layout),
            // Who says where the servers are is gone; the servers may be where they were.
            (Err(_), Some(Ok(layout))) => Arc::clone(layout),
            (Err(trouble), known) => {
                if !matches!(known, Some(Err(known)) if *known == trouble) {
                    tracing::warn!(adapter = super::NAME, "{trouble}");
                }
                self.map.send_modify(|map| map.layout = Some(Err(trouble)));
                return false;
            }
        };
        let visits = layout.servers().into_iter().map(|(address, first)| {
            let before = before.nodes.get(address);
            async move { (address.clone(), self.visit(address, first, before).await) }
        });
        let nodes: BTreeMap<_, _> = join_all(visits).await.into_iter().collect();
        let well = nodes
            .values()
            .all(|standing| matches!(standing, Standing::Up(_)));
        self.map.send_replace(Map {
            layout: Some(Ok(layout)),
            nodes,
        });
        well
    }

    /// How one server stands.
    async fn visit(&self, address: &Address, first: u16, before: Option<&Standing>) -> Standing {
        if let Some(Standing::Up(node)) = before
            && !node.wire().is_closed()
        {
            match node.probe().await {
                Ok(()) => return Standing::Up(Arc::clone(node)),
                Err(trouble) if !node.wire().is_closed() => {
                    tracing::warn!(adapter = super::NAME, "{trouble}");
                    return Standing::Down(trouble);
                }
                Err(_) => {}
            }
        }
        let made = Node::connect(&self.dialer, address, &self.trial(first)).await;
        match (made, before) {
            (Ok(node), before) => {
                if let Some(Standing::Down(_)) = before {
                    tracing::info!(adapter = super::NAME, redis = %address, "Redis is back");
                }
                Standing::Up(Arc::new(node))
            }
            (Err(trouble), before) => {
                if !matches!(before, Some(Standing::Down(known)) if *known == trouble) {
                    tracing::warn!(adapter = super::NAME, "{trouble}");
                }
                Standing::Down(trouble)
            }
        }
    }
}
