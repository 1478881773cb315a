//! From an authority to a connected socket: redirect, resolve, judge, race.

mod error;
mod race;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};
use tracing::debug;

pub use self::error::{DialError, Phase};

use self::race::{interleave, race};
use super::policy::{Denied, Permitted, Policy};
use crate::config::ConnectTo;
use crate::message::{Authority, Host};

/// Look-ups at once. Each blocks a thread, even after whoever asked has gone; a dead resolver must not take
/// all threads that blocking work has. Further ones wait within their own deadline.
const LOOKUPS: usize = 128;

/// Connects to authorities. One for the process; it keeps no connections and knows no sessions.
#[derive(Debug)]
pub struct Dialer {
    connect_timeout: Duration,
    connect_to: Vec<ConnectTo>,
    policy: Arc<Policy>,
    lookups: Arc<Semaphore>,
}

impl Dialer {
    /// A dialer that gives up after `connect_timeout`, look-up included, that dials elsewhere where a rule
    /// of `connect_to` says so, and only what `policy` permits.
    pub fn new(connect_timeout: Duration, connect_to: Vec<ConnectTo>, policy: Arc<Policy>) -> Self {
        Self {
            connect_timeout,
            connect_to,
            policy,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
        }
    }

    /// Time for a connection, look-up included; the caller's deadline for TLS should start with it.
    pub fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// Connects to `authority`: the first of its permitted addresses that answers. The socket sends
    /// without delay (`TCP_NODELAY`) and is probed when idle.
    ///
    /// # Errors
    /// [`DialError`], naming the authority and the address concerned.
    ///
    /// # Cancellation
    /// Dropped, all attempts end; a look-up that has begun finishes unheard on its thread.
    pub async fn dial(&self, authority: &Authority) -> Result<TcpStream, DialError> {
        let deadline = Instant::now() + self.connect_timeout;
        let permitted = self.addresses(authority, deadline).await?;
        self.connect(authority, permitted, deadline).await
    }

    /// Connects to an upstream proxy: as [`Self::dial`], but rules of `connect_to` are for destinations, and a proxy may be at a
    /// private address.
    ///
    /// # Errors
    /// [`DialError`], naming the proxy.
    ///
    /// # Cancellation
    /// As for [`Self::dial`].
    pub async fn dial_proxy(
        &self,
        proxy: &Authority,
        deadline: Instant,
    ) -> Result<TcpStream, DialError> {
        let addresses = self.resolved(proxy, proxy, deadline).await?;
        let permitted = permitted(proxy, addresses, |addr| self.policy.judge_proxy(addr))?;
        self.connect(proxy, interleave(permitted), deadline).await
    }

    /// Whom to connect to for `authority`: itself, or whom a rule of `connect_to` names; then `true`.
    pub fn target(&self, authority: &Authority) -> (Authority, bool) {
        match ConnectTo::target(&self.connect_to, authority) {
            Some(target) => (target, true),
            None => (authority.clone(), false),
        }
    }

    /// Whether `target` may be named to an upstream proxy, which resolves it: an address and `localhost` are judged, any other name
    /// is not known here.
    ///
    /// # Errors
    /// [`DialError::Denied`].
    pub fn judge_unresolved(&self, target: &Authority) -> Result<(), DialError> {
        let Some(addresses) = known(target) else {
            return Ok(());
        };
        permitted(target, addresses, |addr| self.policy.judge(addr)).map(drop)
    }

    /// The addresses of `authority` that may be dialled, in the order in which to try them.
    ///
    /// # Errors
    /// [`DialError`] where there is none until `deadline`.
    pub async fn addresses(
        &self,
        authority: &Authority,
        deadline: Instant,
    ) -> Result<Vec<Permitted>, DialError> {
        let redirected = ConnectTo::target(&self.connect_to, authority);
        let target = redirected.as_ref().unwrap_or(authority);
        let addresses = self.resolved(authority, target, deadline).await?;
        let permitted = permitted(authority, addresses, |addr| self.policy.judge(addr))?;
        Ok(interleave(permitted))
    }

    async fn resolved(
        &self,
        authority: &Authority,
        target: &Authority,
        deadline: Instant,
    ) -> Result<Vec<SocketAddr>, DialError> {
        timeout_at(deadline, self.resolve(target))
            .await
            .map_err(|_| self.timed_out(authority, Phase::Lookup))?
    }

    async fn connect(
        &self,
        authority: &Authority,
        addresses: Vec<Permitted>,
        deadline: Instant,
    ) -> Result<TcpStream, DialError> {
        timeout_at(deadline, race(addresses))
            .await
            .map_err(|_| self.timed_out(authority, Phase::Connect))?
            .map_err(|failure| DialError::Connect {
                authority: authority.clone(),
                addr: failure.addr,
                source: failure.error,
            })
    }

    fn timed_out(&self, authority: &Authority, during: Phase) -> DialError {
        DialError::Timeout {
            authority: authority.clone(),
            after: self.connect_timeout,
            during,
        }
    }

    /// The addresses of `target`, in the resolver's order (RFC 6724).
    async fn resolve(&self, target: &Authority) -> Result<Vec<SocketAddr>, DialError> {
        if let Some(addresses) = known(target) {
            return Ok(addresses);
        }
        let Authority { host, port } = target;
        let name: Arc<str> = host.text().into();
        let found = match self.look_up(name, *port).await {
            Ok(addresses) if addresses.is_empty() => Err(io::ErrorKind::NotFound.into()),
            found => found,
        };
        found.map_err(|source| DialError::Dns {
            host: host.clone(),
            source,
        })
    }

    async fn look_up(&self, name: Arc<str>, port: u16) -> io::Result<Vec<SocketAddr>> {
        let permit = Arc::clone(&self.lookups)
            .acquire_owned()
            .await
            .map_err(io::Error::other)?;
        // Not tokio's `lookup_host`: the permit must stay with the thread when this future is dropped.
        tokio::task::spawn_blocking(move || {
            let _permit = permit;
            (&*name, port).to_socket_addrs().map(Vec::from_iter)
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// The addresses of a host that is one, or that nobody is asked for.
fn known(Authority { host, port }: &Authority) -> Option<Vec<SocketAddr>> {
    let at = |ip: IpAddr| SocketAddr::new(ip, *port);
    match host {
        Host::V4(ip) => Some(vec![at((*ip).into())]),
        Host::V6(ip) => Some(vec![at((*ip).into())]),
        // RFC 6761, section 6.3: never asked of a resolver, which might say otherwise.
        Host::Name(_) if host.is_localhost() => Some(vec![
            at(Ipv4Addr::LOCALHOST.into()),
            at(Ipv6Addr::LOCALHOST.into()),
        ]),
        Host::Name(_) => None,
    }
}

/// Those of `addresses` that may be dialled, each once; the first denial if there is none.
fn permitted(
    authority: &Authority,
    addresses: Vec<SocketAddr>,
    judge: impl Fn(SocketAddr) -> Result<Permitted, Denied>,
) -> Result<Vec<Permitted>, DialError> {
    let mut permitted = Vec::with_capacity(addresses.len());
    let mut denied = None;
    for addr in addresses {
        match judge(addr) {
            Ok(addr) if permitted.contains(&addr) => {}
            Ok(addr) => permitted.push(addr),
            Err(why) => {
                debug!(%authority, %addr, %why, "address denied");
                let is_loop = matches!(why, Denied::Loop { .. });
                if is_loop || denied.is_none() {
                    denied = Some((addr, why));
                }
            }
        }
    }
    match denied {
        // A name that leads here by one of its addresses means this process, whichever answers.
        Some((addr, why)) if permitted.is_empty() || matches!(why, Denied::Loop { .. }) => {
            Err(DialError::Denied {
                authority: authority.clone(),
                addr,
                why,
            })
        }
        _ => Ok(permitted),
    }
}

#[cfg(test)]
mod tests {
    use ipnet::IpNet;
    use socket2::SockRef;
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;
    use crate::config::{Flag, Sources, load};
    use crate::upstream::policy::{Denied, Exposure};

    const LONG: Duration = Duration::from_secs(30);

    fn policy(deny: &[&str], own: &[SocketAddr]) -> Policy {
        let deny = deny
            .iter()
            .map(|net| net.parse::<IpNet>().expect("net"))
            .collect();
        Policy::new(deny, Vec::new(), own.to_vec(), Exposure::Loopback)
    }

    fn dialer(policy: Policy, connect_timeout: Duration, connect_to: &[String]) -> Dialer {
        let flag = Flag {
            name: "--connect-to",
            key: "upstream.connect_to",
            values: connect_to.to_vec(),
        };
        let sources = Sources {
            flags: vec![flag],
            ..Sources::default()
        };
        let config = load(&sources).expect("valid rules");
        Dialer::new(
            connect_timeout,
            config.upstream.connect_to,
            Arc::new(policy),
        )
    }

    fn plain() -> Dialer {
        dialer(policy(&[], &[]), LONG, &[])
    }

    fn authority(text: &str) -> Authority {
        Authority::parse(text, None).expect(text)
    }

    pub(super) fn permitted(addr: SocketAddr) -> Permitted {
        policy(&[], &[]).judge(addr).expect("permitted")
    }

    pub(super) async fn listener(ip: &str) -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((ip, 0)).await.expect("a free port");
        let addr = listener.local_addr().expect("bound");
        (listener, addr)
    }

    /// An address where nobody listens, kept from being given to anyone else.
    pub(super) fn closed() -> (TcpSocket, SocketAddr) {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket
            .bind("127.0.0.1:0".parse().expect("addr"))
            .expect("a free port");
        let addr = socket.local_addr().expect("bound");
        (socket, addr)
    }

    /// A listener that answers no more: nobody accepts, and its queue is full.
    pub(super) struct BlackHole {
        pub(super) addr: SocketAddr,
        _listener: socket2::Socket,
        _queued: Vec<socket2::Socket>,
    }

    impl BlackHole {
        pub(super) fn open() -> Self {
            use socket2::{Domain, Socket, Type};
            let tcp = || Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
            let listener = tcp();
            let any: SocketAddr = "127.0.0.1:0".parse().expect("addr");
            listener.bind(&any.into()).expect("a free port");
            listener.listen(0).expect("bound");
            let addr = listener.local_addr().expect("bound");
            let queued = (0..4).map(|_| {
                let socket = tcp();
                socket.set_nonblocking(true).expect("a socket");
                // In progress: whether it gets into the queue or not, the queue is full afterwards.
                drop(socket.connect(&addr));
                socket
            });
            Self {
                addr: addr.as_socket().expect("an IPv4 address"),
                _queued: queued.collect(),
                _listener: listener,
            }
        }
    }

    #[tokio::test]
    async fn an_address_is_dialled_directly_and_sends_without_delay() {
        let (_listener, addr) = listener("127.0.0.1").await;
        let stream = plain()
            .dial(&authority(&addr.to_string()))
            .await
            .expect("connected");
        assert_eq!(stream.peer_addr().expect("connected"), addr);
        assert!(stream.nodelay().expect("readable"));
        assert!(SockRef::from(&stream).keepalive().expect("readable"));
    }

    #[tokio::test]
    async fn names_under_localhost_are_loopback_without_a_resolver() {
        let (_listener, addr) = listener("127.0.0.1").await;
        let dialer = plain();
        // With no look-up to be had, asking a resolver would wait for ever.
        dialer.lookups.close();
        for name in ["localhost", "shop.localhost"] {
            let authority = authority(&format!("{name}:{}", addr.port()));
            let stream = dialer.dial(&authority).await.expect(name);
            assert_eq!(stream.peer_addr().expect("connected"), addr);
        }
        assert!(matches!(
            dialer.dial(&authority("shop.example:80")).await,
            Err(DialError::Dns { .. })
        ));
    }

    #[tokio::test]
    async fn localhost_is_tried_on_both_families() {
        let (_kept, refusing) = closed();
        // Machines without IPv6 exist, and the port may be taken there; then nothing can be shown.
        let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, refusing.port())).await else {
            return;
        };
        let authority = authority(&format!("localhost:{}", refusing.port()));
        let stream = plain().dial(&authority).await.expect("connected");
        assert_eq!(
            stream.peer_addr().expect("connected"),
            listener.local_addr().expect("bound")
        );
    }

    #[tokio::test]
    async fn connect_to_decides_where_to_dial_and_policy_judges_that() {
        let (_listener, addr) = listener("127.0.0.1").await;
        let rules = [format!("shop.example:443:{addr}")];
        let shop = authority("shop.example:443");
        let stream = dialer(policy(&[], &[]), LONG, &rules)
            .dial(&shop)
            .await
            .expect("connected");
        assert_eq!(stream.peer_addr().expect("connected"), addr);
        let denied = dialer(policy(&["127.0.0.0/8"], &[]), LONG, &rules)
            .dial(&shop)
            .await;
        let message = denied.expect_err("denied").to_string();
        assert_eq!(
            message,
            format!("`shop.example:443` is at {addr}: 127.0.0.0/8 is in `upstream.deny`")
        );
    }

    #[tokio::test]
    async fn our_own_listener_is_not_dialled() {
        let (_listener, addr) = listener("127.0.0.1").await;
        let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), addr.port());
        let dialer = dialer(policy(&[], &[addr, v6]), LONG, &[]);
        for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            let outcome = dialer
                .dial(&authority(&format!("{host}:{}", addr.port())))
                .await;
            let Err(DialError::Denied { why, .. }) = outcome else {
                panic!("{host}: {outcome:?}");
            };
            assert!(matches!(why, Denied::Loop { .. }), "{host}: {why}");
        }
    }

    #[tokio::test]
    async fn a_denied_address_is_skipped_while_another_is_permitted() {
        let (_listener, addr) = listener("127.0.0.1").await;
        let dialer = dialer(policy(&["::1/128"], &[]), LONG, &[]);
        let both = vec![
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), addr.port()),
            addr,
            addr,
        ];
        let permitted = super::permitted(&authority("x:1"), both, |addr| dialer.policy.judge(addr))
            .expect("one is left");
        assert_eq!(
            permitted.iter().map(|one| one.addr()).collect::<Vec<_>>(),
            [addr]
        );
    }

    #[tokio::test]
    async fn a_refused_connection_says_who_refused() {
        let (_kept, addr) = closed();
        let error = plain()
            .dial(&authority(&addr.to_string()))
            .await
            .expect_err("refused");
        assert_eq!(
            error.to_string(),
            format!("cannot connect to `{addr}`: {addr} refused the connection")
        );
        let source =
            std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(
            source.map(io::Error::kind),
            Some(io::ErrorKind::ConnectionRefused)
        );
    }

    #[tokio::test]
    async fn a_name_without_address_is_a_dns_error() {
        // RFC 6761, section 6.4: never resolved by anyone.
        let error = plain()
            .dial(&authority("burdock.invalid:80"))
            .await
            .expect_err("no address");
        assert!(matches!(error, DialError::Dns { .. }), "{error:?}");
        assert_eq!(error.to_string(), "cannot resolve `burdock.invalid`");
    }

    #[tokio::test]
    async fn no_answer_in_time_says_how_long_it_was_waited_for() {
        let hole = BlackHole::open();
        let dialer = dialer(policy(&[], &[]), Duration::from_millis(50), &[]);
        let error = dialer
            .dial(&authority(&hole.addr.to_string()))
            .await
            .expect_err("no answer");
        assert_eq!(
            error.to_string(),
            format!("connect to `{}`: no answer in 50ms", hole.addr)
        );
    }

    #[tokio::test]
    async fn a_look_up_that_gets_no_turn_times_out_as_a_look_up() {
        let dialer = dialer(policy(&[], &[]), Duration::from_millis(50), &[]);
        let lookups = u32::try_from(LOOKUPS).expect("small");
        let _busy = dialer.lookups.acquire_many(lookups).await.expect("open");
        let error = dialer
            .dial(&authority("shop.example:443"))
            .await
            .expect_err("no turn");
        assert_eq!(
            error.to_string(),
            "resolve `shop.example:443`: no answer in 50ms"
        );
    }
}
