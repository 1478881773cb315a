//! Sockets to listen on, bound before anything is built, so that port 0 is known by its number.

use std::io;
use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

use crate::config::Config;

/// The bound listeners of a process.
#[derive(Debug)]
pub struct Listeners {
    /// For proxy clients.
    pub proxy: Vec<TcpListener>,
    /// For the admin API.
    pub admin: Vec<TcpListener>,
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on `{address}` (`{key}`): {source}")]
pub struct BindError {
    address: SocketAddr,
    key: &'static str,
    source: io::Error,
}

impl Listeners {
    /// Binds what the configuration names. Must be called within a runtime.
    ///
    /// The IPv6 loopback may be missing where the IPv4 one is there.
    ///
    /// # Errors
    /// [`BindError`] naming the address and the key.
    pub fn bind(config: &Config) -> Result<Self, BindError> {
        Ok(Self {
            proxy: bind_all(&config.proxy.listen, "proxy.listen")?,
            admin: bind_all(&config.admin.listen, "admin.listen")?,
        })
    }

    /// The actual addresses of the proxy.
    pub fn proxy_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.proxy)
    }

    /// The actual addresses of the admin API.
    pub fn admin_addresses(&self) -> Vec<SocketAddr> {
        addresses(&self.admin)
    }
}

fn addresses(listeners: &[TcpListener]) -> Vec<SocketAddr> {
    listeners
        .iter()
        .filter_map(|listener| listener.local_addr().ok())
        .collect()
}

fn bind_all(addresses: &[SocketAddr], key: &'static str) -> Result<Vec<TcpListener>, BindError> {
    let has_ipv4_loopback = addresses
        .iter()
        .any(|address| address.ip().is_loopback() && address.is_ipv4());
    let mut listeners = Vec::with_capacity(addresses.len());
    for address in addresses {
        match bind(*address) {
            Ok(listener) => listeners.push(listener),
            Err(error) if has_ipv4_loopback && is_missing_ipv6_loopback(*address, &error) => {
                tracing::warn!(%address, %error, "there is no IPv6 loopback here; the IPv4 one is enough");
            }
            Err(source) => {
                return Err(BindError {
                    address: *address,
                    key,
                    source,
                });
            }
        }
    }
    Ok(listeners)
}

fn is_missing_ipv6_loopback(address: SocketAddr, error: &io::Error) -> bool {
    let IpAddr::V6(ip) = address.ip() else {
        return false;
    };
    // Without IPv6 in the kernel the socket cannot be made at all (EAFNOSUPPORT, 97 on Linux).
    const EAFNOSUPPORT: i32 = 97;
    ip.is_loopback()
        && (error.kind() == io::ErrorKind::AddrNotAvailable
            || error.raw_os_error() == Some(EAFNOSUPPORT))
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // `[::]` and `0.0.0.0` are two listeners, whatever the system's default.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connections the kernel completes before they are accepted; it cuts this to its own bound.
const BACKLOG: i32 = 4096;
