//! The cookies of a jar by site, so that a request looks at no other site's.

use std::collections::HashMap;
use std::sync::Arc;

use super::cookie::{Cookie, CookieKey};
use super::matching::site;
use crate::session::Timestamp;

/// Cookies by registrable domain. Clones share each site's cookies until one of them changes.
#[derive(Clone, Default)]
pub(super) struct Index {
    sites: HashMap<Arc<str>, Arc<Vec<Entry>>>,
    count: usize,
}

/// A cookie and when it was last sent.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) cookie: Arc<Cookie>,
    pub(super) accessed: Timestamp,
}

impl Index {
    pub(super) fn len(&self) -> usize {
        self.count
    }

    /// The cookies whose domain is of this site.
    pub(super) fn of_site(&self, site: &str) -> &[Entry] {
        self.sites.get(site).map_or(&[], |entries| entries)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.sites.values().flat_map(|entries| entries.iter())
    }

    pub(super) fn find(&self, key: &CookieKey) -> Option<&Arc<Cookie>> {
        self.of_site(site(&key.domain))
            .iter()
            .map(|entry| &entry.cookie)
            .find(|cookie| cookie.key() == key)
    }

    /// Puts the cookie in the place of the one with its key, which it returns.
    pub(super) fn set(&mut self, cookie: Arc<Cookie>) -> Option<Arc<Cookie>> {
        let site = site(&cookie.key().domain);
        let entries = match self.sites.get_mut(site) {
            Some(entries) => entries,
            None => self.sites.entry(site.into()).or_default(),
        };
        let entries = Arc::make_mut(entries);
        let entry = Entry {
            accessed: cookie.updated(),
            cookie,
        };
        let known = entries
            .iter_mut()
            .find(|known| known.cookie.key() == entry.cookie.key());
        if let Some(known) = known {
            return Some(std::mem::replace(known, entry).cookie);
        }
        entries.push(entry);
        self.count += 1;
        None
    }

    pub(super) fn remove(&mut self, key: &CookieKey) -> Option<Arc<Cookie>> {
        let site = site(&key.domain);
        let entries = self.sites.get_mut(site)?;
        let place = entries.iter().position(|entry| entry.cookie.key() == key)?;
        let removed = Arc::make_mut(entries).swap_remove(place).cookie;
        if entries.is_empty() {
            self.sites.remove(site);
        }
        self.count -= 1;
        Some(removed)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Keeps the cookies that `keep` is true of and says how many went.
    pub(super) fn retain(&mut self, keep: impl Fn(&Cookie) -> bool) -> usize {
        let before = self.count;
        self.sites.retain(|_, entries| {
            if !entries.iter().all(|entry| keep(&entry.cookie)) {
                let all = entries.len();
                Arc::make_mut(entries).retain(|entry| keep(&entry.cookie));
                self.count -= all - entries.len();
            }
            !entries.is_empty()
        });
        before - self.count
    }

    /// Records that the cookies of this site that `sent` is true of were sent at `now`.
    pub(super) fn touch(&mut self, site: &str, sent: impl Fn(&Cookie) -> bool, now: Timestamp) {
        let Some(entries) = self.sites.get_mut(site) else {
            return;
        };
        for entry in Arc::make_mut(entries)
            .iter_mut()
            .filter(|entry| sent(&entry.cookie))
        {
            entry.accessed = entry.accessed.max(now);
        }
    }
}
