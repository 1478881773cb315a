//! One stored cookie: its identity, its value, and the rules that hold for every cookie in a jar.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::matching::{self, DomainKind};
use super::octets::{CookieName, CookieValue};
use super::parse;
use super::partition::PartitionKey;
use crate::session::Timestamp;

/// What identifies a cookie in a jar: two cookies that differ in any of these live side by side.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieKey {
    /// The cookie-name, compared octet by octet.
    pub name: CookieName,
    /// The canonical host or domain without a leading dot.
    pub domain: Box<str>,
    /// Whether it goes to exactly `domain` (RFC 6265bis, host-only-flag) or to its subdomains as well.
    pub host_only: bool,
    /// The cookie-path; begins with `/`.
    pub path: Box<str>,
    /// The partition of a cookie set with `Partitioned`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<Box<PartitionKey>>,
}

/// The `SameSite` attribute as given; a cookie without a valid one has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SameSite {
    /// Sent with same-site requests only.
    Strict,
    /// Sent with same-site requests and safe top-level navigations.
    Lax,
    /// Sent with every request.
    None,
}

/// A cookie that satisfies the storage model of RFC 6265bis (section 5.7); [`Cookie::new`] checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie {
    pub(super) key: CookieKey,
    pub(super) value: CookieValue,
    pub(super) expires: Option<Timestamp>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) same_site: Option<SameSite>,
}

/// What a cookie is made of, before it is checked by [`Cookie::new`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CookieParts {
    /// The cookie-name.
    pub name: CookieName,
    /// The cookie-value.
    pub value: CookieValue,
    /// A host or domain; a leading dot is ignored, a U-label becomes an A-label.
    pub domain: String,
    /// Whether it goes to exactly `domain`.
    pub host_only: bool,
    /// The cookie-path.
    pub path: String,
    /// The partition, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partition: Option<PartitionKey>,
    /// When it ends; none: with the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// Whether it goes over https only.
    pub secure: bool,
    /// Whether scripts are kept from it.
    pub http_only: bool,
    /// Its `SameSite` attribute.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub same_site: Option<SameSite>,
    /// When a cookie of this identity was first stored; it orders cookies of equally long paths.
    pub created: Timestamp,
    /// When this value was stored.
    pub updated: Timestamp,
}

/// A cookie that no jar may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {reason}")]
pub struct InvalidCookie {
    /// The offending part, as Playwright names it.
    pub field: &'static str,
    /// What is wrong with it.
    pub reason: &'static str,
}

impl InvalidCookie {
    /// The one reason that can befall a cookie that was fine when it was stored: the public suffix list has grown.
    pub const PUBLIC_SUFFIX: Self = Self {
        field: "domain",
        reason: "is a public suffix",
    };
}

impl Cookie {
    /// Checks the parts against the storage model. The expiry is taken as it is: [`super::Jar::put`] caps and judges it.
    ///
    /// # Errors
    /// [`InvalidCookie`] names the first part that breaks a rule.
    pub fn new(parts: CookieParts) -> Result<Self, InvalidCookie> {
        let invalid = |field, reason| Err(InvalidCookie { field, reason });
        let (name, value) = (parts.name.as_bytes(), parts.value.as_bytes());
        if name.is_empty() && value.is_empty() {
            return invalid("name", "and value are both empty");
        }
        if name.len() + value.len() > parse::MAX_NAME_VALUE {
            return invalid("value", "makes name and value longer than 4096 bytes");
        }
        if !parse::is_octets(name) || name.contains(&b'=') {
            return invalid(
                "name",
                "has a control character, `;`, `=`, or white space round it",
            );
        }
        if !parse::is_octets(value) {
            return invalid(
                "value",
                "has a control character, `;`, or white space round it",
            );
        }
        if !parts.path.starts_with('/') || !parse::is_octets(parts.path.as_bytes()) {
            return invalid(
                "path",
                "does not begin with `/` or has a control character or `;`",
            );
        }
        if parts.path.len() > parse::MAX_ATTRIBUTE_VALUE {
            return invalid("path", "is longer than 1024 bytes");
        }
        let Some(domain) = matching::canonical_host(&parts.domain) else {
            return invalid("domain", "is not a host name or address");
        };
        let host_only = match (parts.host_only, matching::domain_kind(&domain)) {
            (false, DomainKind::PublicSuffix) => return Err(InvalidCookie::PUBLIC_SUFFIX),
            (false, DomainKind::Address | DomainKind::SingleLabel) => true,
            (host_only, _) => host_only,
        };
        let cookie = Self {
            key: CookieKey {
                name: parts.name,
                domain: domain.into(),
                host_only,
                path: parts.path.into(),
                partition: parts.partition.map(Box::new),
            },
            value: parts.value,
            expires: parts.expires,
            created: parts.created,
            updated: parts.updated,
            secure: parts.secure,
            http_only: parts.http_only,
            same_site: parts.same_site,
        };
        if !cookie.secure && cookie.key.partition.is_some() {
            return invalid("partitionKey", "needs `secure`");
        }
        if !cookie.secure && cookie.same_site == Some(SameSite::None) {
            return invalid("sameSite", "`None` needs `secure`");
        }
        if !cookie.keeps_its_prefix() {
            return invalid(
                "name",
                "begins with `__Secure-` or `__Host-`, whose conditions are not met",
            );
        }
        Ok(cookie)
    }

    /// What identifies it.
    #[must_use]
    pub fn key(&self) -> &CookieKey {
        &self.key
    }

    /// The cookie-name.
    #[must_use]
    pub fn name(&self) -> &CookieName {
        &self.key.name
    }

    /// The cookie-value; it masks itself.
    #[must_use]
    pub fn value(&self) -> &CookieValue {
        &self.value
    }

    /// The canonical host or domain without a leading dot.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.key.domain
    }

    /// Whether it goes to exactly its domain.
    #[must_use]
    pub fn host_only(&self) -> bool {
        self.key.host_only
    }

    /// The cookie-path.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.key.path
    }

    /// The partition, where there is one.
    #[must_use]
    pub fn partition(&self) -> Option<&PartitionKey> {
        self.key.partition.as_deref()
    }

    /// When it ends; none: with the session.
    #[must_use]
    pub fn expires(&self) -> Option<Timestamp> {
        self.expires
    }

    /// Whether it goes over https only.
    #[must_use]
    pub fn secure(&self) -> bool {
        self.secure
    }

    /// Whether scripts are kept from it.
    #[must_use]
    pub fn http_only(&self) -> bool {
        self.http_only
    }

    /// Its `SameSite` attribute.
    #[must_use]
    pub fn same_site(&self) -> Option<SameSite> {
        self.same_site
    }

    /// When a cookie of this identity was first stored; unique within the jar that stored it.
    #[must_use]
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// When this value was stored.
    #[must_use]
    pub fn updated(&self) -> Timestamp {
        self.updated
    }

    /// Whether its expiry has come.
    #[must_use]
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }

    /// The parts it was made of.
    #[must_use]
    pub fn to_parts(&self) -> CookieParts {
        CookieParts {
            name: self.key.name.clone(),
            value: self.value.clone(),
            domain: self.key.domain.to_string(),
            host_only: self.key.host_only,
            path: self.key.path.to_string(),
            partition: self.key.partition.as_deref().cloned(),
            expires: self.expires,
            secure: self.secure,
            http_only: self.http_only,
            same_site: self.same_site,
            created: self.created,
            updated: self.updated,
        }
    }

    /// RFC 6265bis, storage model, steps 20 to 22, but for the presence of a `Path` attribute.
    pub(super) fn keeps_its_prefix(&self) -> bool {
        let name = self.key.name.as_bytes();
        if name.is_empty() {
            let value = self.value.as_bytes();
            return !has_prefix(value, SECURE_PREFIX) && !has_prefix(value, HOST_PREFIX);
        }
        if has_prefix(name, HOST_PREFIX) {
            return self.secure && self.key.host_only && &*self.key.path == "/";
        }
        self.secure || !has_prefix(name, SECURE_PREFIX)
    }

    /// Whether the two differ in nothing but the time they were stored at.
    pub(super) fn same_but_for_update(&self, other: &Self) -> bool {
        self.key == other.key
            && self.value == other.value
            && self.expires == other.expires
            && self.created == other.created
            && (self.secure, self.http_only, self.same_site)
                == (other.secure, other.http_only, other.same_site)
    }

    /// The octets this cookie adds to a cookie-string (RFC 6265bis, section 5.8.3, step 6).
    pub(super) fn write_pair(&self, out: &mut Vec<u8>) {
        if !self.key.name.as_bytes().is_empty() {
            out.extend_from_slice(self.key.name.as_bytes());
            out.push(b'=');
        }
        out.extend_from_slice(self.value.as_bytes());
    }
}

/// Whether `name` begins with a prefix that binds it to `Path=/` (`__Host-` in any case).
pub(super) fn is_host_prefixed(name: &[u8]) -> bool {
    has_prefix(name, HOST_PREFIX)
}

impl Serialize for Cookie {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.to_parts().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Cookie {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(CookieParts::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

fn has_prefix(octets: &[u8], prefix: &[u8]) -> bool {
    octets
        .get(..prefix.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

const SECURE_PREFIX: &[u8] = b"__Secure-";
const HOST_PREFIX: &[u8] = b"__Host-";

#[cfg(test)]
mod tests {
    use super::*;

    fn parts() -> CookieParts {
        CookieParts {
            name: CookieName::from(&b"sid"[..]),
            value: CookieValue::from(&b"secret"[..]),
            domain: "shop.example".to_owned(),
            host_only: false,
            path: "/".to_owned(),
            partition: None,
            expires: None,
            secure: true,
            http_only: true,
            same_site: Some(SameSite::Lax),
            created: Timestamp::default(),
            updated: Timestamp::default(),
        }
    }

    #[test]
    fn the_field_that_breaks_a_rule_is_named() {
        type Change = fn(&mut CookieParts);
        let cases: [(&str, Change, &str); 16] = [
            (
                "nothing at all",
                |p| (p.name, p.value) = (b""[..].into(), b""[..].into()),
                "name",
            ),
            (
                "4097 bytes",
                |p| p.value = vec![b'v'; 4094].as_slice().into(),
                "value",
            ),
            ("= in the name", |p| p.name = b"a=b"[..].into(), "name"),
            (
                "newline in the name",
                |p| p.name = b"a\nb"[..].into(),
                "name",
            ),
            ("; in the value", |p| p.value = b"a;b"[..].into(), "value"),
            (
                "space after the value",
                |p| p.value = b"a "[..].into(),
                "value",
            ),
            ("relative path", |p| p.path = "a".to_owned(), "path"),
            ("; in the path", |p| p.path = "/;".to_owned(), "path"),
            (
                "long path",
                |p| p.path = format!("/{}", "a".repeat(1024)),
                "path",
            ),
            ("no host", |p| p.domain = "a b".to_owned(), "domain"),
            (
                "public suffix",
                |p| p.domain = ".co.uk".to_owned(),
                "domain",
            ),
            (
                "insecure partition",
                |p| {
                    (p.secure, p.partition) =
                        (false, PartitionKey::new("https://a.example", false));
                },
                "partitionKey",
            ),
            (
                "insecure None",
                |p| (p.secure, p.same_site) = (false, Some(SameSite::None)),
                "sameSite",
            ),
            (
                "insecure __Secure-",
                |p| (p.secure, p.name) = (false, b"__secure-a"[..].into()),
                "name",
            ),
            (
                "__Host- with a domain",
                |p| p.name = b"__HOST-a"[..].into(),
                "name",
            ),
            (
                "nameless __Host-",
                |p| (p.name, p.value) = (b""[..].into(), b"__Host-a"[..].into()),
                "name",
            ),
        ];
        assert!(Cookie::new(parts()).is_ok());
        for (case, change, field) in cases {
            let mut parts = parts();
            change(&mut parts);
            assert_eq!(
                Cookie::new(parts).map_err(|error| error.field),
                Err(field),
                "{case}"
            );
        }
    }

    #[test]
    fn the_domain_becomes_canonical() {
        for (given, canonical, host_only) in [
            (".Shop.Example", "shop.example", false),
            ("bücher.example", "xn--bcher-kva.example", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("[::1]", "[::1]", true),
            ("localhost", "localhost", true),
        ] {
            let cookie = Cookie::new(CookieParts {
                domain: given.to_owned(),
                ..parts()
            })
            .unwrap();
            assert_eq!(
                (cookie.domain(), cookie.host_only()),
                (canonical, host_only),
                "{given}"
            );
        }
    }

    #[test]
    fn the_value_is_masked_and_what_was_serialized_reads_back() {
        let odd = CookieParts {
            name: b"\xff"[..].into(),
            value: b"\xe9t\xe9"[..].into(),
            ..parts()
        };
        for cookie in [Cookie::new(parts()).unwrap(), Cookie::new(odd).unwrap()] {
            assert!(!format!("{cookie:?}").contains("secret"));
            let json = serde_json::to_string(&cookie).unwrap();
            assert_eq!(serde_json::from_str::<Cookie>(&json).unwrap(), cookie);
        }
        assert!(serde_json::from_str::<Cookie>(r#"{"name":"a","value":"b","domain":"x y","hostOnly":true,"path":"/","secure":true,"httpOnly":false,"created":"1970-01-01T00:00:00Z","updated":"1970-01-01T00:00:00Z"}"#).is_err());
    }
}
