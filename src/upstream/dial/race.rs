//! The race of a host's addresses (Happy Eyeballs, RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::sleep;
use tracing::trace;

use crate::upstream::policy::Permitted;

/// The head start of one address over the next (RFC 8305, section 5: "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);

/// An idle connection is probed after this, so that a vanished origin or NAT entry is noticed.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// An attempt that came to nothing.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) addr: SocketAddr,
    pub(super) error: io::Error,
}

impl Failure {
    /// How much the failure tells of the origin: an address family without a route tells nothing.
    fn weight(&self) -> u8 {
        match self.error.kind() {
            io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => 2,
            io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::AddrNotAvailable => 0,
            _ => 1,
        }
    }

    fn or_more_telling(self, former: Option<Self>) -> Self {
        match former {
            Some(former) if former.weight() >= self.weight() => former,
            _ => self,
        }
    }
}

/// Alternates the families, beginning with that of the first address (RFC 8305, section 4).
pub(super) fn interleave(addresses: Vec<Permitted>) -> Vec<Permitted> {
    let Some(first) = addresses.first() else {
        return addresses;
    };
    let family = first.addr().is_ipv4();
    let total = addresses.len();
    let (preferred, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|permitted| permitted.addr().is_ipv4() == family);
    let (mut preferred, mut other) = (preferred.into_iter(), other.into_iter());
    let mut mixed = Vec::with_capacity(total);
    while mixed.len() < total {
        mixed.extend(preferred.next());
        mixed.extend(other.next());
    }
    mixed
}

/// Tries one address after another, each with a head start that a failure cuts short. The first
/// connection wins; the other attempts are dropped. There must be an address to try.
pub(super) async fn race(addresses: Vec<Permitted>) -> Result<TcpStream, Failure> {
    let mut untried = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    let mut telling = None;
    loop {
        if let Some(address) = untried.next() {
            attempts.push(attempt(address));
        }
        let more = untried.len() > 0;
        tokio::select! {
            outcome = attempts.next() => match outcome {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(failure)) => telling = Some(failure.or_more_telling(telling)),
                None => return Err(telling.expect("at least one address was tried and failed")),
            },
            () = sleep(ATTEMPT_DELAY), if more => {}
        }
    }
}

async fn attempt(to: Permitted) -> Result<TcpStream, Failure> {
    let addr = to.addr();
    let outcome = connect(to).await;
    trace!(%addr, connected = outcome.is_ok(), "attempt ended");
    outcome.map_err(|error| Failure { addr, error })
}

async fn connect(to: Permitted) -> io::Result<TcpStream> {
    let addr = to.addr();
    let socket = match addr {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    let stream = socket.connect(addr).await?;
    // A free local port in the ephemeral range can be given to the very socket that dials it (TCP's
    // simultaneous open): nobody listens there.
    if stream.local_addr()? == addr {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_INTERVAL);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::super::tests::{BlackHole, closed, listener, permitted};
    use super::*;

    #[tokio::test]
    async fn after_a_failure_the_next_address_is_tried_at_once() {
        let (_kept, refusing) = closed();
        let (_listener, addr) = listener("127.0.0.1").await;
        // Some hundred refusals would take half a minute at 250 ms each.
        let mut addresses = vec![permitted(refusing); 100];
        addresses.push(permitted(addr));
        let started = Instant::now();
        let stream = race(addresses).await.expect("the last one answers");
        assert_eq!(stream.peer_addr().expect("connected"), addr);
        assert!(started.elapsed() < ATTEMPT_DELAY * 20);
    }

    #[tokio::test]
    async fn a_silent_address_is_overtaken_after_its_head_start() {
        let hole = BlackHole::open();
        let (_listener, addr) = listener("127.0.0.1").await;
        let started = Instant::now();
        let stream = race(vec![permitted(hole.addr), permitted(addr)])
            .await
            .expect("the second answers");
        assert_eq!(stream.peer_addr().expect("connected"), addr);
        assert!(started.elapsed() >= ATTEMPT_DELAY);
    }

    #[tokio::test]
    async fn the_most_telling_failure_is_told() {
        let (_kept, refusing) = closed();
        let failure = |addr: SocketAddr, kind: io::ErrorKind| Failure {
            addr,
            error: kind.into(),
        };
        let elsewhere: SocketAddr = "[2001:db8::1]:80".parse().expect("addr");
        let refused = failure(refusing, io::ErrorKind::ConnectionRefused);
        let told =
            refused.or_more_telling(Some(failure(elsewhere, io::ErrorKind::NetworkUnreachable)));
        assert_eq!(told.addr, refusing);
        let told =
            failure(elsewhere, io::ErrorKind::NetworkUnreachable).or_more_telling(Some(told));
        assert_eq!(told.addr, refusing);
    }

    #[test]
    fn families_alternate_beginning_with_the_first() {
        let order = |addresses: &[&str]| {
            let addresses = addresses
                .iter()
                .map(|addr| permitted(addr.parse().expect("addr")))
                .collect();
            interleave(addresses)
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        };
        let v6 = ["[2001:db8::1]:1", "[2001:db8::2]:1", "[2001:db8::3]:1"];
        let v4 = ["192.0.2.1:1", "192.0.2.2:1"];
        let sorted = [v6[0], v6[1], v6[2], v4[0], v4[1]];
        assert_eq!(order(&sorted), [v6[0], v4[0], v6[1], v4[1], v6[2]]);
        assert_eq!(
            order(&[v4[0], v6[0], v6[1], v4[1]]),
            [v4[0], v6[0], v4[1], v6[1]]
        );
        assert_eq!(order(&v4), v4);
        assert!(order(&[]).is_empty());
    }
}
