//! Which protocol a connection speaks, from its first bytes.
//!
//! A TLS record of a ClientHello begins with 22, 3 (RFC 8446, section 5.1). HTTP/2 begins with its preface
//! (RFC 9113, section 3.4). HTTP/1 begins with a request line (RFC 9112, section 3): a method that everybody
//! knows and a target will do, any other token needs the whole line, ending in the version, since other protocols
//! greet with words too (`SSH-2.0-OpenSSH_9.2 Debian`). Everything else is nobody's business.

/// What the first bytes are the beginning of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// A TLS ClientHello.
    Tls,
    /// An HTTP/1 request.
    Http1,
    /// The HTTP/2 preface.
    Http2,
    /// Something else.
    Opaque,
    /// Too little to tell.
    NeedMore,
}

/// Decides on as many bytes as have arrived.
pub(super) fn detect(prefix: &[u8]) -> Detected {
    match prefix {
        [] | [22] => Detected::NeedMore,
        [22, 3, ..] => Detected::Tls,
        _ if prefix.starts_with(PREFACE) => Detected::Http2,
        _ if PREFACE.starts_with(prefix) => Detected::NeedMore,
        _ => request_line(prefix),
    }
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const METHODS: [&[u8]; 8] = [
    b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"TRACE",
];

/// A longer word is no method, whether its end has arrived or not.
const LONGEST_METHOD: usize = 64;

/// A request line that is longer is one, whatever its end: the parser will refuse it by its size.
const LONG_LINE: usize = 16 * 1024;

fn request_line(prefix: &[u8]) -> Detected {
    let end = prefix.iter().position(|byte| *byte == b'\n');
    let line = &prefix[..end.unwrap_or(prefix.len())];
    let Some(space) = line.iter().position(|byte| *byte == b' ') else {
        let may_be_method =
            !line.is_empty() && line.len() <= LONGEST_METHOD && line.iter().all(is_token);
        return match may_be_method && end.is_none() {
            true => Detected::NeedMore,
            false => Detected::Opaque,
        };
    };
    let (method, target) = (&line[..space], &line[space + 1..]);
    if !(1..=LONGEST_METHOD).contains(&method.len()) || !method.iter().all(is_token) {
        return Detected::Opaque;
    }
    // A client of another proxy behind this tunnel: what follows is between those two.
    if method == b"CONNECT" {
        return Detected::Opaque;
    }
    if METHODS.contains(&method) {
        return match target.first() {
            None if end.is_none() => Detected::NeedMore,
            _ => Detected::Http1,
        };
    }
    match end {
        Some(_) if names_version(line) => Detected::Http1,
        Some(_) => Detected::Opaque,
        None if line.len() > LONG_LINE => Detected::Http1,
        None => Detected::NeedMore,
    }
}

fn names_version(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    line.len() > 9 && line[..line.len() - 1].ends_with(b" HTTP/1.")
}

/// RFC 9110, section 5.6.2.
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_bytes_tell_the_protocol() {
        let cases: [(&[u8], Detected); 22] = [
            (b"", Detected::NeedMore),
            (b"\x16", Detected::NeedMore),
            (b"\x16\x03", Detected::Tls),
            (b"\x16\x04", Detected::Opaque),
            (b"G", Detected::NeedMore),
            (b"GET", Detected::NeedMore),
            (b"GET ", Detected::NeedMore),
            (b"GET /", Detected::Http1),
            (b"GET http://a/ HTTP/1.1\r\n", Detected::Http1),
            (b"CONNECT a:443 HTTP/1.1\r\n", Detected::Opaque),
            (b"P", Detected::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM", Detected::NeedMore),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Detected::Http2),
            (b"PING\r\n", Detected::Opaque),
            (b"SSH-2.0-OpenSSH_9.2 Debian", Detected::NeedMore),
            (b"SSH-2.0-OpenSSH_9.2 Debian\r\n", Detected::Opaque),
            (b"PROPFIND /dav HTTP/1.1\r\n", Detected::Http1),
            (b"PROPFIND /dav HTTP/1.1", Detected::NeedMore),
            (b"EHLO client.example\r\n", Detected::Opaque),
            (b"*1\r\n$4\r\nPING\r\n", Detected::Opaque),
            (b"\0\0\0\x2a", Detected::Opaque),
            (b"\r\nGET / HTTP/1.1\r\n", Detected::Opaque),
        ];
        for (prefix, wanted) in cases {
            assert_eq!(
                detect(prefix),
                wanted,
                "{:?}",
                String::from_utf8_lossy(prefix)
            );
        }
    }

    #[test]
    fn a_word_too_long_for_a_method_is_none_wherever_it_was_cut() {
        let line = |method: usize| [&vec![b'M'; method], &b" /"[..]].concat();
        for (method, wanted) in [(64, Detected::NeedMore), (65, Detected::Opaque)] {
            assert_eq!(detect(&line(method)), wanted);
            assert_eq!(detect(&line(method)[..method]), wanted);
        }
    }

    proptest! {
        #[test]
        fn more_bytes_never_change_a_decision(bytes in prop::collection::vec(any::<u8>(), 0..80), cut in 0usize..80) {
            let cut = cut.min(bytes.len());
            let early = detect(&bytes[..cut]);
            if early != Detected::NeedMore {
                prop_assert_eq!(detect(&bytes), early);
            }
        }
    }
}
