//! `cookies.txt`, the format that curl, wget, yt-dlp and browser extensions share, read and written.

use crate::session::Timestamp;
use crate::session::jar::{Cookie, CookieParts, InvalidCookie, Jar, PartitionKey};

/// A line of a `cookies.txt` that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ParseError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong with it; never a cookie's value.
    pub reason: String,
}

/// Writes the cookies that have not expired, in the order of their creation.
///
/// The format has neither partitions nor `SameSite`, knows whole seconds, and cannot hold a name or path with a tab in it, of
/// which no tool sends the one and no URL has the other. Partitioned cookies are written where they go to the top-level document itself, as they do by http.
#[must_use]
pub fn print(jar: &Jar, now: Timestamp) -> Vec<u8> {
    let mut out = b"# Netscape HTTP Cookie File\n".to_vec();
    for cookie in jar
        .live(now)
        .filter(|cookie| is_first_party(cookie) && !holds_tab(cookie))
    {
        let flag = |flag| if flag { &b"TRUE"[..] } else { b"FALSE" };
        if cookie.http_only() {
            out.extend_from_slice(HTTP_ONLY);
        }
        if !cookie.host_only() {
            out.push(b'.');
        }
        // 0 means the session, so that an expiry within the first second must not become it.
        let expires = cookie
            .expires()
            .map_or(0, |expires| expires.unix_seconds().max(1))
            .to_string();
        let columns = [
            cookie.domain().as_bytes(),
            flag(!cookie.host_only()),
            cookie.path().as_bytes(),
            flag(cookie.secure()),
            expires.as_bytes(),
            cookie.name().as_bytes(),
            cookie.value().as_bytes(),
        ];
        out.extend_from_slice(&columns.join(&b'\t'));
        out.push(b'\n');
    }
    out
}

/// Reads the cookies of a file in their order, `created` and `updated` at `now`; [`Jar::put`] judges the expiry.
///
/// # Errors
/// [`ParseError`] names the first line that is none.
pub fn parse(text: &[u8], now: Timestamp) -> Result<Vec<Cookie>, ParseError> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let mut cookies = Vec::new();
    for (index, line) in text.split(|&octet| octet == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (http_only, columns) = match line.strip_prefix(HTTP_ONLY) {
            Some(columns) => (true, columns),
            None => (false, line),
        };
        let comment = !http_only && columns.starts_with(b"#");
        if comment || columns.trim_ascii().is_empty() {
            continue;
        }
        let cookie = parse_line(columns, http_only, now).map_err(|reason| ParseError {
            line: index + 1,
            reason,
        })?;
        cookies.push(cookie);
    }
    Ok(cookies)
}

fn parse_line(line: &[u8], http_only: bool, now: Timestamp) -> Result<Cookie, String> {
    let columns: Vec<&[u8]> = line.splitn(7, |&octet| octet == b'\t').collect();
    let (&[domain, subdomains, path, secure, expires, name], value) =
        columns.split_at(6.min(columns.len()))
    else {
        return Err(format!(
            "has {} columns, not 7 divided by tabs",
            columns.len()
        ));
    };
    let text = |what: &str, column| {
        std::str::from_utf8(column).map_err(|_| format!("`{what}` is not UTF-8"))
    };
    let parts = CookieParts {
        name: name.into(),
        // curl leaves the last column out where it is empty.
        value: value.first().copied().unwrap_or_default().into(),
        domain: text("domain", domain)?.to_owned(),
        host_only: !flag("include subdomains", subdomains)?,
        path: text("path", path)?.to_owned(),
        partition: None,
        expires: expiry(expires)?,
        secure: flag("secure", secure)?,
        http_only,
        same_site: None,
        created: now,
        updated: now,
    };
    Cookie::new(parts).map_err(|InvalidCookie { field, reason }| format!("`{field}` {reason}"))
}

fn flag(what: &str, column: &[u8]) -> Result<bool, String> {
    match column {
        _ if column.eq_ignore_ascii_case(b"TRUE") => Ok(true),
        _ if column.eq_ignore_ascii_case(b"FALSE") => Ok(false),
        _ => Err(format!("`{what}` is neither TRUE nor FALSE")),
    }
}

/// Seconds since the epoch; 0 and less, and nothing, mean the session, as they do to curl and to Firefox's exporters.
fn expiry(column: &[u8]) -> Result<Option<Timestamp>, String> {
    let seconds = match std::str::from_utf8(column).map(str::trim) {
        Ok("") => 0,
        Ok(text) => text
            .split('.')
            .next()
            .unwrap_or(text)
            .parse::<i64>()
            .map_err(|_| EXPIRES)?,
        Err(_) => return Err(EXPIRES.to_owned()),
    };
    Ok((seconds > 0).then(|| Timestamp::from_unix_seconds(seconds)))
}

fn holds_tab(cookie: &Cookie) -> bool {
    cookie.name().as_bytes().contains(&b'\t') || cookie.path().contains('\t')
}

fn is_first_party(cookie: &Cookie) -> bool {
    let own = || PartitionKey::new(&format!("https://{}", cookie.domain()), false);
    cookie
        .partition()
        .is_none_or(|partition| own().as_ref() == Some(partition))
}

const HTTP_ONLY: &[u8] = b"#HttpOnly_";
const EXPIRES: &str = "`expires` is not in seconds since the epoch";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::session::jar::{CookieUrl, SameSite};

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_795_514_400);

    #[test]
    fn reads_what_curl_writes() {
        let text = b"# Netscape HTTP Cookie File\r\n# comment\r\n\r\n\
            #HttpOnly_.shop.example\tTRUE\t/\tTRUE\t1795600000\tsid\t1\r\n\
            www.shop.example\tFALSE\t/a\tFALSE\t0\tempty\r\n\
            www.shop.example\tfalse\t/\tfalse\t1795600000.5\tv\ta\tb";
        let cookies = parse(text, NOW).unwrap();
        let seen: Vec<_> = cookies
            .iter()
            .map(|cookie| {
                (
                    cookie.domain(),
                    cookie.host_only(),
                    cookie.path(),
                    cookie.secure(),
                    cookie.http_only(),
                )
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("shop.example", false, "/", true, true),
                ("www.shop.example", true, "/a", false, false),
                ("www.shop.example", true, "/", false, false),
            ]
        );
        let values: Vec<_> = cookies
            .iter()
            .map(|cookie| cookie.value().as_bytes())
            .collect();
        assert_eq!(values, [&b"1"[..], b"", b"a\tb"]);
        let expires = Timestamp::from_unix_seconds(1_795_600_000);
        assert_eq!(
            cookies.iter().map(Cookie::expires).collect::<Vec<_>>(),
            [Some(expires), None, Some(expires)]
        );
    }

    #[test]
    fn errors_name_the_line_and_no_value() {
        for (line, reason) in [
            (
                "a.example\tTRUE\t/\tTRUE\tsecret",
                "has 5 columns, not 7 divided by tabs",
            ),
            (
                "a.example FALSE / FALSE 0 a secret",
                "has 1 columns, not 7 divided by tabs",
            ),
            (
                "a.example\tyes\t/\tTRUE\t0\ta\tsecret",
                "`include subdomains` is neither TRUE nor FALSE",
            ),
            (
                "a.example\tTRUE\t/\tno\t0\ta\tsecret",
                "`secure` is neither TRUE nor FALSE",
            ),
            (
                "a.example\tTRUE\t/\tTRUE\tsoon\ta\tsecret",
                "`expires` is not in seconds since the epoch",
            ),
            (
                "a b\tTRUE\t/\tTRUE\t0\ta\tsecret",
                "`domain` is not a host name or address",
            ),
            (
                ".com\tTRUE\t/\tTRUE\t0\ta\tsecret",
                "`domain` is a public suffix",
            ),
            (
                "a.example\tTRUE\tx\tTRUE\t0\ta\tsecret",
                "`path` does not begin with `/` or has a control character or `;`",
            ),
        ] {
            let text = format!("# Netscape HTTP Cookie File\n{line}\n");
            assert_eq!(
                parse(text.as_bytes(), NOW),
                Err(ParseError {
                    line: 2,
                    reason: reason.to_owned()
                }),
                "{line}"
            );
        }
    }

    #[test]
    fn writes_what_goes_by_http() {
        let url = CookieUrl {
            secure: true,
            host: "www.shop.example",
            path: "/",
        };
        let mut jar = Jar::default();
        let lines: [&[u8]; 6] = [
            b"t\tab=1",
            b"tab=1; Path=/\tx",
            b"a=1; Domain=shop.example; HttpOnly; Secure; Max-Age=60",
            b"own=2; Secure; Partitioned",
            b"gone=3; Max-Age=0",
            b"nameless",
        ];
        jar.receive(&url, lines, NOW);
        let other = PartitionKey::new("https://top.example", true);
        let parts = CookieParts {
            partition: other,
            ..jar
                .live(NOW)
                .find(|cookie| cookie.partition().is_some())
                .unwrap()
                .to_parts()
        };
        jar.put(vec![Cookie::new(parts).unwrap()], NOW);
        let wanted = "# Netscape HTTP Cookie File\n\
            #HttpOnly_.shop.example\tTRUE\t/\tTRUE\t1795514460\ta\t1\n\
            www.shop.example\tFALSE\t/\tTRUE\t0\town\t2\n\
            www.shop.example\tFALSE\t/\tFALSE\t0\t\tnameless\n";
        assert_eq!(String::from_utf8(print(&jar, NOW)).unwrap(), wanted);
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(text: Vec<u8>) {
            let _ = parse(&text, NOW);
        }

        #[test]
        fn print_then_parse_is_the_identity(
            cookies in proptest::collection::vec(
                ("[a-z]{0,2}", "[!-:<-~\u{e9}]{1,9}", any::<bool>(), "/[a-z/]{0,3}", proptest::option::of(1i64..30_000_000), any::<bool>(), any::<bool>()),
                0..6,
            ),
        ) {
            let cookies = cookies.into_iter().map(|(name, value, host_only, path, seconds, http_only, secure)| Cookie::new(CookieParts {
                name: name.into(),
                value: value.into(),
                domain: "www.shop.example".to_owned(),
                host_only,
                path,
                partition: None,
                expires: seconds.map(|seconds| Timestamp::from_unix_seconds(NOW.unix_seconds() + seconds)),
                secure,
                http_only,
                same_site: None::<SameSite>,
                created: NOW,
                updated: NOW,
            }).unwrap()).collect();
            let (mut jar, mut again) = (Jar::default(), Jar::default());
            jar.put(cookies, NOW);
            again.put(parse(&print(&jar, NOW), NOW).unwrap(), NOW);
            let ageless = |cookie: &Cookie| CookieParts { created: NOW, ..cookie.to_parts() };
            prop_assert!(again.live(NOW).map(ageless).eq(jar.live(NOW).map(ageless)));
        }
    }
}
