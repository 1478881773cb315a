//! Which cookies give way when there are too many (RFC 6265bis, section 5.7, "remove excess cookies").

use super::cookie::CookieKey;
use super::index::{Entry, Index};
use crate::session::Timestamp;

/// The keys that must go so that `site` and the whole jar keep their limits.
///
/// A site over its limit is cut to [`SITE_KEEPS`]: expired cookies first, then those that are not `Secure`, then any. The jar
/// is cut to its limit: expired cookies first, then any. Within a class the least recently sent goes first.
pub(super) fn excess(index: &Index, site: &str, now: Timestamp) -> Vec<CookieKey> {
    let of_site = index.of_site(site);
    let over_site = if of_site.len() > MAX_OF_SITE {
        of_site.len() - SITE_KEEPS
    } else {
        0
    };
    let mut gone = first(of_site.iter(), over_site, |entry| match entry {
        entry if entry.cookie.is_expired(now) => 0,
        entry if !entry.cookie.secure() => 1,
        _ => 2,
    });
    let over_all = index
        .len()
        .saturating_sub(gone.len())
        .saturating_sub(MAX_OF_SESSION);
    if over_all > 0 {
        let rest = index
            .iter()
            .filter(|entry| !gone.contains(entry.cookie.key()));
        gone.extend(first(rest, over_all, |entry| {
            u8::from(!entry.cookie.is_expired(now))
        }));
    }
    gone
}

fn first<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    count: usize,
    class: impl Fn(&Entry) -> u8,
) -> Vec<CookieKey> {
    if count == 0 {
        return Vec::new();
    }
    let mut ranked: Vec<&Entry> = entries.collect();
    ranked.sort_unstable_by(|a, b| {
        let rank = |entry: &Entry| (class(entry), entry.accessed, entry.cookie.created());
        rank(a)
            .cmp(&rank(b))
            .then_with(|| a.cookie.key().cmp(b.cookie.key()))
    });
    ranked
        .into_iter()
        .take(count)
        .map(|entry| entry.cookie.key().clone())
        .collect()
}

/// Cookies of one registrable domain.
pub(super) const MAX_OF_SITE: usize = 180;

/// What a registrable domain over its limit keeps.
pub(super) const SITE_KEEPS: usize = 150;

/// Cookies of one session.
pub(super) const MAX_OF_SESSION: usize = 3000;
