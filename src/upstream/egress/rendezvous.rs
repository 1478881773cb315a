//! Rendezvous hashing (Thaler and Ravishankar, 1998): every name ranks all proxies by itself, and takes the first.
//!
//! A proxy that is added takes from each of the others the names that rank it first, and no other name moves; one that is
//! taken out leaves its names to those that they ranked second. The ranking is the same in every process and version.

use sha2::{Digest as _, Sha256};

/// The places of `proxies` in the order in which `name` prefers them.
pub(super) fn ranking<'a>(name: &str, proxies: impl Iterator<Item = &'a str>) -> Vec<usize> {
    let mut weighed: Vec<_> = proxies
        .enumerate()
        .map(|(at, proxy)| (weight(name, proxy), proxy, at))
        .collect();
    weighed.sort_unstable_by(|one, other| other.cmp(one));
    weighed.into_iter().map(|(.., at)| at).collect()
}

fn weight(name: &str, proxy: &str) -> u64 {
    let mut hash = Sha256::new();
    hash.update(name);
    // In no name, and in no URL.
    hash.update([0]);
    hash.update(proxy);
    let digest = hash.finalize();
    digest
        .iter()
        .take(8)
        .fold(0, |weight, byte| weight << 8 | u64::from(*byte))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn first<'a>(name: &str, proxies: &'a BTreeSet<String>) -> Option<&'a str> {
        let all: Vec<&str> = proxies.iter().map(String::as_str).collect();
        let first = ranking(name, all.iter().copied()).first().copied()?;
        Some(all[first])
    }

    #[test]
    fn the_ranking_stays_what_it_is() {
        // Bindings of sessions that were made with an earlier version hang on it.
        assert_eq!(weight("a", "b"), 0x59b2_71ae_1bbc_b1d3);
        assert!(ranking("a", std::iter::empty()).is_empty());
    }

    #[test]
    fn names_are_spread_evenly() {
        let proxies: Vec<String> = (0..8)
            .map(|at| format!("http://10.0.0.{at}:3128"))
            .collect();
        let mut counts = BTreeMap::new();
        for name in 0..8_000 {
            let ranked = ranking(&name.to_string(), proxies.iter().map(String::as_str));
            *counts.entry(ranked[0]).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 8);
        // Within five standard deviations of a thousand.
        assert!(
            counts.values().all(|count| (850..1150).contains(count)),
            "{counts:?}"
        );
    }

    proptest! {
        #[test]
        fn a_ranking_has_every_proxy_once_whatever_their_order(
            name in ".{0,20}",
            proxies in proptest::collection::btree_set("[a-z]{1,8}", 0..12),
        ) {
            let there: Vec<&str> = proxies.iter().map(String::as_str).collect();
            let back: Vec<&str> = there.iter().rev().copied().collect();
            let by_name = |all: &[&str]| -> Vec<String> {
                ranking(&name, all.iter().copied()).into_iter().map(|at| all[at].to_owned()).collect()
            };
            let ranked = by_name(&there);
            prop_assert_eq!(&ranked, &by_name(&back));
            prop_assert_eq!(ranked.into_iter().collect::<BTreeSet<_>>(), proxies);
        }

        #[test]
        fn one_more_or_less_moves_only_those_that_must_move(
            names in proptest::collection::vec("[A-Za-z0-9._~-]{1,20}", 1..50),
            mut proxies in proptest::collection::btree_set("[a-z]{1,8}", 1..12),
            other in "[A-Z]{1,8}",
        ) {
            let before: Vec<_> = names.iter().map(|name| first(name, &proxies).map(str::to_owned)).collect();
            proxies.insert(other.clone());
            for (name, before) in names.iter().zip(&before) {
                let after = first(name, &proxies).map(str::to_owned);
                prop_assert!(after == *before || after.as_ref() == Some(&other), "{} moved between old proxies", name);
            }
            proxies.remove(&other);
            for (name, before) in names.iter().zip(before) {
                prop_assert_eq!(first(name, &proxies).map(str::to_owned), before);
            }
        }
    }
}
