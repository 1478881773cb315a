//! Which server owns which slots: said by the URL, by sentinels, or by the cluster itself.

use futures_util::future::select_ok;
use redis::Value;

use super::dial::{Dialer, Login, Wire};
use super::keys::SLOTS;
use super::trouble::Trouble;
use super::url::{Address, Servers};

/// Slots and their owners. Without a cluster one server owns all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    /// From the first of these slots to the last; in order, without overlap.
    pub(super) ranges: Vec<(u16, u16, Address)>,
}

/// Asks, over connections that it keeps.
#[derive(Debug, Default)]
pub(super) struct Surveyor {
    known: Option<(Address, Wire)>,
}

impl Layout {
    fn of_one(address: Address) -> Self {
        Self {
            ranges: vec![(0, SLOTS - 1, address)],
        }
    }

    /// The owner of a slot.
    pub(super) fn owner(&self, slot: u16) -> Option<&Address> {
        self.ranges
            .iter()
            .find(|(first, last, _)| (*first..=*last).contains(&slot))
            .map(|(_, _, owner)| owner)
    }

    /// Each server once, with the first of its slots.
    pub(super) fn servers(&self) -> Vec<(&Address, u16)> {
        let mut servers: Vec<(&Address, u16)> = Vec::new();
        for (first, _, owner) in &self.ranges {
            if !servers.iter().any(|(known, _)| *known == owner) {
                servers.push((owner, *first));
            }
        }
        servers
    }

    /// Whether every slot has an owner.
    pub(super) fn is_whole(&self) -> bool {
        let mut next = 0;
        for (first, last, _) in &self.ranges {
            if *first != next {
                return false;
            }
            next = last + 1;
        }
        next == SLOTS
    }
}

impl Surveyor {
    /// Finds out. `up` are servers known to answer.
    pub(super) async fn survey(
        &mut self,
        dialer: &Dialer,
        up: Vec<(Address, Wire)>,
    ) -> Result<Layout, Trouble> {
        match &dialer.url().servers {
            Servers::One(address) => Ok(Layout::of_one(address.clone())),
            Servers::Cluster(seeds) => {
                if !up.is_empty() {
                    let asks = up
                        .iter()
                        .map(|(address, wire)| Box::pin(slots(address, wire)));
                    if let Ok((layout, _)) = select_ok(asks).await {
                        return Ok(layout);
                    }
                }
                let asks = seeds.iter().map(|seed| {
                    Box::pin(async move {
                        let wire = dialer.wire(seed, Login::Yes).await?;
                        slots(seed, &wire).await
                    })
                });
                select_ok(asks).await.map(|(layout, _)| layout)
            }
            Servers::Sentinel { sentinels, service } => {
                if let Some((address, wire)) = &self.known
                    && let Ok(master) = master(dialer, address, wire, service).await
                {
                    return Ok(Layout::of_one(master));
                }
                self.known = None;
                let asks = sentinels.iter().map(|sentinel| {
                    Box::pin(async move {
                        let wire = dialer.wire(sentinel, Login::No).await?;
                        let master = master(dialer, sentinel, &wire, service).await?;
                        Ok((sentinel.clone(), wire, master))
                    })
                });
                let ((sentinel, wire, master), _) = select_ok(asks).await?;
                self.known = Some((sentinel, wire));
                Ok(Layout::of_one(master))
            }
        }
    }
}

/// The master that a sentinel knows by this name.
async fn master(
    dialer: &Dialer,
    sentinel: &Address,
    wire: &Wire,
    service: &str,
) -> Result<Address, Trouble> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let answer = wire.ask_sentinel(dialer, sentinel, &command).await?;
    let known: Option<(String, u16)> =
        redis::from_redis_value(answer).map_err(|_| Trouble::garbled("SENTINEL"))?;
    let (host, port) = known.ok_or_else(|| {
        Trouble::new(format_args!(
            "the sentinel at {sentinel} knows no master `{service}`: correct the name in adapters.redis.url"
        ))
    })?;
    Ok(Address { host, port })
}

/// The slots as a node of the cluster knows them.
async fn slots(node: &Address, wire: &Wire) -> Result<Layout, Trouble> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = wire.ask(node, &command).await?;
    read_slots(node, answer).ok_or_else(|| Trouble::garbled("CLUSTER SLOTS"))
}

/// Reads `[first, last, [host, port, ...], replica...]...`. A node that does not know its own name leaves it empty.
fn read_slots(node: &Address, answer: Value) -> Option<Layout> {
    let entries: Vec<Vec<Value>> = redis::from_redis_value(answer).ok()?;
    let mut ranges = Vec::with_capacity(entries.len());
    for entry in entries {
        let mut entry = entry.into_iter();
        let first = redis::from_redis_value(entry.next()?).ok()?;
        let last = redis::from_redis_value(entry.next()?).ok()?;
        let owner: Vec<Value> = redis::from_redis_value(entry.next()?).ok()?;
        let mut owner = owner.into_iter();
        let host: Option<String> = redis::from_redis_value(owner.next()?).ok()?;
        let port = redis::from_redis_value(owner.next()?).ok()?;
        let host = host
            .filter(|host| !host.is_empty() && host != "?")
            .unwrap_or_else(|| node.host.clone());
        ranges.push((first, last, Address { host, port }));
    }
    ranges.sort_unstable();
    Some(Layout { ranges })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(host: &str, port: i64) -> Value {
        Value::Array(vec![
            Value::BulkString(host.into()),
            Value::Int(port),
            Value::BulkString("id".into()),
        ])
    }

    fn layout() -> Layout {
        let entry = |first, last, owner| {
            Value::Array(vec![
                Value::Int(first),
                Value::Int(last),
                owner,
                node("r", 1),
            ])
        };
        let answer = Value::Array(vec![
            entry(8192, 16383, node("b", 7001)),
            entry(0, 100, node("", 7000)),
            entry(101, 8191, node("b", 7001)),
        ]);
        let asked = Address {
            host: "a".into(),
            port: 9,
        };
        read_slots(&asked, answer).expect("slots")
    }

    #[test]
    fn slots_and_owners_are_read() {
        let layout = layout();
        let owner = |slot| layout.owner(slot).expect("an owner").to_string();
        assert_eq!(
            [0, 100, 101, 16383].map(owner),
            ["a:7000", "a:7000", "b:7001", "b:7001"]
        );
        let servers: Vec<_> = layout.servers().into_iter().map(|(_, slot)| slot).collect();
        assert_eq!(servers, [0, 101]);
        assert!(layout.is_whole());
    }

    #[test]
    fn a_gap_is_seen() {
        let mut layout = layout();
        layout.ranges.remove(1);
        assert!(!layout.is_whole());
        assert_eq!(layout.owner(200), None);
    }
}
