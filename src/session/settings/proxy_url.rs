//! The URL of an upstream proxy, which shows its password to nobody by accident.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use url::{Host, Url};

/// The URL of an upstream proxy: `http`, `https`, `socks5` (names resolved here) or `socks5h` (resolved there), with host,
/// port and perhaps user and password. `Display` and `Debug` leave the password out. In the user name `{session}` stands for the
/// id of the session that leaves by it, by which vendors of proxies keep an address to a session.
///
/// ```
/// use burdock::session::ProxyUrl;
///
/// let proxy: ProxyUrl = "http://user:secret@proxy.example:3128".parse()?;
/// assert_eq!(proxy.to_string(), "http://user@proxy.example:3128");
/// assert_eq!(proxy.expose(), "http://user:secret@proxy.example:3128");
/// # Ok::<(), burdock::session::settings::InvalidProxyUrl>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProxyUrl {
    scheme: ProxyScheme,
    host: Box<str>,
    port: u16,
    user: Box<str>,
    password: Option<Box<str>>,
}

/// How an upstream proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyScheme {
    /// HTTP over TCP.
    Http,
    /// HTTP over TLS.
    Https,
    /// SOCKS 5 with addresses: names are resolved here.
    Socks5,
    /// SOCKS 5 with names: they are resolved there.
    Socks5h,
}

/// Why some text is no URL of an upstream proxy. It never repeats the text, which may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProxyUrl {
    /// Not a URL with a host.
    #[error("must be a URL such as `http://user:password@proxy.example:3128`")]
    Syntax,
    /// Another scheme.
    #[error("must begin with `http://`, `https://`, `socks5://` or `socks5h://`")]
    Scheme,
    /// A path, query or fragment.
    #[error("must end with the port")]
    Tail,
    /// Port 0.
    #[error("must have a port from 1 to 65535")]
    Port,
}

impl ProxyUrl {
    /// How it is spoken to.
    #[must_use]
    pub fn scheme(&self) -> ProxyScheme {
        self.scheme
    }

    /// Its host: a lower-case name, an IPv4 address, or an IPv6 address in brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port; without one in the URL that of the scheme (80, 443 or 1080).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// User and password as octets, percent-decoded, `session` in place of `{session}`; none where the URL has neither. A secret.
    #[must_use]
    pub fn credentials(&self, session: &str) -> Option<(Vec<u8>, Vec<u8>)> {
        if self.user.is_empty() && self.password.is_none() {
            return None;
        }
        // An id has no character that would be decoded.
        let user = self.user.replace(TEMPLATE, session);
        Some((
            percent_decode(&user),
            percent_decode(self.password.as_deref().unwrap_or_default()),
        ))
    }

    /// Whether its user name holds `{session}`.
    #[must_use]
    pub fn names_session(&self) -> bool {
        self.user.contains(TEMPLATE)
    }

    /// The whole URL with its password. A secret.
    #[must_use]
    pub fn expose(&self) -> String {
        let user_info = match &self.password {
            Some(password) => Cow::Owned(format!("{}:{password}@", self.user)),
            None => self.shown_user(),
        };
        self.with_user_info(&user_info)
    }

    fn shown_user(&self) -> Cow<'_, str> {
        if self.user.is_empty() {
            Cow::Borrowed("")
        } else {
            Cow::Owned(format!("{}@", self.user))
        }
    }

    fn with_user_info(&self, user_info: &str) -> String {
        format!(
            "{}://{user_info}{}:{}",
            self.scheme.as_str(),
            self.host,
            self.port
        )
    }
}

impl ProxyScheme {
    /// As the URL has it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Socks5 => "socks5",
            Self::Socks5h => "socks5h",
        }
    }

    const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Socks5 | Self::Socks5h => 1080,
        }
    }
}

impl FromStr for ProxyUrl {
    type Err = InvalidProxyUrl;

    fn from_str(text: &str) -> Result<Self, InvalidProxyUrl> {
        let url = Url::parse(text).map_err(|_| InvalidProxyUrl::Syntax)?;
        let scheme = match url.scheme() {
            "http" => ProxyScheme::Http,
            "https" => ProxyScheme::Https,
            "socks5" => ProxyScheme::Socks5,
            "socks5h" => ProxyScheme::Socks5h,
            _ => return Err(InvalidProxyUrl::Scheme),
        };
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidProxyUrl::Tail);
        }
        let host = match url.host() {
            // Of a scheme it does not know `Url` leaves the host as it came.
            Some(Host::Domain(name)) => {
                match Host::parse(&percent_free(name)?).map_err(|_| InvalidProxyUrl::Syntax)? {
                    Host::Domain(name) if name.is_empty() => return Err(InvalidProxyUrl::Syntax),
                    host => host.to_string(),
                }
            }
            Some(address) => address.to_string(),
            None => return Err(InvalidProxyUrl::Syntax),
        };
        let port = url.port().unwrap_or(scheme.default_port());
        if port == 0 {
            return Err(InvalidProxyUrl::Port);
        }
        Ok(Self {
            scheme,
            host: host.into(),
            port,
            // `Url` escapes braces.
            user: url.username().replace("%7Bsession%7D", TEMPLATE).into(),
            password: url.password().map(Box::from),
        })
    }
}

impl fmt::Display for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.with_user_info(&self.shown_user()))
    }
}

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What the session's id is put in place of.
const TEMPLATE: &str = "{session}";

fn percent_free(name: &str) -> Result<String, InvalidProxyUrl> {
    String::from_utf8(percent_decode(name)).map_err(|_| InvalidProxyUrl::Syntax)
}

fn percent_decode(text: &str) -> Vec<u8> {
    let digit = |byte: Option<&u8>| {
        byte.and_then(|&byte| char::from(byte).to_digit(16))
            .and_then(|digit| u8::try_from(digit).ok())
    };
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let escaped = (digit(bytes.get(at + 1)), digit(bytes.get(at + 2)));
        if let (b'%', (Some(high), Some(low))) = (byte, escaped) {
            decoded.push(high << 4 | low);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    decoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_scheme_with_its_port() {
        for (text, wanted) in [
            ("http://proxy.example", "http://proxy.example:80"),
            ("https://Proxy.Example/", "https://proxy.example:443"),
            ("socks5://PROXY.example", "socks5://proxy.example:1080"),
            ("socks5h://u@[::1]:9", "socks5h://u@[::1]:9"),
            ("http://u:p@127.1:3128", "http://u@127.0.0.1:3128"),
            ("socks5://127.0.0.1:1", "socks5://127.0.0.1:1"),
        ] {
            assert_eq!(
                text.parse::<ProxyUrl>().unwrap().to_string(),
                wanted,
                "{text}"
            );
        }
    }

    #[test]
    fn refuses_what_is_no_proxy() {
        for (text, wanted) in [
            ("proxy.example:3128", InvalidProxyUrl::Scheme),
            ("ftp://proxy.example", InvalidProxyUrl::Scheme),
            ("proxy", InvalidProxyUrl::Syntax),
            ("socks5://", InvalidProxyUrl::Syntax),
            ("http://", InvalidProxyUrl::Syntax),
            ("http://a b", InvalidProxyUrl::Syntax),
            ("http://proxy.example/path", InvalidProxyUrl::Tail),
            ("http://proxy.example?q", InvalidProxyUrl::Tail),
            ("http://proxy.example:0", InvalidProxyUrl::Port),
            ("http://proxy.example:70000", InvalidProxyUrl::Syntax),
        ] {
            assert_eq!(text.parse::<ProxyUrl>(), Err(wanted), "{text}");
        }
    }

    #[test]
    fn the_password_is_shown_by_expose_alone() {
        let proxy: ProxyUrl = "http://us%40er:pass%3Aword@proxy.example:1"
            .parse()
            .unwrap();
        assert!(!format!("{proxy} {proxy:?}").contains("pass"));
        assert_eq!(
            proxy.credentials("a"),
            Some((b"us@er".to_vec(), b"pass:word".to_vec()))
        );
        assert_eq!(proxy.expose().parse::<ProxyUrl>().as_ref(), Ok(&proxy));
        let bare: ProxyUrl = "http://proxy.example:1".parse().unwrap();
        assert_eq!(bare.credentials("a"), None);
        let password_only: ProxyUrl = "http://:p@proxy.example:1".parse().unwrap();
        assert_eq!(
            password_only.credentials("a"),
            Some((vec![], b"p".to_vec()))
        );
        assert_eq!(password_only.expose(), "http://:p@proxy.example:1");
    }

    #[test]
    fn the_user_name_may_have_the_session_in_it() {
        let text = "socks5h://customer-x-session-{session}-cc-de:p%7Bsession%7D@proxy.example:1";
        let proxy: ProxyUrl = text.parse().unwrap();
        assert_eq!(
            proxy.to_string(),
            "socks5h://customer-x-session-{session}-cc-de@proxy.example:1"
        );
        let (user, password) = proxy.credentials("shop~1").unwrap();
        assert_eq!(user, b"customer-x-session-shop~1-cc-de");
        assert_eq!(password, b"p{session}", "a password is what it is");
        assert_eq!(proxy.expose().parse::<ProxyUrl>().as_ref(), Ok(&proxy));
        assert!(proxy.names_session());
        assert!(!"http://u@h:1".parse::<ProxyUrl>().unwrap().names_session());
    }
}
