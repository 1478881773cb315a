//! Networks: an address or a CIDR.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::mistake::shown;
use super::Text;

impl Text for IpNet {
    fn kind() -> String {
        "address or CIDR".into()
    }

    /// A bare address is the network of that address alone; bits beyond the prefix do not count.
    fn parse(text: &str) -> Result<Self, String> {
        text.parse::<IpAddr>()
            .map(Self::from)
            .or_else(|_| text.parse::<Self>())
            .map(|net| net.trunc())
            .map_err(|_| {
                format!(
                    "`{}` is not an address or CIDR such as 10.0.0.0/8",
                    shown(text)
                )
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_address_is_a_network_of_one() {
        for (text, wanted) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("10.1.2.3", "10.1.2.3/32"),
            ("fd00::/8", "fd00::/8"),
            ("::1", "::1/128"),
        ] {
            let net = <IpNet as Text>::parse(text).map(|net| net.to_string());
            assert_eq!(net.as_deref(), Ok(wanted), "{text}");
        }
        for text in [
            "",
            "10.0.0.0/33",
            "10.0.0",
            "localhost",
            "[::1]",
            "10.0.0.0/-1",
        ] {
            assert!(<IpNet as Text>::parse(text).is_err(), "{text}");
        }
    }
}
