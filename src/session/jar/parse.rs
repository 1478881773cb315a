//! A set-cookie-string taken apart (RFC 6265bis, section 5.6).

use std::time::Duration;

use super::cookie::SameSite;
use super::date::parse_cookie_date;
use crate::session::Timestamp;

/// What a `Set-Cookie` line says, before anybody asks whether the sender may say it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SetCookie<'a> {
    pub(super) name: &'a [u8],
    pub(super) value: &'a [u8],
    pub(super) expiry: Expiry,
    /// The last `Domain`, without a leading dot and in lower case.
    pub(super) domain: Option<Vec<u8>>,
    pub(super) path: PathAttribute<'a>,
    pub(super) secure: bool,
    pub(super) http_only: bool,
    pub(super) same_site: Option<SameSite>,
    pub(super) partitioned: bool,
}

/// When the line says the cookie ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// With the session: the line has neither a valid `Max-Age` nor a valid `Expires`.
    Session,
    /// At a time, at most 400 days ahead.
    At(Timestamp),
}

/// The last `Path` attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PathAttribute<'a> {
    /// There is none.
    Absent,
    /// It is empty or does not begin with `/`, and stands for the default-path.
    Default,
    /// The cookie-path.
    Given(&'a [u8]),
}

/// Takes a line apart; none where the whole of it is to be ignored.
pub(super) fn parse(line: &[u8], now: Timestamp) -> Option<SetCookie<'_>> {
    if line.iter().any(|&octet| is_control(octet)) {
        return None;
    }
    let mut parts = line.split(|&octet| octet == b';');
    let pair = parts.next()?;
    let (name, value) = split_pair(pair).unwrap_or((b"", trim(pair)));
    if (name.is_empty() && value.is_empty()) || name.len() + value.len() > MAX_NAME_VALUE {
        return None;
    }

    let mut cookie = SetCookie {
        name,
        value,
        expiry: Expiry::Session,
        domain: None,
        path: PathAttribute::Absent,
        secure: false,
        http_only: false,
        same_site: None,
        partitioned: false,
    };
    let mut expires = None;
    let mut max_age = None;
    for attribute in parts {
        let (name, value) = split_pair(attribute).unwrap_or((trim(attribute), b""));
        if value.len() > MAX_ATTRIBUTE_VALUE {
            continue;
        }
        match Attribute::of(name) {
            Some(Attribute::Expires) => expires = parse_cookie_date(value).or(expires),
            Some(Attribute::MaxAge) => max_age = parse_max_age(value, now).or(max_age),
            Some(Attribute::Domain) => {
                cookie.domain = Some(
                    value
                        .strip_prefix(b".")
                        .unwrap_or(value)
                        .to_ascii_lowercase(),
                );
            }
            Some(Attribute::Path) if value.starts_with(b"/") => {
                cookie.path = PathAttribute::Given(value);
            }
            Some(Attribute::Path) => cookie.path = PathAttribute::Default,
            Some(Attribute::Secure) => cookie.secure = true,
            Some(Attribute::HttpOnly) => cookie.http_only = true,
            Some(Attribute::SameSite) => cookie.same_site = parse_same_site(value),
            Some(Attribute::Partitioned) => cookie.partitioned = true,
            None => {}
        }
    }
    if let Some(at) = max_age.or(expires) {
        cookie.expiry = Expiry::At(at.min(now + MAX_AGE));
    }
    Some(cookie)
}

/// Octets as a cookie's name or value holds them after parsing: no control but tab, no `;`, no white space round them.
pub(super) fn is_octets(octets: &[u8]) -> bool {
    trim(octets).len() == octets.len()
        && !octets
            .iter()
            .any(|&octet| is_control(octet) || octet == b';')
}

/// The octets without spaces and tabs round them.
pub(super) fn trim(octets: &[u8]) -> &[u8] {
    let Some(first) = octets.iter().position(|&octet| !is_white_space(octet)) else {
        return b"";
    };
    let last = octets
        .iter()
        .rposition(|&octet| !is_white_space(octet))
        .unwrap_or(first);
    &octets[first..=last]
}

/// The two sides of the first `=`, trimmed; none without one.
pub(super) fn split_pair(pair: &[u8]) -> Option<(&[u8], &[u8])> {
    let equals = pair.iter().position(|&octet| octet == b'=')?;
    Some((trim(&pair[..equals]), trim(&pair[equals + 1..])))
}

enum Attribute {
    Expires,
    MaxAge,
    Domain,
    Path,
    Secure,
    HttpOnly,
    SameSite,
    Partitioned,
}

impl Attribute {
    fn of(name: &[u8]) -> Option<Self> {
        const NAMES: [(&[u8], Attribute); 8] = [
            (b"Expires", Attribute::Expires),
            (b"Max-Age", Attribute::MaxAge),
            (b"Domain", Attribute::Domain),
            (b"Path", Attribute::Path),
            (b"Secure", Attribute::Secure),
            (b"HttpOnly", Attribute::HttpOnly),
            (b"SameSite", Attribute::SameSite),
            (b"Partitioned", Attribute::Partitioned),
        ];
        let known = NAMES
            .into_iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map(|(_, attribute)| attribute)
    }
}

/// Section 5.6.2: `-` or nothing, then digits alone; zero and less mean the past.
fn parse_max_age(value: &[u8], now: Timestamp) -> Option<Timestamp> {
    let (negative, digits) = match value.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, value),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let seconds = digits.iter().fold(0u64, |sum, digit| {
        sum.saturating_mul(10)
            .saturating_add(u64::from(digit - b'0'))
    });
    if negative || seconds == 0 {
        Some(Timestamp::MIN)
    } else {
        Some(now + Duration::from_secs(seconds).min(MAX_AGE))
    }
}

/// Section 5.6.7: what is none of the three values is as good as absent.
fn parse_same_site(value: &[u8]) -> Option<SameSite> {
    [
        (&b"Strict"[..], SameSite::Strict),
        (b"Lax", SameSite::Lax),
        (b"None", SameSite::None),
    ]
    .into_iter()
    .find_map(|(known, same_site)| known.eq_ignore_ascii_case(value).then_some(same_site))
}

fn is_control(octet: u8) -> bool {
    octet.is_ascii_control() && octet != b'\t'
}

fn is_white_space(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t')
}

/// Octets of name and value together.
pub(super) const MAX_NAME_VALUE: usize = 4096;

/// Octets of an attribute's value; a longer attribute is ignored.
pub(super) const MAX_ATTRIBUTE_VALUE: usize = 1024;

/// The longest that a cookie lives from when it was set (section 5.5).
pub(super) const MAX_AGE: Duration = Duration::from_hours(400 * 24);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

    fn pair(line: &[u8]) -> Option<(&[u8], &[u8])> {
        parse(line, NOW).map(|cookie| (cookie.name, cookie.value))
    }

    #[test]
    fn name_and_value() {
        type Case = (&'static [u8], Option<(&'static [u8], &'static [u8])>);
        let cases: [Case; 16] = [
            (b"a=b", Some((b"a", b"b"))),
            (b" \t a \t = \t b \t ; x", Some((b"a", b"b"))),
            (b"a=b=c", Some((b"a", b"b=c"))),
            (b"a", Some((b"", b"a"))),
            (b"=a", Some((b"", b"a"))),
            (b"==a", Some((b"", b"=a"))),
            (b"a=", Some((b"a", b""))),
            (b"a=\"b; c\"", Some((b"a", b"\"b"))),
            (b"a=b\tc", Some((b"a", b"b\tc"))),
            (b"a=\xff", Some((b"a", b"\xff"))),
            (b"", None),
            (b"=", None),
            (b" ; Secure", None),
            (b"a=b\0", None),
            (b"a=b; x=\x1f", None),
            (b"a=\x7f", None),
        ];
        for (line, wanted) in cases {
            assert_eq!(pair(line), wanted, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn name_and_value_have_4096_octets_at_most() {
        let line = |value: usize| [&b"name="[..], &vec![b'v'; value]].concat();
        assert!(parse(&line(4092), NOW).is_some());
        assert!(parse(&line(4093), NOW).is_none());
    }

    #[test]
    fn a_long_attribute_is_ignored_alone() {
        let with = |path: usize| {
            [
                &b"a=b; Path=/x; Path=/"[..],
                &vec![b'p'; path - 1],
                b"; Secure",
            ]
            .concat()
        };
        let (fits, long) = (with(1024), with(1025));
        let (fits, long) = (parse(&fits, NOW).unwrap(), parse(&long, NOW).unwrap());
        assert!(matches!(fits.path, PathAttribute::Given(path) if path.len() == 1024));
        assert_eq!(long.path, PathAttribute::Given(b"/x"));
        assert!(long.secure);
    }

    #[test]
    fn max_age_wins_over_expires_and_invalid_ones_do_not_count() {
        let in_seconds = |seconds| Expiry::At(NOW + Duration::from_secs(seconds));
        for (attributes, wanted) in [
            ("", Expiry::Session),
            ("Max-Age=60", in_seconds(60)),
            (
                "max-age=60; Expires=Thu, 01 Jan 1970 00:00:00 GMT",
                in_seconds(60),
            ),
            ("Max-Age=60; Max-Age=120", in_seconds(120)),
            ("Max-Age=60; Max-Age=x", in_seconds(60)),
            ("Max-Age=0", Expiry::At(Timestamp::MIN)),
            ("Max-Age=-5", Expiry::At(Timestamp::MIN)),
            ("Max-Age=-", Expiry::Session),
            ("Max-Age=+5", Expiry::Session),
            ("Max-Age=5.0", Expiry::Session),
            ("Max-Age=", Expiry::Session),
            ("Max-Age=0060", in_seconds(60)),
            ("Max-Age=99999999999999999999999", in_seconds(400 * 86_400)),
            (
                "Max-Age=-99999999999999999999999",
                Expiry::At(Timestamp::MIN),
            ),
            (
                "Expires=Fri, 31 Dec 9999 23:59:59 GMT",
                in_seconds(400 * 86_400),
            ),
            ("Expires=Tue, 24 Nov 2026 10:01:00 GMT", in_seconds(60)),
            ("Expires=tomorrow", Expiry::Session),
            ("Expires=tomorrow; Max-Age=x", Expiry::Session),
            (
                "Expires=Tue, 24 Nov 2026 10:01:00 GMT; Expires=tomorrow",
                in_seconds(60),
            ),
        ] {
            let line = format!("a=b; {attributes}");
            assert_eq!(
                parse(line.as_bytes(), NOW).unwrap().expiry,
                wanted,
                "{attributes}"
            );
        }
    }

    #[test]
    fn the_last_same_site_counts_even_where_it_is_unknown() {
        for (attributes, wanted) in [
            ("SameSite=strict", Some(SameSite::Strict)),
            ("samesite = LAX", Some(SameSite::Lax)),
            ("SameSite=None", Some(SameSite::None)),
            ("SameSite=Strict; SameSite=x", None),
            ("SameSite", None),
        ] {
            let line = format!("a=b; {attributes}");
            assert_eq!(
                parse(line.as_bytes(), NOW).unwrap().same_site,
                wanted,
                "{attributes}"
            );
        }
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(line: Vec<u8>) {
            if let Some(cookie) = parse(&line, NOW) {
                prop_assert!(is_octets(cookie.name) && is_octets(cookie.value));
            }
        }

        #[test]
        fn likely_lines_never_panic(line in "[ab=; \t\"]{0,12}(; ?(Domain|Path|Expires|Max-Age|SameSite|Secure)?=?[ -~]{0,9}){0,4}") {
            if let Some(cookie) = parse(line.as_bytes(), NOW) {
                prop_assert!(is_octets(cookie.name) && is_octets(cookie.value));
            }
        }
    }
}
