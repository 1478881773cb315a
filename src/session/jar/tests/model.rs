//! RFC 6265bis read aloud: one list, no index, no memo, every step of sections 5.6 to 5.8 in its order. Slow and obvious.

use std::time::Duration;

use super::super::CookieUrl;
use crate::session::Timestamp;

#[derive(Default)]
pub(super) struct Model {
    store: Vec<Stored>,
    created: u64,
}

#[derive(Clone)]
struct Stored {
    name: String,
    value: String,
    expiry: Option<Timestamp>,
    domain: String,
    path: String,
    created: u64,
    host_only: bool,
    secure_only: bool,
    partitioned: bool,
}

impl Model {
    #[expect(
        clippy::too_many_lines,
        reason = "the RFC's steps, one after the other"
    )]
    /// Section 5.6, then 5.7. The cookie-date algorithm has tests of its own, here it has two dates.
    pub(super) fn receive(&mut self, url: &CookieUrl<'_>, line: &str, now: Timestamp) {
        self.store
            .retain(|stored| stored.expiry.is_none_or(|expiry| expiry > now));
        if line.chars().any(|c| c.is_ascii_control() && c != '\t') {
            return;
        }
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (name, value) = pair.split_once('=').unwrap_or(("", pair));
        let (name, value) = (trim(name), trim(value));
        if name.len() + value.len() > 4096 || (name.is_empty() && value.is_empty()) {
            return;
        }
        let attributes: Vec<(String, &str)> = attributes
            .split(';')
            .map(|attribute| attribute.split_once('=').unwrap_or((attribute, "")))
            .map(|(name, value)| (trim(name).to_lowercase(), trim(value)))
            .filter(|(_, value)| value.len() <= 1024)
            .collect();
        let last = |name: &str| {
            attributes
                .iter()
                .rev()
                .find(|(other, _)| other == name)
                .map(|(_, value)| *value)
        };

        let max_age = attributes
            .iter()
            .rev()
            .find_map(|(name, value)| (name == "max-age").then(|| seconds(value)).flatten());
        let expires = attributes
            .iter()
            .rev()
            .find_map(|(name, value)| (name == "expires").then(|| date(value)).flatten());
        let expiry = match max_age {
            Some(seconds) if seconds <= 0 => Some(Timestamp::MIN),
            Some(seconds) => {
                Some(now + Duration::from_secs(seconds.min(400 * 86_400).unsigned_abs()))
            }
            None => expires.map(|expires| expires.min(now + Duration::from_hours(400 * 24))),
        };

        let attribute = last("domain").unwrap_or("");
        let mut domain = attribute
            .strip_prefix('.')
            .unwrap_or(attribute)
            .to_lowercase();
        // An address has no hosts below it: naming it is naming none, as in Chromium.
        let is_address = domain.ends_with(|last: char| last.is_ascii_digit());
        if is_address || PUBLIC_SUFFIXES.contains(&domain.as_str()) {
            if domain != url.host {
                return;
            }
            domain = String::new();
        }
        let host_only = domain.is_empty();
        if host_only {
            url.host.clone_into(&mut domain);
        } else if !domain_match(url.host, &domain) {
            return;
        }
        let path = last("path")
            .filter(|path| path.starts_with('/'))
            .map_or_else(|| default_path(url.path), str::to_owned);
        let secure_only = last("secure").is_some();
        if secure_only && !url.secure {
            return;
        }
        let partitioned = last("partitioned").is_some();
        if partitioned && !secure_only {
            return;
        }
        let overlaid = self.store.iter().any(|old| {
            old.name == name
                && old.secure_only
                && !old.partitioned
                // As in Chromium, the host that is a public suffix is no relative of what is below it.
                && (old.domain == domain || ![&*old.domain, &*domain].iter().any(|domain| PUBLIC_SUFFIXES.contains(domain)))
                && (domain_match(&old.domain, &domain) || domain_match(&domain, &old.domain))
                && path_match(&path, &old.path)
        });
        if !secure_only && !url.secure && overlaid {
            return;
        }
        if last("samesite").is_some_and(|value| value.eq_ignore_ascii_case("none")) && !secure_only
        {
            return;
        }
        let prefixed = |text: &str, prefix: &str| text.to_lowercase().starts_with(prefix);
        if prefixed(name, "__secure-") && !secure_only {
            return;
        }
        if prefixed(name, "__host-")
            && !(secure_only && host_only && last("path").is_some() && path == "/")
        {
            return;
        }
        if name.is_empty() && (prefixed(value, "__secure-") || prefixed(value, "__host-")) {
            return;
        }

        self.created += 1;
        let mut new = Stored {
            name: name.to_owned(),
            value: value.to_owned(),
            expiry,
            domain,
            path,
            created: self.created,
            host_only,
            secure_only,
            partitioned,
        };
        let identity = |stored: &Stored| {
            (
                stored.name.clone(),
                stored.domain.clone(),
                stored.host_only,
                stored.path.clone(),
                stored.partitioned,
            )
        };
        if let Some(old) = self
            .store
            .iter()
            .position(|old| identity(old) == identity(&new))
        {
            new.created = self.store.remove(old).created;
        }
        self.store.push(new);
        self.store
            .retain(|stored| stored.expiry.is_none_or(|expiry| expiry > now));
    }

    /// Section 5.8.3.
    pub(super) fn cookie_string(&self, url: &CookieUrl<'_>, now: Timestamp) -> String {
        let mut list: Vec<&Stored> = self
            .store
            .iter()
            .filter(|stored| {
                (stored.host_only && url.host == stored.domain
                    || !stored.host_only && domain_match(url.host, &stored.domain))
                    && path_match(url.path, &stored.path)
                    && (url.secure || !stored.secure_only)
                    && stored.expiry.is_none_or(|expiry| expiry > now)
            })
            .collect();
        list.sort_by_key(|stored| (usize::MAX - stored.path.len(), stored.created));
        let pair = |stored: &Stored| match stored.name.as_str() {
            "" => stored.value.clone(),
            name => format!("{name}={}", stored.value),
        };
        list.into_iter().map(pair).collect::<Vec<_>>().join("; ")
    }

    pub(super) fn len(&self) -> usize {
        self.store.len()
    }
}

/// Those that the generator can make.
pub(super) const PUBLIC_SUFFIXES: [&str; 3] = ["example", "co.uk", "github.io"];

/// The dates that the generator can make.
pub(super) const DATES: [(&str, i64); 2] = [
    ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ("Tue, 24 Nov 2026 10:00:30 GMT", 1_795_514_430),
];

fn date(text: &str) -> Option<Timestamp> {
    DATES
        .iter()
        .find(|(date, _)| *date == text)
        .map(|&(_, seconds)| Timestamp::from_unix_seconds(seconds))
}

fn seconds(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    (!digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit()))
        .then(|| text.parse().unwrap())
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

fn domain_match(string: &str, domain: &str) -> bool {
    string == domain || string.ends_with(&format!(".{domain}")) && !string.ends_with(".1")
}

fn path_match(request: &str, cookie: &str) -> bool {
    request == cookie
        || request.starts_with(cookie)
            && (cookie.ends_with('/') || request[cookie.len()..].starts_with('/'))
}

fn default_path(path: &str) -> String {
    let segments: Vec<&str> = path.split('/').collect();
    if segments.len() <= 2 {
        "/".to_owned()
    } else {
        segments[..segments.len() - 1].join("/")
    }
}
