//! Leaves and their cache: minted once however many ask at once, bounded, renewed before they end.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;
use rustls::ServerConfig;
use rustls::sign::CertifiedKey;
use tracing::debug;

use super::error::CaError;
use super::profile::Root;
use super::terminate::Terminator;
use crate::message::Host;
use crate::session::time::Timestamp;

/// Some 1.5 KiB each (leaf, the root beside it, configuration), so 6 MiB when full.
const CAPACITY: usize = 4_096;

/// A minted certificate, ready to serve.
pub struct Leaf {
    certified_key: Arc<CertifiedKey>,
    server_config: Arc<ServerConfig>,
    not_after: Timestamp,
    renew_at: Timestamp,
}

impl Leaf {
    /// The chain (this leaf, then the authority) with the key that answers for it.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified_key
    }

    /// The configuration that serves this leaf.
    pub fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server_config
    }

    /// The last second of its validity.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Leaf")
            .field("not_after", &self.not_after)
            .field("renew_at", &self.renew_at)
            .finish_non_exhaustive()
    }
}

/// The leaves in use. When full, the cache drops those asked for least (S3-FIFO).
pub(super) struct Leaves {
    terminator: Terminator,
    validity: Duration,
    by_host: Cache<Host, Arc<Leaf>>,
}

impl Leaves {
    pub(super) fn new(terminator: Terminator, validity: Duration) -> Self {
        Self {
            terminator,
            validity,
            by_host: Cache::new(CAPACITY),
        }
    }

    /// Whoever comes first mints, outside of every lock; others who want this host wait for that, all
    /// others pass.
    pub(super) fn leaf_for(
        &self,
        root: &Root,
        host: &Host,
        now: Timestamp,
    ) -> Result<Arc<Leaf>, CaError> {
        if let Some(leaf) = self.by_host.get(host) {
            if now < leaf.renew_at {
                return Ok(leaf);
            }
            // Only a leaf that is still due: another thread may have put its successor here by now.
            self.by_host.remove_if(host, |leaf| leaf.renew_at <= now);
        }
        self.by_host
            .get_or_insert_with(host, || self.mint(root, host, now).map(Arc::new))
    }

    pub(super) fn len(&self) -> usize {
        self.by_host.len()
    }

    fn mint(&self, root: &Root, host: &Host, now: Timestamp) -> Result<Leaf, CaError> {
        let minted = root.mint(host, self.terminator.leaf_key(), self.validity, now)?;
        let certified_key = self.terminator.certified_key(minted.der, root);
        let server_config = self.terminator.server_config(&certified_key);
        debug!(%host, end = %minted.not_after, "minted a certificate");
        Ok(Leaf {
            certified_key,
            server_config,
            not_after: minted.not_after,
            renew_at: now + minted.not_after.since(now) * 2 / 3,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::super::profile::{new_key, self_signed};
    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const DAY: Duration = Duration::from_hours(24);

    fn root() -> Root {
        let key = new_key().expect("randomness");
        let der = self_signed(&key, NOW).expect("valid");
        Root::from_parts(der, key).expect("a pair")
    }

    fn leaves(validity: Duration) -> Leaves {
        Leaves::new(Terminator::new().expect("randomness"), validity)
    }

    fn host(text: &str) -> Host {
        Host::parse(text).expect(text)
    }

    #[test]
    fn a_host_is_minted_once_however_many_ask_at_once() {
        let (root, leaves, shop) = (root(), leaves(30 * DAY), host("shop.example"));
        let together = Barrier::new(32);
        let got: Vec<Arc<Leaf>> = std::thread::scope(|scope| {
            let asking: Vec<_> = (0..32)
                .map(|_| {
                    scope.spawn(|| {
                        together.wait();
                        leaves.leaf_for(&root, &shop, NOW).expect("minted")
                    })
                })
                .collect();
            asking
                .into_iter()
                .map(|one| one.join().expect("no panic"))
                .collect()
        });
        assert!(got.iter().all(|leaf| Arc::ptr_eq(leaf, &got[0])));
    }

    #[test]
    fn it_is_renewed_when_a_third_of_its_life_is_left() {
        let (root, leaves, shop) = (root(), leaves(30 * DAY), host("shop.example"));
        let leaf_at = |now| leaves.leaf_for(&root, &shop, now).expect("minted");
        let first = leaf_at(NOW);
        let due = NOW + first.not_after().since(NOW) * 2 / 3;
        assert!(Arc::ptr_eq(
            &first,
            &leaf_at(due - Duration::from_micros(1))
        ));
        let second = leaf_at(due);
        assert!(!Arc::ptr_eq(&first, &second));
        assert!(second.not_after() > first.not_after());
        assert!(Arc::ptr_eq(&second, &leaf_at(due)));
        assert_eq!(leaves.len(), 1);
    }

    #[test]
    fn near_the_roots_end_a_leaf_is_still_kept() {
        let (root, leaves, shop) = (root(), leaves(30 * DAY), host("shop.example"));
        let last_hour = root.not_after() - Duration::from_hours(1);
        let first = leaves.leaf_for(&root, &shop, last_hour).expect("minted");
        assert_eq!(first.not_after(), root.not_after());
        let soon = last_hour + Duration::from_mins(1);
        assert!(Arc::ptr_eq(
            &first,
            &leaves.leaf_for(&root, &shop, soon).expect("kept")
        ));
    }

    #[test]
    fn it_never_keeps_more_than_its_capacity() {
        let (root, leaves) = (root(), leaves(30 * DAY));
        for number in 0..CAPACITY + 500 {
            let host = host(&format!("h{number}.example"));
            leaves.leaf_for(&root, &host, NOW).expect("minted");
        }
        assert!(
            (CAPACITY / 2..=CAPACITY).contains(&leaves.len()),
            "{}",
            leaves.len()
        );
    }

    #[test]
    fn a_failure_is_not_kept() {
        let (root, leaves, shop) = (root(), leaves(30 * DAY), host("shop.example"));
        assert!(leaves.leaf_for(&root, &shop, root.not_after()).is_err());
        assert!(leaves.leaf_for(&root, &shop, NOW).is_ok());
        assert!(leaves.leaf_for(&root, &host("*"), NOW).is_err());
        assert_eq!(leaves.len(), 1);
    }

    #[test]
    fn leaf_and_root_are_served_under_one_key() {
        let (root, leaves) = (root(), leaves(30 * DAY));
        let a = leaves
            .leaf_for(&root, &host("a.example"), NOW)
            .expect("minted");
        let b = leaves
            .leaf_for(&root, &host("b.example"), NOW)
            .expect("minted");
        for leaf in [&a, &b] {
            assert_eq!(leaf.certified_key().cert.len(), 2);
            assert_eq!(leaf.certified_key().cert[1], *root.der());
            leaf.certified_key()
                .keys_match()
                .expect("the leaf's key answers for it");
        }
        assert!(Arc::ptr_eq(&a.certified_key().key, &b.certified_key().key));
    }
}
