//! Patterns of hosts: `*.bank.example`.

use std::fmt;

use crate::message::Host;

use super::super::mistake::shown;
use super::Text;

/// A pattern of hosts, compared label by label and whatever the case.
///
/// `*` stands for any characters of one label, so that `cdn-*.example` is every `cdn-` host, and `*` as
/// the whole first label for one label or more: `*.bank.example` has `www.bank.example` and
/// `a.b.bank.example`, not `bank.example` itself. `*` alone is every host, addresses too; otherwise an
/// address is only in the pattern that spells it. Names beyond ASCII may be written as they are read.
#[derive(Clone, PartialEq, Eq)]
pub struct HostGlob(Pattern);

#[derive(Clone, PartialEq, Eq)]
enum Pattern {
    Every,
    Exactly(Host),
    Name {
        /// Whether labels may stand before `labels`, and one at least must.
        below: bool,
        /// Lower-case, in order, each with any number of `*`.
        labels: Vec<Box<str>>,
    },
}

impl HostGlob {
    /// Whether `host` is one of those meant.
    pub fn matches(&self, host: &Host) -> bool {
        match (&self.0, host) {
            (Pattern::Every, _) => true,
            (Pattern::Exactly(wanted), host) => wanted == host,
            (Pattern::Name { below, labels }, Host::Name(name)) => {
                matches_name(*below, labels, name)
            }
            (Pattern::Name { .. }, Host::V4(_) | Host::V6(_)) => false,
        }
    }
}

impl fmt::Display for HostGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Pattern::Every => f.write_str("*"),
            Pattern::Exactly(host) => host.fmt(f),
            Pattern::Name { below, labels } => {
                let below = if *below { "*." } else { "" };
                write!(f, "{below}{}", labels.join("."))
            }
        }
    }
}

impl fmt::Debug for HostGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Text for HostGlob {
    fn kind() -> String {
        "host pattern".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        parse(text).map(Self).ok_or_else(|| {
            format!(
                "`{}` is not a host or pattern such as *.bank.example",
                shown(text)
            )
        })
    }
}

fn parse(text: &str) -> Option<Pattern> {
    let name = text.strip_suffix('.').unwrap_or(text);
    if name == "*" {
        return Some(Pattern::Every);
    }
    if name.split('.').any(str::is_empty) {
        return None;
    }
    if !text.contains('*') {
        return <Host as Text>::parse(text).ok().map(Pattern::Exactly);
    }
    let (below, name) = match name.strip_prefix("*.") {
        Some(name) => (true, name),
        None => (false, name),
    };
    let labels: Option<Vec<Box<str>>> = name.split('.').map(label).collect();
    Some(Pattern::Name {
        below,
        labels: labels?,
    })
}

/// A label as names have it: ASCII and in lower case.
fn label(text: &str) -> Option<Box<str>> {
    let label = if text.is_ascii() || text.contains('*') {
        text.to_ascii_lowercase()
    } else {
        idna::domain_to_ascii(text).ok()?
    };
    let is_one = !label.is_empty()
        && label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'*'));
    is_one.then(|| label.into())
}

fn matches_name(below: bool, labels: &[Box<str>], name: &str) -> bool {
    let count = name.split('.').count();
    let skipped = match count.checked_sub(labels.len()) {
        Some(more) if below == (more > 0) => more,
        _ => return false,
    };
    name.split('.')
        .skip(skipped)
        .zip(labels)
        .all(|(label, pattern)| matches_label(pattern.as_bytes(), label.as_bytes()))
}

/// Whether `label` is what `pattern` says: on a mismatch the last `*` takes one character more, which
/// never needs another look at the stars before it.
fn matches_label(pattern: &[u8], label: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while seen < label.len() {
        match (pattern.get(at), star) {
            (Some(b'*'), _) => {
                star = Some((at + 1, seen));
                at += 1;
            }
            (Some(byte), _) if *byte == label[seen] => {
                at += 1;
                seen += 1;
            }
            (_, Some((after, taken))) => {
                star = Some((after, taken + 1));
                at = after;
                seen = taken + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_has_the_hosts_it_means() {
        let cases: [(&str, &[&str], &[&str]); 9] = [
            ("*", &["a", "a.b.example", "10.0.0.1", "[::1]"], &[]),
            (
                "bank.example",
                &["bank.example"],
                &["www.bank.example", "xbank.example"],
            ),
            ("Bank.Example.", &["bank.example"], &[]),
            (
                "*.bank.example",
                &["www.bank.example", "a.b.bank.example"],
                &["bank.example", "xbank.example", "www.bank.example.org"],
            ),
            (
                "cdn-*.example",
                &["cdn-1.example", "cdn-.example"],
                &["cdn-1.a.example", "a.cdn-1.example", "cdn.example"],
            ),
            (
                "*x*y*.example",
                &["axbyc.example", "xy.example", "xxy.example"],
                &["yx.example"],
            ),
            (
                "www.*.example",
                &["www.a.example"],
                &["www.example", "www.a.b.example", "a.www.a.example"],
            ),
            (
                "*.bücher.example",
                &["www.xn--bcher-kva.example"],
                &["www.bucher.example"],
            ),
            ("*.0.0.1", &[], &["10.0.0.1"]),
        ];
        for (text, inside, outside) in cases {
            let glob = HostGlob::parse(text).expect(text);
            for (hosts, wanted) in [(inside, true), (outside, false)] {
                for host in hosts {
                    let parsed = Host::parse(host).expect(host);
                    assert_eq!(glob.matches(&parsed), wanted, "{text} {host}");
                }
            }
        }
    }

    #[test]
    fn an_address_is_a_pattern_of_itself() {
        for (text, host) in [
            ("10.0.0.1", "10.0.0.1"),
            ("::1", "[::1]"),
            ("[0::1]", "[::1]"),
        ] {
            let glob = HostGlob::parse(text).expect(text);
            assert!(glob.matches(&Host::parse(host).expect(host)), "{text}");
            assert!(!glob.matches(&Host::parse("10.0.0.2").expect("an address")));
        }
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in [
            "",
            ".",
            "..",
            "a..b",
            "*..example",
            "a b",
            "*.a b",
            "https://a",
            "*:443",
            "a/*",
            "*.bank.example:443",
        ] {
            assert!(HostGlob::parse(text).is_err(), "{text}");
        }
    }

    /// The obvious way, exponential and right.
    fn model(pattern: &[u8], label: &[u8]) -> bool {
        match (pattern, label) {
            ([], label) => label.is_empty(),
            ([b'*', rest @ ..], label) => {
                model(rest, label) || (!label.is_empty() && model(pattern, &label[1..]))
            }
            ([byte, rest @ ..], [first, label @ ..]) => byte == first && model(rest, label),
            (_, []) => false,
        }
    }

    proptest! {
        #[test]
        fn a_label_matches_as_in_the_model(pattern in "[ab*]{0,8}", label in "[ab]{0,8}") {
            prop_assert_eq!(
                matches_label(pattern.as_bytes(), label.as_bytes()),
                model(pattern.as_bytes(), label.as_bytes())
            );
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC*|[a*.]*", host in "\\PC*|[a.]{1,9}") {
            if let (Ok(glob), Ok(host)) = (HostGlob::parse(&text), Host::parse(&host)) {
                let _ = glob.matches(&host);
                prop_assert_eq!(HostGlob::parse(&glob.to_string()), Ok(glob));
            }
        }
    }
}
