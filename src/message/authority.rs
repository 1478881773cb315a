//! The authority of a request (RFC 3986, section 3.2) in canonical form: host and port, parsed once.

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

/// `http` or `https`; the two schemes burdock forwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// Cleartext, port 80 unless said otherwise.
    Http,
    /// Over TLS, port 443 unless said otherwise.
    Https,
}

impl Scheme {
    /// The scheme as a URI writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URI of this scheme need not name (RFC 9110, section 4.2).
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }

    /// Whether requests of this scheme are secured by TLS.
    pub const fn is_secure(self) -> bool {
        matches!(self, Self::Https)
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A host in canonical form: a lower-case A-label name without a trailing dot, or an address.
///
/// The numeric forms that the WHATWG URL standard reads as IPv4 (`0x7f.1`, `2130706433`) become that
/// address here, so that no later check can be passed by spelling.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// A registered name; shared, as every request names its host anew.
    Name(Arc<str>),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address.
    V6(Ipv6Addr),
}

impl Host {
    /// Parses a host as it stands in a URI or a Host field; IPv6 literals need their brackets.
    ///
    /// # Errors
    /// [`AuthorityError`] when it is empty, holds a forbidden code point or is no valid domain.
    pub fn parse(text: &str) -> Result<Self, AuthorityError> {
        if text.len() > 1024 {
            return Err(AuthorityError::TooLong);
        }
        if let Some(name) = plain_name(text) {
            return Ok(Self::Name(name.into()));
        }
        match url::Host::parse(text).map_err(|_| AuthorityError::Host(text.into()))? {
            url::Host::Domain(name) => {
                let name = name.strip_suffix('.').unwrap_or(&name);
                if name.len() > 253
                    || name
                        .split('.')
                        .any(|label| !(1..=63).contains(&label.len()))
                {
                    return Err(AuthorityError::Host(text.into()));
                }
                Ok(Self::Name(name.into()))
            }
            url::Host::Ipv4(address) => Ok(Self::V4(address)),
            url::Host::Ipv6(address) => Ok(Self::V6(address)),
        }
    }

    /// The address, if this host is one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(*address)),
            Self::V6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// The text of the host, as cookies and limits are keyed by it: IPv6 in brackets.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Name(name) => Cow::Borrowed(name),
            Self::V4(_) | Self::V6(_) => Cow::Owned(self.to_string()),
        }
    }

    /// Whether the name is `localhost` or lies under it (RFC 6761, section 6.3).
    pub fn is_localhost(&self) -> bool {
        match self {
            Self::Name(name) => &**name == "localhost" || name.ends_with(".localhost"),
            Self::V4(_) | Self::V6(_) => false,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => Self::V6(address),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Host and port, the port always known.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Authority {
    /// The host, canonical.
    pub host: Host,
    /// The TCP port.
    pub port: u16,
}

impl Authority {
    /// Parses `host[:port]`; `default_port` stands in for a missing or empty port, `None` demands one.
    ///
    /// # Errors
    /// [`AuthorityError`] naming what is wrong. User information (`user@`) is refused (RFC 9110, section 4.2.4).
    pub fn parse(text: &str, default_port: Option<u16>) -> Result<Self, AuthorityError> {
        if text.contains('@') {
            return Err(AuthorityError::UserInfo);
        }
        let (host, port) = split_port(text)?;
        let port = match port {
            Some(digits) if !digits.is_empty() => parse_port(digits)?,
            _ => default_port.ok_or(AuthorityError::NoPort)?,
        };
        Ok(Self {
            host: Host::parse(host)?,
            port,
        })
    }

    /// Whether a Host field's text names this authority, `default_port` standing in for a missing port.
    /// The usual spellings are compared in place; only unusual ones are parsed.
    pub fn is_named_by(&self, text: &str, default_port: u16) -> bool {
        if let Host::Name(name) = &self.host {
            let (host, port) = match text.split_at_checked(name.len()) {
                Some((host, "")) => (host, Some(default_port)),
                Some((host, port)) => (
                    host,
                    port.strip_prefix(':')
                        .and_then(|port| parse_port(port).ok()),
                ),
                None => ("", None),
            };
            if port == Some(self.port) && host.eq_ignore_ascii_case(name) {
                return true;
            }
        }
        Self::parse(text, Some(default_port)).is_ok_and(|other| other == *self)
    }

    /// The text for a Host field or `:authority`: the port is left out where it is the scheme's own.
    pub fn for_scheme(&self, scheme: Scheme) -> String {
        if self.port == scheme.default_port() {
            self.host.to_string()
        } else {
            self.to_string()
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text is no authority.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthorityError {
    /// The host cannot be read.
    #[error("`{0}` is not a host name or address")]
    Host(Box<str>),
    /// The port is no number from 1 to 65535.
    #[error("`{0}` is not a port from 1 to 65535")]
    Port(Box<str>),
    /// A port is needed and missing.
    #[error("a port is missing: HOST:PORT is needed")]
    NoPort,
    /// Credentials in the authority.
    #[error("user information before `@` is not allowed in a request target")]
    UserInfo,
    /// Longer than any host name.
    #[error("the host is longer than 1024 bytes")]
    TooLong,
}

/// A name that is already canonical, which nearly all are: lower-case letters, digits, `-`, `_` and
/// inner dots, its last label not numeric (that would be an IPv4 address in some spelling) and no
/// label that IDNA would have to look into.
fn plain_name(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > 253 {
        return None;
    }
    let mut label = 0usize;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' => label += 1,
            b'-' => {
                // `xn--` and its kin must be checked by IDNA.
                if label == 3 && bytes.get(at - 1) == Some(&b'-') {
                    return None;
                }
                label += 1;
            }
            b'.' if label > 0 => label = 0,
            _ => return None,
        }
        if label > 63 {
            return None;
        }
    }
    let last = text.rsplit('.').next().unwrap_or(text);
    (label > 0 && !last.starts_with(|first: char| first.is_ascii_digit())).then_some(text)
}

fn split_port(text: &str) -> Result<(&str, Option<&str>), AuthorityError> {
    if text.starts_with('[') {
        let end = text
            .find(']')
            .ok_or_else(|| AuthorityError::Host(text.into()))?;
        let (host, rest) = text.split_at(end + 1);
        return match rest.strip_prefix(':') {
            Some(port) => Ok((host, Some(port))),
            None if rest.is_empty() => Ok((host, None)),
            None => Err(AuthorityError::Host(text.into())),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(AuthorityError::Host(text.into())),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

fn parse_port(digits: &str) -> Result<u16, AuthorityError> {
    let wrong = || AuthorityError::Port(digits.chars().take(16).collect::<String>().into());
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    match digits.parse::<u16>() {
        Ok(0) | Err(_) => Err(wrong()),
        Ok(port) => Ok(port),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spellings_of_one_authority_are_one_authority() {
        let cases = [
            ("Shop.Example", "shop.example:443"),
            ("shop.example.", "shop.example:443"),
            ("shop.example:8443", "shop.example:8443"),
            ("shop.example:", "shop.example:443"),
            ("bücher.example", "xn--bcher-kva.example:443"),
            ("127.0.0.1", "127.0.0.1:443"),
            ("2130706433", "127.0.0.1:443"),
            ("0x7f.1", "127.0.0.1:443"),
            ("0177.0.0.1", "127.0.0.1:443"),
            ("[::1]", "[::1]:443"),
            ("[0:0::1]:80", "[::1]:80"),
            ("a_b.example", "a_b.example:443"),
            ("1.example", "1.example:443"),
        ];
        for (text, wanted) in cases {
            let got = Authority::parse(text, Some(443)).map(|authority| authority.to_string());
            assert_eq!(got.as_deref(), Ok(wanted), "{text}");
        }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        for text in [
            "",
            ":80",
            "a b",
            "a:0",
            "a:65536",
            "a:+80",
            "a:8 0",
            "::1",
            "[::1",
            "[::1]x",
            "u@a",
            "u:p@a:1",
            "a/b",
            "a?b",
            "a#b",
            "999.0.0.1",
            "a..b",
            ".",
            "1.2.3.4.5",
        ] {
            assert!(Authority::parse(text, Some(443)).is_err(), "{text}");
        }
        assert_eq!(Authority::parse("a", None), Err(AuthorityError::NoPort));
    }

    #[test]
    fn a_host_field_names_its_authority() {
        let shop = Authority::parse("shop.example:443", None).expect("valid");
        assert!(shop.is_named_by("SHOP.example", 443));
        assert!(shop.is_named_by("shop.example:443", 80));
        assert!(!shop.is_named_by("shop.example", 80));
        assert!(!shop.is_named_by("other.example", 443));
    }

    #[test]
    fn localhost_is_the_name_and_what_lies_under_it() {
        for (text, wanted) in [
            ("localhost", true),
            ("a.LOCALHOST.", true),
            ("notlocalhost", false),
            ("localhost.example", false),
        ] {
            assert_eq!(
                Host::parse(text).map(|host| host.is_localhost()),
                Ok(wanted),
                "{text}"
            );
        }
    }

    proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(text in "\\PC{0,40}") {
            if let Ok(authority) = Authority::parse(&text, Some(80)) {
                prop_assert_eq!(Authority::parse(&authority.to_string(), None), Ok(authority));
            }
        }

        #[test]
        fn the_short_cut_agrees_with_the_url_standard(text in "[a-z0-9._-]{1,30}") {
            if let Some(name) = plain_name(&text) {
                prop_assert_eq!(url::Host::parse(&text), Ok(url::Host::Domain(name.to_owned())));
            }
        }
    }
}
