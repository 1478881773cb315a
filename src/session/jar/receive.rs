//! The storage model (RFC 6265bis, section 5.7): whether a response's `Set-Cookie` line makes a cookie, and which.

use std::borrow::Cow;

use super::CookieUrl;
use super::cookie::{Cookie, CookieKey, SameSite, is_host_prefixed};
use super::index::Index;
use super::matching::{self, DomainKind};
use super::parse::{self, Expiry, PathAttribute, SetCookie};
use super::partition::PartitionKey;
use crate::session::Timestamp;

/// The cookie that a line sent by `url` makes, created `now`; none where the line is to be ignored. An expiry that lies in
/// the past deletes.
pub(super) fn receive(
    index: &Index,
    url: &CookieUrl<'_>,
    line: &[u8],
    now: Timestamp,
) -> Option<Cookie> {
    let line = parse::parse(line, now)?;
    let (domain, host_only) = domain(url, &line)?;
    let path = match line.path {
        // No request has a path that is not UTF-8, so such a cookie could never be sent.
        PathAttribute::Given(path) => std::str::from_utf8(path).ok()?,
        PathAttribute::Default | PathAttribute::Absent => matching::default_path(url.path),
    };
    let needs_secure = line.partitioned || line.same_site == Some(SameSite::None);
    let may_be_secure = if line.secure {
        url.secure
    } else {
        !needs_secure
    };
    if !may_be_secure || (is_host_prefixed(line.name) && line.path == PathAttribute::Absent) {
        return None;
    }
    let site = matching::site(url.host);
    let cookie = Cookie {
        key: CookieKey {
            name: line.name.into(),
            domain: domain.into(),
            host_only,
            path: path.into(),
            partition: line
                .partitioned
                .then(|| Box::new(PartitionKey::first_party(url.secure, site))),
        },
        value: line.value.into(),
        expires: match line.expiry {
            Expiry::Session => None,
            Expiry::At(at) => Some(at),
        },
        created: now,
        updated: now,
        secure: line.secure,
        http_only: line.http_only,
        same_site: line.same_site,
    };
    let allowed =
        cookie.keeps_its_prefix() && (url.secure || !overlays_secure(index, site, &cookie, now));
    allowed.then_some(cookie)
}

/// Steps 7 to 10: the cookie's domain and host-only-flag.
fn domain<'a>(url: &CookieUrl<'a>, line: &SetCookie<'_>) -> Option<(&'a str, bool)> {
    let host_only = Some((url.host, true));
    let attribute = match &line.domain {
        Some(domain) if !domain.is_empty() => std::str::from_utf8(domain).ok()?,
        _ => return host_only,
    };
    // RFC 6265bis refuses U-labels, Chromium reads them; both routes are to agree on which cookies exist.
    let attribute = if attribute.is_ascii() {
        Cow::Borrowed(attribute)
    } else {
        matching::to_a_labels(attribute)?
    };
    let attribute = &*attribute;
    if !matching::domain_match(url.host, attribute) {
        return None;
    }
    match matching::domain_kind(attribute) {
        DomainKind::Ordinary => Some((&url.host[url.host.len() - attribute.len()..], false)),
        DomainKind::Address | DomainKind::SingleLabel | DomainKind::PublicSuffix
            if attribute == url.host =>
        {
            host_only
        }
        DomainKind::Address | DomainKind::SingleLabel | DomainKind::PublicSuffix => None,
    }
}

/// Step 16: a cookie that is not secure, from a connection that is not, must not overlay a secure one.
fn overlays_secure(index: &Index, site: &str, new: &Cookie, now: Timestamp) -> bool {
    index
        .of_site(site)
        .iter()
        .map(|entry| &*entry.cookie)
        .any(|old| {
            old.secure()
                && !old.is_expired(now)
                && old.name() == new.name()
                && old.partition() == new.partition()
                && (matching::domain_match(old.domain(), new.domain())
                    || matching::domain_match(new.domain(), old.domain()))
                && matching::path_match(new.path(), old.path())
        })
}
