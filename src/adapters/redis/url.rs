//! The address of a Redis: one server, a cluster, or what sentinels know, and whom to log in as.

use std::fmt;
use std::str::FromStr;

/// What `adapters.redis.url` says. `Debug` and `Display` show no password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct RedisUrl {
    pub(super) servers: Servers,
    /// The ACL user; empty for the default one.
    pub(super) user: String,
    /// None: no login.
    pub(super) password: Option<String>,
    /// The number of the database; a cluster has only 0.
    pub(super) database: i64,
    /// Whether every connection is TLS.
    pub(super) tls: bool,
}

/// Where the servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Servers {
    /// Here.
    One(Address),
    /// Some nodes of a cluster, which know the others.
    Cluster(Vec<Address>),
    /// Sentinels, which know the master of that name.
    Sentinel {
        sentinels: Vec<Address>,
        service: String,
    },
}

/// A host and a port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why some text is not the address of a Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidUrl {
    /// Another scheme, or none.
    #[error(
        "it begins with none of `redis://`, `rediss://`, `redis+cluster://`, `rediss+cluster://`, `redis+sentinel://` and `rediss+sentinel://`"
    )]
    Scheme,
    /// A host is missing, or is no host.
    #[error("a host is missing or misspelt; write HOST:PORT, and an IPv6 address in brackets")]
    Host,
    /// A port is no number from 1 to 65535.
    #[error("a port is no number from 1 to 65535")]
    Port,
    /// Several hosts where one is meant.
    #[error(
        "several hosts are a cluster's or sentinels': write `redis+cluster://` or `redis+sentinel://`"
    )]
    Several,
    /// What follows the hosts is no database.
    #[error("after the host comes `/DB` at most, the number of a database")]
    Database,
    /// A cluster has one database.
    #[error("a cluster has one database: nothing comes after its hosts")]
    ClusterDatabase,
    /// The name of the master is missing.
    #[error(
        "after the sentinels comes `/SERVICE`, the name of the master they watch, and then `/DB` at most"
    )]
    Service,
    /// A percent sign is not followed by two hexadecimal digits of UTF-8.
    #[error("in user and password `%` begins an escape such as `%40` for `@`, of UTF-8")]
    Escape,
    /// A query or a fragment.
    #[error(
        "it has a `?` or `#`: options are not given in the URL, and in a password they are `%3F` and `%23`"
    )]
    Options,
}

const DEFAULT_PORT: u16 = 6379;
const DEFAULT_SENTINEL_PORT: u16 = 26379;

impl FromStr for RedisUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidUrl::Scheme)?;
        let (protocol, kind) = scheme.split_once('+').unwrap_or((scheme, ""));
        let tls = match protocol {
            "redis" => false,
            "rediss" => true,
            _ => return Err(InvalidUrl::Scheme),
        };
        if rest.contains(['?', '#']) {
            return Err(InvalidUrl::Options);
        }
        let (login, rest) = match rest.rsplit_once('@') {
            Some((login, rest)) => (Some(login), rest),
            None => (None, rest),
        };
        let (user, password) = match login {
            None => (String::new(), None),
            Some(login) => {
                let (user, password) = login.split_once(':').unwrap_or((login, ""));
                (unescape(user)?, Some(unescape(password)?))
            }
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let path = path.strip_suffix('/').unwrap_or(path);
        let (servers, database) = match kind {
            "" if hosts.contains(',') => return Err(InvalidUrl::Several),
            "" => (
                Servers::One(Address::read(hosts, DEFAULT_PORT)?),
                database(path).ok_or(InvalidUrl::Database)?,
            ),
            "cluster" if !path.is_empty() => return Err(InvalidUrl::ClusterDatabase),
            "cluster" => (Servers::Cluster(addresses(hosts, DEFAULT_PORT)?), 0),
            "sentinel" => {
                let (service, number) = path.split_once('/').unwrap_or((path, ""));
                if service.is_empty() {
                    return Err(InvalidUrl::Service);
                }
                let servers = Servers::Sentinel {
                    sentinels: addresses(hosts, DEFAULT_SENTINEL_PORT)?,
                    service: unescape(service)?,
                };
                (servers, database(number).ok_or(InvalidUrl::Service)?)
            }
            _ => return Err(InvalidUrl::Scheme),
        };
        Ok(Self {
            servers,
            user,
            password,
            database,
            tls,
        })
    }
}

fn database(text: &str) -> Option<i64> {
    match text {
        "" => Some(0),
        text => text.parse::<u16>().ok().map(i64::from),
    }
}

fn addresses(text: &str, port: u16) -> Result<Vec<Address>, InvalidUrl> {
    text.split(',')
        .map(|address| Address::read(address, port))
        .collect()
}

impl Address {
    fn read(text: &str, default_port: u16) -> Result<Self, InvalidUrl> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or(InvalidUrl::Host)?;
                host.parse::<std::net::Ipv6Addr>()
                    .map_err(|_| InvalidUrl::Host)?;
                match port {
                    "" => (host, None),
                    port => (host, Some(port.strip_prefix(':').ok_or(InvalidUrl::Host)?)),
                }
            }
            None => match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            },
        };
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        if host.is_empty() || !host.bytes().all(is_host) {
            return Err(InvalidUrl::Host);
        }
        let port = match port {
            None => default_port,
            Some(port) if port.bytes().all(|byte| byte.is_ascii_digit()) => port
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or(InvalidUrl::Port)?,
            Some(_) => return Err(InvalidUrl::Port),
        };
        Ok(Self {
            host: host.to_owned(),
            port,
        })
    }

    /// An address as the server `from` writes it: an IPv6 address has no brackets there, and no host means its own.
    pub(super) fn from_server(text: &str, from: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = match host.trim_matches(['[', ']']) {
            "" => from.host.clone(),
            host => host.to_owned(),
        };
        Some(Self {
            host,
            port: port.parse().ok()?,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisUrl")
            .field("servers", &self.servers)
            .field("user", &self.user)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("database", &self.database)
            .field("tls", &self.tls)
            .finish()
    }
}

/// Undoes percent-encoding.
fn unescape(text: &str) -> Result<String, InvalidUrl> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || {
            let digit = bytes.next().and_then(|byte| char::from(byte).to_digit(16));
            digit
                .and_then(|digit| u8::try_from(digit).ok())
                .ok_or(InvalidUrl::Escape)
        };
        out.push(digit()? * 16 + digit()?);
    }
    String::from_utf8(out).map_err(|_| InvalidUrl::Escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> RedisUrl {
        text.parse().expect(text)
    }

    fn address(host: &str, port: u16) -> Address {
        Address {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn the_forms_of_the_contract_are_read() {
        let plain = read("redis://cache.example");
        assert_eq!(plain.servers, Servers::One(address("cache.example", 6379)));
        assert_eq!(
            (
                plain.user.as_str(),
                plain.password,
                plain.database,
                plain.tls
            ),
            ("", None, 0, false)
        );
        let full = read("rediss://bur%40dock:p%3A%2F%40ss@[::1]:7000/3");
        assert_eq!(full.servers, Servers::One(address("::1", 7000)));
        assert_eq!(
            (
                full.user.as_str(),
                full.password.as_deref(),
                full.database,
                full.tls
            ),
            ("bur@dock", Some("p:/@ss"), 3, true)
        );
        assert_eq!(read("redis://:only@h").password.as_deref(), Some("only"));
        assert_eq!(
            read("redis+cluster://u:p@a:7000,b").servers,
            Servers::Cluster(vec![address("a", 7000), address("b", 6379)])
        );
        let watched = read("redis+sentinel://a:26380,b/shop/2");
        assert_eq!(watched.database, 2);
        assert_eq!(
            watched.servers,
            Servers::Sentinel {
                sentinels: vec![address("a", 26380), address("b", 26379)],
                service: "shop".into(),
            }
        );
        assert!(read("rediss+cluster://a").tls && read("rediss+sentinel://a/s").tls);
    }

    #[test]
    fn what_is_no_address_says_why() {
        for (text, wanted) in [
            ("", InvalidUrl::Scheme),
            ("localhost:6379", InvalidUrl::Scheme),
            ("http://localhost", InvalidUrl::Scheme),
            ("redis+tree://a", InvalidUrl::Scheme),
            ("redis://", InvalidUrl::Host),
            ("redis://a b", InvalidUrl::Host),
            ("redis://[::1", InvalidUrl::Host),
            ("redis://[::1]6379", InvalidUrl::Host),
            ("redis://a:0", InvalidUrl::Port),
            ("redis://a:65536", InvalidUrl::Port),
            ("redis://a:+1", InvalidUrl::Port),
            ("redis://::1", InvalidUrl::Host),
            ("redis://a,b", InvalidUrl::Several),
            ("redis://a/zero", InvalidUrl::Database),
            ("redis+cluster://a/1", InvalidUrl::ClusterDatabase),
            ("redis+cluster://a,", InvalidUrl::Host),
            ("redis+sentinel://a", InvalidUrl::Service),
            ("redis+sentinel://a/s/x", InvalidUrl::Service),
            ("redis://u:%zz@a", InvalidUrl::Escape),
            ("redis://a?db=1", InvalidUrl::Options),
        ] {
            assert_eq!(text.parse::<RedisUrl>().map(|_| ()), Err(wanted), "{text}");
        }
    }

    #[test]
    fn nothing_shows_the_password() {
        let shown = format!("{:?}", read("redis://u:canary@a"));
        assert!(
            shown.contains("***") && !shown.contains("canary"),
            "{shown}"
        );
    }

    #[test]
    fn addresses_of_servers_are_read_and_shown() {
        let from = address("here", 1);
        for (text, shown) in [
            ("10.0.0.1:7000", "10.0.0.1:7000"),
            ("::1:7000", "[::1]:7000"),
            (":7000", "here:7000"),
        ] {
            let address = Address::from_server(text, &from).expect(text);
            assert_eq!(address.to_string(), shown);
        }
        assert_eq!(Address::from_server("nowhere", &from), None);
    }
}
