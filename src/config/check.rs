//! What must hold for a value beyond its type; each says what is wrong.

use std::net::SocketAddr;
use std::time::Duration;

/// A time-out of nothing would fail everything.
pub(super) fn positive(duration: &Duration) -> Result<(), String> {
    if duration.is_zero() {
        return Err("must be longer than nothing".into());
    }
    Ok(())
}

/// The API counts lives in seconds.
pub(super) fn whole_seconds(duration: &Duration) -> Result<(), String> {
    if duration.is_zero() || duration.subsec_nanos() != 0 {
        return Err("must be whole seconds, at least one".into());
    }
    Ok(())
}

/// An address can be listened on once; port 0 is another port each time.
pub(super) fn without_repeats(addresses: &[SocketAddr]) -> Result<(), String> {
    for (at, address) in addresses.iter().enumerate() {
        if address.port() != 0 && addresses[..at].contains(address) {
            return Err(format!("lists {address} twice"));
        }
    }
    Ok(())
}

/// The first of the listeners that somebody on another machine could reach.
pub(super) fn exposed(listeners: &[SocketAddr]) -> Option<&SocketAddr> {
    listeners
        .iter()
        .find(|address| !address.ip().to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_not_exposed() {
        for (address, wanted) in [
            ("127.0.0.1:1", false),
            ("127.9.9.9:1", false),
            ("[::1]:1", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("0.0.0.0:1", true),
            ("[::]:1", true),
            ("10.0.0.1:1", true),
        ] {
            let address: SocketAddr = address.parse().expect("an address");
            assert_eq!(exposed(&[address]).is_some(), wanted, "{address}");
        }
        assert!(exposed(&[]).is_none());
    }
}
