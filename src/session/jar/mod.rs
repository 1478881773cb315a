//! The cookies of a session: RFC 6265bis with the limits of Chromium, and the memory that tells stale echoes.

mod cookie;
mod date;
mod evict;
mod filter;
mod index;
mod matching;
mod memo;
mod merge;
mod octets;
mod parse;
mod partition;
mod receive;
mod remove;
mod stored;
mod superseded;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

pub use self::cookie::{Cookie, CookieKey, CookieParts, InvalidCookie, SameSite};
pub use self::filter::CookieFilter;
pub use self::octets::{CookieName, CookieValue};
pub use self::partition::PartitionKey;
pub use self::superseded::{EchoMark, Fingerprint, InvalidMark, Superseded};

use self::index::{Entry, Index};
use self::memo::Memo;
use super::delta::CookieDelta;
use super::time::Timestamp;

/// What of a request's URL decides about cookies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CookieUrl<'a> {
    /// Whether the scheme is `https` or `wss`. A host does not make a URL secure, `localhost` included.
    pub secure: bool,
    /// The canonical host: lower-case A-labels without a final dot, an IPv4 address, or an IPv6 address in brackets.
    pub host: &'a str,
    /// The path without query, beginning with `/`.
    pub path: &'a str,
}

/// The cookies of a session.
///
/// At most 180 of one registrable domain (a site over that is cut to 150) and 3,000 in all. Every change comes out as a
/// [`CookieDelta`] that was already applied here and that [`Jar::apply`] makes elsewhere. Cloning shares the cookies.
///
/// ```
/// use burdock::session::{CookieUrl, Jar, Timestamp};
///
/// let now = Timestamp::from_unix_seconds(1_795_514_400);
/// let url = CookieUrl { secure: true, host: "shop.example", path: "/login" };
/// let mut jar = Jar::default();
/// jar.receive(&url, [&b"sid=1; Path=/; Secure; HttpOnly"[..], b"seen=yes; Path=/login"], now);
/// assert_eq!(jar.header_for(&url, [], now).unwrap(), "seen=yes; sid=1");
/// assert_eq!(jar.header_for(&url, [&b"sid=mine"[..]], now).unwrap(), "seen=yes; sid=mine");
/// assert_eq!(jar.header_for(&CookieUrl { secure: false, ..url }, [], now).unwrap(), "seen=yes");
/// ```
#[derive(Clone, Default)]
pub struct Jar {
    cookies: Index,
    superseded: Superseded,
    memo: Memo,
    version: u64,
    /// No cookie was created later.
    newest: Timestamp,
}

impl Jar {
    /// Moves whenever what the jar sends may have changed. It is this value's own: not stored, not equal among clones.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many cookies there are, expired ones that nobody pruned yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cookies.len()
    }

    /// Whether there is no cookie.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cookies.len() == 0
    }

    /// The cookie of this key, which may be expired.
    #[must_use]
    pub fn find(&self, key: &CookieKey) -> Option<&Cookie> {
        self.cookies.find(key).map(|cookie| &**cookie)
    }

    /// The values that it handed out and has since replaced or deleted.
    #[must_use]
    pub fn superseded(&self) -> &Superseded {
        &self.superseded
    }

    /// All cookies in no order, expired ones that nobody pruned yet included.
    pub fn iter(&self) -> impl Iterator<Item = &Cookie> {
        self.cookies.iter().map(|entry| &*entry.cookie)
    }

    /// The cookies that are not expired, in the order of their creation.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Cookie> {
        let mut live: Vec<&Cookie> = self
            .iter()
            .filter(|cookie| !cookie.is_expired(now))
            .collect();
        live.sort_unstable_by(|a, b| creation_order(a, b));
        live.into_iter()
    }

    /// The `Cookie` field value for a request to `url` whose client sent the `client` lines; none: no field is sent.
    ///
    /// The session's cookies come first, longest path and then oldest creation first, without those that the client sends a
    /// cookie of the same name for; the client's own follow in their order, without those whose value this session handed
    /// out and has since replaced or deleted. With nothing of the session's to add or drop, the client's lines are passed
    /// octet by octet, joined by `; `.
    ///
    /// Without client lines the value is remembered for the last 8 URLs, so that it costs no more than a comparison.
    pub fn header_for<'a>(
        &mut self,
        url: &CookieUrl<'_>,
        client: impl IntoIterator<Item = &'a [u8]>,
        now: Timestamp,
    ) -> Option<HeaderValue> {
        let mut client = client.into_iter();
        let Some(first) = client.next() else {
            return self.own_header_for(url, now);
        };
        let client: Vec<&[u8]> = std::iter::once(first).chain(client).collect();
        let site = matching::site(url.host);
        let selected = self.select(url, site, now);
        let is_present = |name: &[u8], value: &[u8]| {
            self.cookies
                .of_site(site)
                .iter()
                .map(|entry| &entry.cookie)
                .any(|cookie| {
                    cookie.name().as_bytes() == name
                        && cookie.value().as_bytes() == value
                        && !cookie.is_expired(now)
                })
        };
        let ours = merge::Ours {
            site,
            selected: &selected,
            is_present: &is_present,
            superseded: &self.superseded,
        };
        let merged = merge::merge(&ours, &client);
        if is_access_due(&selected, now) {
            self.note_access(url, site, now);
        }
        merged
    }

    /// Takes the `Set-Cookie` lines of a response from `url` (RFC 6265bis, section 5.7) and says what changed.
    ///
    /// A deletion is part of the change even where there is no such cookie here: another process may have stored it.
    pub fn receive<'a>(
        &mut self,
        url: &CookieUrl<'_>,
        lines: impl IntoIterator<Item = &'a [u8]>,
        now: Timestamp,
    ) -> CookieDelta {
        let mut delta = CookieDelta::default();
        for line in lines {
            if let Some(cookie) = receive::receive(&self.cookies, url, line, now) {
                delta = delta.then(self.store(cookie, now));
            }
        }
        delta
    }

    /// Adds or replaces cookies in their order, as their owner wants them; one that is expired deletes. Creation times are
    /// given anew, expiries are capped at 400 days ahead.
    pub fn put(&mut self, cookies: Vec<Cookie>, now: Timestamp) -> CookieDelta {
        let mut delta = CookieDelta::default();
        for mut cookie in cookies {
            cookie.created = now;
            cookie.updated = now;
            cookie.expires = cookie
                .expires
                .map(|expires| expires.min(now + parse::MAX_AGE));
            delta = delta.then(self.store(cookie, now));
        }
        delta
    }

    /// Removes the cookies that the filter means.
    pub fn remove_where(&mut self, filter: &CookieFilter, now: Timestamp) -> CookieDelta {
        let mut delta = CookieDelta::default();
        for cookie in self.iter().filter(|cookie| filter.means(cookie)) {
            if !cookie.is_expired(now) {
                delta.mark(EchoMark::stale(
                    matching::site(cookie.domain()),
                    cookie.name(),
                    cookie.value(),
                ));
            }
            delta.remove(cookie.key().clone());
        }
        self.apply(&delta);
        delta
    }

    /// Removes every cookie.
    pub fn clear(&mut self, now: Timestamp) -> CookieDelta {
        let mut delta = CookieDelta::default();
        delta.clear();
        for cookie in self.live(now) {
            delta.mark(EchoMark::stale(
                matching::site(cookie.domain()),
                cookie.name(),
                cookie.value(),
            ));
        }
        self.apply(&delta);
        delta
    }

    /// Prunes the cookies that have expired and says how many went. They were not sent before either.
    pub fn expire(&mut self, now: Timestamp) -> usize {
        self.cookies.retain(|cookie| !cookie.is_expired(now))
    }

    /// Makes a change that this or another jar of the session came out with. The only merge: cookie by cookie, the last wins.
    pub fn apply(&mut self, delta: &CookieDelta) {
        let mut moved = false;
        if delta.cleared() {
            moved |= !self.is_empty();
            self.cookies.clear();
        }
        for (key, cookie) in delta.by_key() {
            let (before, after) = match cookie {
                Some(cookie) => {
                    self.newest = self.newest.max(cookie.created());
                    (self.cookies.set(Arc::clone(cookie)), Some(cookie))
                }
                None => (self.cookies.remove(key), None),
            };
            moved |= match (before, after) {
                (Some(before), Some(after)) => !before.same_but_for_update(after),
                (before, after) => before.is_some() || after.is_some(),
            };
        }
        for mark in delta.echoes() {
            self.superseded.apply(mark);
        }
        self.version += u64::from(moved);
    }

    /// RFC 6265bis, section 5.8.3, for a request by HTTP that is its own top-level site.
    fn select(&self, url: &CookieUrl<'_>, site: &str, now: Timestamp) -> Vec<&Entry> {
        let of_site = self.cookies.of_site(site).iter();
        let mut selected: Vec<_> = of_site
            .filter(|entry| is_sent(&entry.cookie, url, site, now))
            .collect();
        selected.sort_unstable_by(|a, b| {
            let longest = b.cookie.path().len().cmp(&a.cookie.path().len());
            longest.then_with(|| creation_order(&a.cookie, &b.cookie))
        });
        selected
    }

    fn own_header_for(&mut self, url: &CookieUrl<'_>, now: Timestamp) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        if let Some(value) = self.memo.recall(url, self.version, now) {
            return value.clone();
        }
        let site = matching::site(url.host);
        let selected = self.select(url, site, now);
        let value = merge::cookie_string(&selected);
        let expires = selected
            .iter()
            .filter_map(|entry| entry.cookie.expires())
            .min()
            .unwrap_or(Timestamp::MAX);
        if is_access_due(&selected, now) {
            self.note_access(url, site, now);
        }
        self.memo
            .keep(url, self.version, now, expires, value.clone());
        value
    }

    fn note_access(&mut self, url: &CookieUrl<'_>, site: &str, now: Timestamp) {
        self.cookies
            .touch(site, |cookie| is_sent(cookie, url, site, now), now);
    }

    /// Steps 23 and 24 of the storage model, with what follows from them: eviction, and the mark of the value that went.
    fn store(&mut self, mut cookie: Cookie, now: Timestamp) -> CookieDelta {
        let site = matching::site(cookie.domain()).to_owned();
        let old = self
            .cookies
            .find(cookie.key())
            .filter(|old| !old.is_expired(now));
        let mut delta = CookieDelta::default();
        if let Some(old) = old {
            cookie.created = old.created();
            if cookie.is_expired(now) || old.value() != cookie.value() {
                delta.mark(EchoMark::stale(&site, old.name(), old.value()));
            }
        } else {
            // As in Chromium, so that creation times alone order the cookies of a jar.
            cookie.created = now.max(self.newest + Duration::from_micros(1));
        }
        if cookie.is_expired(now) {
            delta.remove(cookie.key);
            self.apply(&delta);
            return delta;
        }
        let fresh = EchoMark::fresh(&site, cookie.name(), cookie.value());
        if self.superseded.contains(&fresh) {
            delta.mark(fresh);
        }
        delta.set(Arc::new(cookie));
        self.apply(&delta);
        let mut evicted = CookieDelta::default();
        for key in evict::excess(&self.cookies, &site, now) {
            evicted.remove(key);
        }
        self.apply(&evicted);
        delta.then(evicted)
    }
}

/// Two jars are equal that hold the same cookies and the same stale values.
impl PartialEq for Jar {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.superseded == other.superseded
            && self
                .iter()
                .all(|cookie| other.find(cookie.key()) == Some(cookie))
    }
}

impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jar")
            .field("cookies", &self.len())
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// Whether some cookie was last noted as sent so long ago that it must be noted again.
fn is_access_due(selected: &[&Entry], now: Timestamp) -> bool {
    selected
        .iter()
        .any(|entry| now.since(entry.accessed) >= memo::ACCESS_GRANULARITY)
}

fn is_sent(cookie: &Cookie, url: &CookieUrl<'_>, site: &str, now: Timestamp) -> bool {
    let domain = if cookie.host_only() {
        url.host == cookie.domain()
    } else {
        matching::domain_match(url.host, cookie.domain())
    };
    domain
        && matching::path_match(url.path, cookie.path())
        && (url.secure || !cookie.secure())
        && !cookie.is_expired(now)
        && cookie
            .partition()
            .is_none_or(|partition| partition.is_first_party(url.secure, site))
}

fn creation_order(a: &Cookie, b: &Cookie) -> std::cmp::Ordering {
    a.created()
        .cmp(&b.created())
        .then_with(|| a.key().cmp(b.key()))
}
