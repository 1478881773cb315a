//! Speaking to upstream proxies: CONNECT of HTTP, and SOCKS 5.

use std::io;
use std::sync::Arc;

use http::StatusCode;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_socks::tcp::Socks5Stream;
use tokio_socks::{Error as SocksError, IntoTargetAddr};

use super::error::EgressError;
use super::health::pause;
use super::proxy::{Exit, Proxy};
use crate::message::{Authority, Host};
use crate::session::settings::ProxyScheme;
use crate::upstream::dial::Dialer;
use crate::upstream::io::{Link, Socket};
use crate::upstream::tls::{Alpn, SessionTls};

/// Connects to the proxy, by TLS where it is spoken to so.
///
/// # Errors
/// [`EgressError`], in which the proxy is at fault.
///
/// # Cancellation
/// Dropped, the connection closes.
pub(in crate::upstream) async fn reach(
    dialer: &Dialer,
    tls: &SessionTls,
    exit: &Arc<Exit>,
    deadline: Instant,
) -> Result<Link, EgressError> {
    let proxy = exit.proxy().authority();
    let tcp = dialer.dial_proxy(proxy, deadline).await.map_err(|source| {
        let exit = Arc::clone(exit);
        EgressError::Unreachable { exit, source }
    })?;
    let tcp = Socket::new(tcp);
    if exit.proxy().scheme() != ProxyScheme::Https {
        return Ok(Link::Tcp(tcp));
    }
    let handshake = tls.handshake(tcp, proxy, Alpn::Http1Only);
    let tls = timeout_at(deadline, handshake)
        .await
        .map_err(|_| late(dialer, exit))?
        .map_err(|source| EgressError::Tls {
            exit: Arc::clone(exit),
            source,
        })?;
    Ok(Link::Tls(Box::new(tls)))
}

/// Has the proxy connect to `authority`, or to whom a rule of `connect_to` names for it: what is said on the link then is said to
/// that.
///
/// # Errors
/// [`EgressError`].
///
/// # Cancellation
/// Dropped, the connection closes.
pub(in crate::upstream) async fn tunnel(
    dialer: &Dialer,
    tls: &SessionTls,
    exit: &Arc<Exit>,
    authority: &Authority,
    deadline: Instant,
) -> Result<Link, EgressError> {
    let (target, _) = dialer.target(authority);
    let scheme = exit.proxy().scheme();
    if scheme != ProxyScheme::Socks5 {
        dialer
            .judge_unresolved(&target)
            .map_err(EgressError::Destination)?;
    }
    match scheme {
        ProxyScheme::Http | ProxyScheme::Https => {
            let link = reach(dialer, tls, exit, deadline).await?;
            timeout_at(deadline, connect(link, exit, &target))
                .await
                .map_err(|_| late(dialer, exit))?
        }
        ProxyScheme::Socks5h => {
            let host = match &target.host {
                // Without the brackets that an IPv6 address has elsewhere.
                Host::V6(ip) => ip.to_string(),
                host => host.text().into_owned(),
            };
            let link = reach(dialer, tls, exit, deadline).await?;
            let socks = socks(link, exit, (host.as_str(), target.port), &target);
            timeout_at(deadline, socks)
                .await
                .map_err(|_| late(dialer, exit))?
        }
        ProxyScheme::Socks5 => {
            let addresses = dialer
                .addresses(authority, deadline)
                .await
                .map_err(EgressError::Destination)?;
            let mut last = None;
            for address in addresses.iter().take(MOST_ADDRESSES) {
                let link = reach(dialer, tls, exit, deadline).await?;
                let socks = socks(link, exit, address.addr(), &target);
                let outcome = timeout_at(deadline, socks)
                    .await
                    .map_err(|_| late(dialer, exit))?;
                match outcome {
                    Err(error @ EgressError::Refused { .. }) => last = Some(error),
                    outcome => return outcome,
                }
            }
            Err(last.unwrap_or_else(|| late(dialer, exit)))
        }
    }
}

/// Addresses of one name that a SOCKS proxy is asked to connect to, one after the other.
const MOST_ADDRESSES: usize = 4;

fn late(dialer: &Dialer, exit: &Arc<Exit>) -> EgressError {
    EgressError::Timeout {
        exit: Arc::clone(exit),
        after: dialer.connect_timeout(),
    }
}

/// CONNECT (RFC 9110, section 9.3.6).
async fn connect(
    mut link: Link,
    exit: &Arc<Exit>,
    target: &Authority,
) -> Result<Link, EgressError> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(authorization) = exit.authorization() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(authorization.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let lost = |source| EgressError::Lost {
        exit: Arc::clone(exit),
        source,
    };
    link.write_all(&request).await.map_err(lost)?;
    link.flush().await.map_err(lost)?;
    loop {
        let head = head(&mut link).await.map_err(lost)?;
        let Some((status, said)) = head.as_deref().and_then(status_of) else {
            return Err(EgressError::Protocol {
                exit: Arc::clone(exit),
                said: "no HTTP response to CONNECT".to_owned(),
            });
        };
        if !status.is_informational() {
            return judge(status, said, exit, target).map(|()| link);
        }
    }
}

fn judge(
    status: StatusCode,
    said: String,
    exit: &Arc<Exit>,
    target: &Authority,
) -> Result<(), EgressError> {
    let exit = || Arc::clone(exit);
    match status {
        status if status.is_success() => Ok(()),
        // tinyproxy has 401 for credentials that are wrong, and no proxy that connects has another use for it.
        StatusCode::PROXY_AUTHENTICATION_REQUIRED | StatusCode::UNAUTHORIZED => {
            Err(EgressError::Credentials { exit: exit(), said })
        }
        status => Err(EgressError::Refused {
            exit: exit(),
            target: target.clone(),
            said,
            error: match status {
                StatusCode::FORBIDDEN => "http_request_denied",
                StatusCode::GATEWAY_TIMEOUT => "connection_timeout",
                _ => "destination_unavailable",
            },
        }),
    }
}

/// The head of a response; `None` where it is longer than any should be.
///
/// Octet by octet, as what follows it is the destination's: some forty system calls for a connection.
async fn head(link: &mut Link) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::with_capacity(256);
    while head.len() < LONGEST_HEAD {
        head.push(link.read_u8().await?);
        if head.ends_with(b"\n\r\n") || head.ends_with(b"\n\n") {
            return Ok(Some(head));
        }
    }
    Ok(None)
}

const LONGEST_HEAD: usize = 16 << 10;

/// The status, and how the proxy puts it: `503 Service Unavailable`.
fn status_of(head: &[u8]) -> Option<(StatusCode, String)> {
    let line = head.split(|byte| *byte == b'\n').next()?.trim_ascii_end();
    let rest = line.strip_prefix(b"HTTP/1.")?.get(2..)?.trim_ascii_start();
    let status = StatusCode::from_bytes(rest.get(..3)?).ok()?;
    let said = rest.iter().take(100).map(|byte| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => '?',
    });
    Some((status, said.collect()))
}

/// SOCKS 5 (RFC 1928), with a user name and password (RFC 1929) where there are some.
async fn socks<'t>(
    link: Link,
    exit: &Arc<Exit>,
    to: impl IntoTargetAddr<'t>,
    target: &Authority,
) -> Result<Link, EgressError> {
    let outcome = match exit.credentials() {
        None => Socks5Stream::connect_with_socket(link, to).await,
        Some((user, password)) => match (str::from_utf8(user), str::from_utf8(password)) {
            (Ok(user), Ok(password)) => {
                Socks5Stream::connect_with_password_and_socket(link, to, user, password).await
            }
            _ => Err(SocksError::InvalidAuthValues("they are not UTF-8")),
        },
    };
    outcome
        .map(Socks5Stream::into_inner)
        .map_err(|error| of_socks(error, exit, target))
}

fn of_socks(error: SocksError, exit: &Arc<Exit>, target: &Authority) -> EgressError {
    use SocksError as S;
    let said = error.to_string();
    let exit = Arc::clone(exit);
    let token = match error {
        S::Io(source) => return EgressError::Lost { exit, source },
        S::NoAcceptableAuthMethods
        | S::InvalidAuthValues(_)
        | S::PasswordAuthFailure(_)
        | S::AuthorizationRequired => return EgressError::Credentials { exit, said },
        S::GeneralSocksServerFailure | S::HostUnreachable => "destination_unavailable",
        S::ConnectionNotAllowedByRuleset => "destination_ip_prohibited",
        S::NetworkUnreachable | S::AddressTypeNotSupported => "destination_ip_unroutable",
        S::ConnectionRefused => "connection_refused",
        S::TtlExpired => "connection_timeout",
        S::InvalidTargetAddress(_) => "destination_not_found",
        _ => return EgressError::Protocol { exit, said },
    };
    EgressError::Refused {
        exit,
        target: target.clone(),
        said,
        error: token,
    }
}

/// Takes note of what became of a connection through a proxy, and probes one that turns out to be down.
pub(in crate::upstream) fn note(dialer: &Arc<Dialer>, error: &EgressError) {
    match error {
        EgressError::Destination(_) => {}
        EgressError::Refused { exit, .. } => exit.proxy().health.reached(),
        EgressError::Unreachable { exit, .. } if error.unreachable().is_some() => {
            if exit.proxy().health.vanished(error.to_string()) {
                tracing::warn!(%error, "an upstream proxy is out of reach");
                if !exit.is_own() {
                    watch(dialer, exit.proxy());
                }
            }
        }
        EgressError::Unreachable { exit, .. }
        | EgressError::Tls { exit, .. }
        | EgressError::Timeout { exit, .. }
        | EgressError::Credentials { exit, .. }
        | EgressError::Protocol { exit, .. }
        | EgressError::Lost { exit, .. } => exit.proxy().health.failed(error.to_string()),
    }
}

/// Asks from time to time whether a proxy that is down can be reached again, until it can.
fn watch(dialer: &Arc<Dialer>, proxy: &Arc<Proxy>) {
    let (dialer, proxy) = (Arc::clone(dialer), Arc::downgrade(proxy));
    tokio::spawn(async move {
        for before in 0_u32.. {
            sleep(pause(before, rand::random())).await;
            // The proxies go with the pool, and this with them.
            let Some(proxy) = proxy.upgrade() else { return };
            if !proxy.health.goes_on() {
                return;
            }
            let deadline = Instant::now() + dialer.connect_timeout();
            match dialer.dial_proxy(proxy.authority(), deadline).await {
                Ok(_) => proxy.health.reached(),
                Err(error) => {
                    tracing::debug!(proxy = proxy.name(), %error, "an upstream proxy is still out of reach");
                }
            }
            if !proxy.health.goes_on() {
                tracing::info!(
                    proxy = proxy.name(),
                    "an upstream proxy can be reached again"
                );
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_status_is_read_as_proxies_write_it() {
        for (head, wanted) in [
            (
                "HTTP/1.1 200 Connection established\r\n\r\n",
                Some((200, "200 Connection established")),
            ),
            ("HTTP/1.0 200\r\n\r\n", Some((200, "200"))),
            ("HTTP/1.1 407 \r\nX: y\r\n\r\n", Some((407, "407"))),
            ("HTTP/1.1 503 no \u{fc}\n\n", Some((503, "503 no ??"))),
            ("HTTP/1.1 99\r\n\r\n", None),
            ("SSH-2.0-x\r\n\r\n", None),
            ("HTTP/2 200\r\n\r\n", None),
            ("", None),
        ] {
            let read = status_of(head.as_bytes());
            let read = read
                .as_ref()
                .map(|(status, said)| (status.as_u16(), said.as_str()));
            assert_eq!(read, wanted, "{head:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_a_proxy_says_fits_into_a_message(head in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Some((_, said)) = status_of(&[b"HTTP/1.1 ".as_slice(), &head].concat()) {
                prop_assert!(said.len() <= 100 && said.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{said:?}");
            }
        }
    }
}
