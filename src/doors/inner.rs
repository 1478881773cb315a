//! The listeners of browser contexts: proxies on loopback to which only the browser may connect, each for one visitor.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener as StdListener};
use std::sync::{Arc, OnceLock, Weak};

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::House;
use super::accept::{ACCEPT_PAUSE, is_of_one_connection, serve};
use crate::browser::{Clients, Doors, OpenDoor, Visitor};
use crate::exchange::{Connection, Door};
use crate::upstream::policy::PassingListeners;

/// Opens the listeners of contexts.
#[derive(Debug)]
pub struct InnerDoors {
    /// Set once everything is built: the house's exchange has the browsers, and those have this.
    house: OnceLock<Weak<House>>,
    passing: PassingListeners,
}

impl InnerDoors {
    /// Its listeners are put among `passing`, so that no request can be sent to them.
    pub fn new(passing: PassingListeners) -> Arc<Self> {
        Arc::new(Self {
            house: OnceLock::new(),
            passing,
        })
    }

    /// Where its connections are served.
    pub fn lead_to(&self, house: &Arc<House>) {
        // It is led to one house once; another call would be a defect without harm.
        let _ = self.house.set(Arc::downgrade(house));
    }
}

impl Doors for InnerDoors {
    fn open(
        &self,
        address: IpAddr,
        clients: Clients,
        visitor: Arc<Visitor>,
    ) -> io::Result<OpenDoor> {
        let house = self.house.get().and_then(Weak::upgrade);
        let house = house.ok_or_else(|| io::Error::other("burdock is ending"))?;
        let listener = StdListener::bind((address, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let listener = TcpListener::from_std(listener)?;
        let shut = self.passing.shut(address);
        let end = house.closing.child_token();
        let accepting = {
            let (house, end) = (Arc::clone(&house), end.clone());
            async move {
                accept(house, listener, clients, visitor, end).await;
                drop(shut);
            }
        };
        house.tasks.spawn(accepting);
        Ok(OpenDoor {
            address,
            close: end.drop_guard(),
        })
    }

    fn shut(&self, address: SocketAddr) -> Box<dyn std::fmt::Debug + Send + Sync> {
        Box::new(self.passing.shut(address))
    }
}

async fn accept(
    house: Arc<House>,
    listener: TcpListener,
    clients: Clients,
    visitor: Arc<Visitor>,
    end: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => return,
            accepted = async {
                // The semaphore is never closed.
                let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
                listener.accept().await.map(|accepted| (accepted, place))
            } => accepted,
        };
        let ((stream, client), place) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a browser's connections; out of file descriptors? (`ulimit -n`)");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connection = {
            let (house, end) = (Arc::clone(&house), end.clone());
            let visitor = Arc::clone(&visitor);
            async move {
                if !may_enter(&clients, &stream, client).await {
                    tracing::warn!(%client, "somebody else than the browser came to its listener");
                    return;
                }
                let connection = Connection::new(client, Door::Proxy).of(Some(visitor));
                tokio::select! {
                    () = serve(house, stream, connection, Arc::new(place)) => {}
                    () = end.cancelled() => {}
                }
            }
        };
        house.tasks.spawn(connection);
    }
}

async fn may_enter(clients: &Clients, stream: &tokio::net::TcpStream, client: SocketAddr) -> bool {
    match clients {
        Clients::From(address) => client.ip().to_canonical() == address.to_canonical(),
        Clients::SameUser => match stream.local_addr() {
            Ok(listener) => is_of_same_user(client, listener).await,
            Err(_) => false,
        },
    }
}

/// Whether the socket at the other end of a connection on this machine belongs to burdock's own user. Who is that could read the sessions,
/// and the CA's key, in other ways.
#[cfg(target_os = "linux")]
async fn is_of_same_user(client: SocketAddr, listener: SocketAddr) -> bool {
    let own = rustix::process::geteuid().as_raw();
    let tables = match client {
        SocketAddr::V4(_) => &["/proc/net/tcp", "/proc/net/tcp6"][..],
        SocketAddr::V6(_) => &["/proc/net/tcp6"][..],
    };
    for table in tables {
        match tokio::fs::read_to_string(table).await {
            Ok(text) => {
                if let Some(user) = user_of(&text, client, listener) {
                    return user == own;
                }
            }
            Err(error) => tracing::warn!(%error, table, "cannot tell whose a connection is"),
        }
    }
    false
}

/// Other systems do not say whose a connection is.
#[cfg(not(target_os = "linux"))]
async fn is_of_same_user(_client: SocketAddr, _listener: SocketAddr) -> bool {
    true
}

/// The user whose socket is at `local` and connected to `remote`, from a table of the kernel's (proc(5), `/proc/net/tcp`).
#[cfg(any(target_os = "linux", test))]
fn user_of(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (local, remote) = (kernel_text(local), kernel_text(remote));
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(1);
        let is_it = columns.next()? == local && columns.next()? == remote;
        // Between: state, queues, timer, retransmissions.
        let user = columns.nth(4)?;
        is_it.then(|| user.parse().ok()).flatten()
    })
}

/// An address as those tables write it: words in the machine's byte order, in hexadecimal.
#[cfg(any(target_os = "linux", test))]
fn kernel_text(address: SocketAddr) -> String {
    use std::fmt::Write as _;

    let octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let mut text = String::with_capacity(40);
    for word in octets.chunks_exact(4) {
        let word = u32::from_ne_bytes([word[0], word[1], word[2], word[3]]);
        write!(text, "{word:08X}").expect("writing to a string succeeds");
    }
    write!(text, ":{:04X}", address.port()).expect("writing to a string succeeds");
    text
}

/// Far more than a browser opens to a proxy, which is 32 for each of its few sockets' pools, and 256 for WebSockets.
const MAX_CONNECTIONS: usize = 512;

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_endian = "little")]
    #[test]
    fn a_connections_user_is_found_in_the_kernels_table() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 0100007F:C350 0100007F:1F90 01 00000000:00000000 00:00000000 00000000  1000        0 2 1 0 20 4 30 10 -1
";
        let user = |local: &str, remote: &str| {
            user_of(table, local.parse().unwrap(), remote.parse().unwrap())
        };
        assert_eq!(user("127.0.0.1:50000", "127.0.0.1:8080"), Some(1000));
        assert_eq!(user("127.0.0.1:50001", "127.0.0.1:8080"), None);
        assert_eq!(
            user_of(
                "",
                "127.0.0.1:1".parse().unwrap(),
                "127.0.0.1:2".parse().unwrap()
            ),
            None
        );
        assert_eq!(
            kernel_text("[::1]:80".parse().unwrap()),
            "00000000000000000000000001000000:0050"
        );
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn ones_own_connection_is_of_the_same_user() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let _client = tokio::net::TcpStream::connect(address).await.unwrap();
        let (_stream, client) = listener.accept().await.unwrap();
        assert!(is_of_same_user(client, address).await);
        assert!(!is_of_same_user("127.0.0.1:1".parse().unwrap(), address).await);
    }
}
