//! Which host and path a cookie belongs to: canonical hosts, registrable domains, domain-match and path-match.

use std::borrow::Cow;
use std::net::Ipv4Addr;

/// What a domain is to the public suffix list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DomainKind {
    /// An IPv4 or bracketed IPv6 address.
    Address,
    /// A name without a dot, such as `localhost`, that no rule of the list mentions.
    SingleLabel,
    /// A public suffix of either section of the list, or one by the list's default rule.
    PublicSuffix,
    /// Below a public suffix.
    Ordinary,
}

/// The site of a canonical host: its registrable domain, or the host itself where it has none.
pub(super) fn site(host: &str) -> &str {
    if is_address(host) {
        host
    } else {
        psl::domain_str(host).unwrap_or(host)
    }
}

/// Judges a canonical host or domain.
pub(super) fn domain_kind(domain: &str) -> DomainKind {
    if is_address(domain) {
        return DomainKind::Address;
    }
    match psl::suffix(domain.as_bytes()) {
        Some(suffix) if suffix.as_bytes().len() < domain.len() => DomainKind::Ordinary,
        Some(suffix) if !suffix.is_known() && !domain.contains('.') => DomainKind::SingleLabel,
        _ => DomainKind::PublicSuffix,
    }
}

/// Whether the canonical `host` domain-matches the canonical `domain` (RFC 6265bis, section 5.1.3).
pub(super) fn domain_match(host: &str, domain: &str) -> bool {
    match host.strip_suffix(domain) {
        Some("") => true,
        Some(rest) => rest.ends_with('.') && !domain.is_empty() && !is_address(host),
        None => false,
    }
}

/// Whether the request-path path-matches the cookie-path (RFC 6265bis, section 5.1.4).
pub(super) fn path_match(request_path: &str, cookie_path: &str) -> bool {
    match request_path.strip_prefix(cookie_path) {
        Some(rest) => rest.is_empty() || cookie_path.ends_with('/') || rest.starts_with('/'),
        None => false,
    }
}

/// The default-path of a request's path (RFC 6265bis, section 5.1.4).
pub(super) fn default_path(request_path: &str) -> &str {
    match request_path.rfind('/') {
        Some(last) if last > 0 && request_path.starts_with('/') => &request_path[..last],
        _ => "/",
    }
}

/// A host as a person may write it (leading dot, capitals, U-labels, final dot) in canonical form; none if it is no host.
pub(super) fn canonical_host(host: &str) -> Option<String> {
    let host = host.strip_prefix('.').unwrap_or(host);
    let host = host.strip_suffix('.').unwrap_or(host);
    if let Some(literal) = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        let address: std::net::Ipv6Addr = literal.parse().ok()?;
        return Some(format!("[{address}]"));
    }
    to_a_labels(host).map(Cow::into_owned)
}

/// A name in lower case with its U-labels as A-labels; none if it is no name or has an empty label.
pub(super) fn to_a_labels(name: &str) -> Option<Cow<'_, str>> {
    let ascii = idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::URL).ok()?;
    let labels_fit = ascii.len() <= 253
        && ascii
            .split('.')
            .all(|label| (1..=63).contains(&label.len()));
    labels_fit.then_some(ascii)
}

/// Whether a canonical host is an IP address.
pub(super) fn is_address(host: &str) -> bool {
    host.starts_with('[')
        || (host.ends_with(|last: char| last.is_ascii_digit()) && host.parse::<Ipv4Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_is_the_registrable_domain() {
        for (host, wanted) in [
            ("www.shop.example", "shop.example"),
            ("shop.example", "shop.example"),
            ("example", "example"),
            ("a.b.shop.co.uk", "shop.co.uk"),
            ("co.uk", "co.uk"),
            ("a.github.io", "a.github.io"),
            ("b.a.github.io", "a.github.io"),
            ("github.io", "github.io"),
            ("a.app.localhost", "app.localhost"),
            ("localhost", "localhost"),
            ("127.0.0.1", "127.0.0.1"),
            ("[::1]", "[::1]"),
            ("www.ck", "www.ck"),
            ("a.b.c.ck", "b.c.ck"),
        ] {
            assert_eq!(site(host), wanted, "{host}");
        }
    }

    #[test]
    fn domains_are_judged_by_the_whole_list() {
        for (domain, wanted) in [
            ("com", DomainKind::PublicSuffix),
            ("co.uk", DomainKind::PublicSuffix),
            ("github.io", DomainKind::PublicSuffix),
            ("anything.ck", DomainKind::PublicSuffix),
            ("www.ck", DomainKind::Ordinary),
            ("shop.example", DomainKind::Ordinary),
            ("localhost", DomainKind::SingleLabel),
            ("127.0.0.1", DomainKind::Address),
            ("[::1]", DomainKind::Address),
        ] {
            assert_eq!(domain_kind(domain), wanted, "{domain}");
        }
    }

    #[test]
    fn domain_match_is_by_whole_labels() {
        for (host, domain, wanted) in [
            ("a.example", "a.example", true),
            ("b.a.example", "a.example", true),
            ("ba.example", "a.example", false),
            ("a.example", "b.a.example", false),
            ("1.2.3.4", "3.4", false),
            ("1.2.3.4", "1.2.3.4", true),
            ("a.example", "", false),
        ] {
            assert_eq!(domain_match(host, domain), wanted, "{host} {domain}");
        }
    }

    #[test]
    fn path_match_is_by_whole_segments() {
        for (request, cookie, wanted) in [
            ("/", "/", true),
            ("/a", "/", true),
            ("/a", "/a", true),
            ("/a/", "/a", true),
            ("/a/b", "/a", true),
            ("/a/b", "/a/", true),
            ("/ab", "/a", false),
            ("/a", "/a/", false),
            ("/A", "/a", false),
            ("//", "/", true),
        ] {
            assert_eq!(path_match(request, cookie), wanted, "{request} {cookie}");
        }
    }

    #[test]
    fn default_path_ends_before_the_last_slash() {
        for (request, wanted) in [
            ("", "/"),
            ("/", "/"),
            ("/a", "/"),
            ("/a/", "/a"),
            ("/a/b", "/a"),
            ("a/b", "/"),
            ("*", "/"),
            ("//", "/"),
        ] {
            assert_eq!(default_path(request), wanted, "{request}");
        }
    }

    #[test]
    fn hosts_become_canonical_or_nothing() {
        for (host, wanted) in [
            ("Shop.Example", Some("shop.example")),
            (".shop.example", Some("shop.example")),
            ("shop.example.", Some("shop.example")),
            ("BÜCHER.example", Some("xn--bcher-kva.example")),
            ("[0:0::1]", Some("[::1]")),
            ("my_host.example", Some("my_host.example")),
            ("", None),
            (".", None),
            ("a..b", None),
            ("a b", None),
            ("a/b", None),
            ("[zz]", None),
            ("::1", None),
        ] {
            assert_eq!(canonical_host(host).as_deref(), wanted, "{host}");
        }
    }
}
