//! Where messages begin and end in an HTTP/1 client's bytes (RFC 9112), followed beside hyper, which is laxer and does not tell.
//!
//! What is looked for: lines of heads and trailers that end in LF without CR, which not every parser takes for an end, and
//! Content-Length beside Transfer-Encoding, of which hyper hides the former. Whatever else could be read in two ways hyper
//! refuses, and the connection with it, so that nothing has to be followed beyond that.

/// Follows a connection's bytes from the first one on; keeps an unfinished line and no more.
#[derive(Debug)]
pub(super) struct Framing {
    place: Place,
    /// The line under way, as far as it came with earlier bytes and up to [`LINE_KEPT`].
    line: Vec<u8>,
    /// The line under way is longer than what is kept of it.
    cut: bool,
    /// The line under way ends in a CR as far as it came.
    after_cr: bool,
    /// What the head under way says of the body.
    head: Head,
    /// Heads that are complete.
    heads: u64,
    /// The first head, counted from 1, after whose answer the connection must close.
    last: Option<u64>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// A request line, or empty ones before it (section 2.2).
    Start,
    /// A field of a head, or the empty line.
    Field,
    /// So many octets of a body.
    Data(u64),
    /// So many octets of a chunk, its CRLF included.
    Chunk(u64),
    /// A chunk's size (section 7.1).
    Size,
    /// A trailer, or the empty line (section 7.1.2).
    Trailer,
    /// What the answer decides on: another protocol after CONNECT and Upgrade, or the next request. Bytes that came before
    /// that, `early`, have not been followed.
    Asked { early: bool },
    /// Nobody's business.
    Opaque,
}

#[derive(Clone, Copy, Debug, Default)]
struct Head {
    length: Option<u64>,
    chunked: bool,
    /// The request is a CONNECT or has an Upgrade.
    switches: bool,
    /// Something of it cannot be read here, nor by hyper.
    unreadable: bool,
}

/// A bare LF, by its place in the bytes that were followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BareLf {
    /// Within a head, the empty line included.
    InHead(usize),
    /// Within a body's chunk sizes or trailers.
    InBody(usize),
}

/// Longer lines than this one that matters do not matter, or cannot be read.
const LINE_KEPT: usize = 1024;

impl Framing {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Start,
            line: Vec::new(),
            cut: false,
            after_cr: false,
            head: Head::default(),
            heads: 0,
            last: None,
        }
    }

    /// Follows the next bytes, up to the first bare LF: nothing after it is to be read by anybody.
    pub(super) fn follow(&mut self, bytes: &[u8]) -> Option<BareLf> {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match self.place {
                Place::Opaque => return None,
                Place::Asked { .. } => {
                    self.place = Place::Asked { early: true };
                    return None;
                }
                Place::Data(left) | Place::Chunk(left) => {
                    let taken =
                        usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len()));
                    at += taken;
                    let left = left - taken as u64;
                    self.place = match self.place {
                        Place::Data(_) if left == 0 => self.after_message(),
                        Place::Data(_) => Place::Data(left),
                        _ if left == 0 => Place::Size,
                        _ => Place::Chunk(left),
                    };
                }
                Place::Start | Place::Field | Place::Size | Place::Trailer => {
                    let Some(end) = memchr::memchr(b'\n', rest) else {
                        self.keep(rest);
                        return None;
                    };
                    at += end + 1;
                    let is_bare = match end.checked_sub(1) {
                        Some(before) => rest[before] != b'\r',
                        None => !self.after_cr,
                    };
                    if is_bare || !self.line(&rest[..end]) {
                        return Some(self.flaw(at - 1));
                    }
                    self.after_cr = false;
                }
            }
        }
        None
    }

    /// Whether the connection must close after the answer to head `number`, counted from 1 (section 6.1).
    pub(super) fn is_last(&self, number: u64) -> bool {
        self.last.is_some_and(|last| last <= number)
    }

    /// The answer switched protocols: from here on the bytes are not HTTP.
    pub(super) fn switched(&mut self) {
        self.place = Place::Opaque;
    }

    /// The answer was an ordinary one; what came before it without being followed cannot be made up for.
    pub(super) fn stayed(&mut self) {
        self.head.switches = false;
        if let Place::Asked { early } = self.place {
            self.place = match early {
                true => Place::Opaque,
                false => Place::Start,
            };
            if early {
                self.last.get_or_insert(self.heads);
            }
        }
    }

    fn flaw(&mut self, at: usize) -> BareLf {
        let flaw = match self.place {
            Place::Start | Place::Field => BareLf::InHead(at),
            _ => BareLf::InBody(at),
        };
        self.place = Place::Opaque;
        flaw
    }

    fn keep(&mut self, part: &[u8]) {
        let room = LINE_KEPT - self.line.len();
        self.line.extend_from_slice(&part[..part.len().min(room)]);
        self.cut |= part.len() > room;
        if let Some(last) = part.last() {
            self.after_cr = *last == b'\r';
        }
    }

    /// Takes a line without its LF; false where it is a chunk's size that cannot be read.
    fn line(&mut self, end: &[u8]) -> bool {
        if self.line.is_empty() {
            return self.whole_line(end, false);
        }
        self.keep(end);
        let mut line = std::mem::take(&mut self.line);
        let cut = std::mem::take(&mut self.cut);
        let readable = self.whole_line(&line, cut);
        line.clear();
        self.line = line;
        readable
    }

    fn whole_line(&mut self, line: &[u8], cut: bool) -> bool {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.place = match (self.place, line) {
            (Place::Start, []) => Place::Start,
            (Place::Start, line) => {
                self.head = Head {
                    switches: line.starts_with(b"CONNECT "),
                    ..Head::default()
                };
                Place::Field
            }
            (Place::Field, []) => self.after_head(),
            (Place::Field, line) => {
                self.head.field(line, cut);
                Place::Field
            }
            (Place::Trailer, []) => self.after_message(),
            (Place::Size, line) => match chunk_size(line, cut) {
                Some(0) => Place::Trailer,
                Some(size) => Place::Chunk(size),
                None => return false,
            },
            (place, _) => place,
        };
        true
    }

    fn after_head(&mut self) -> Place {
        self.heads += 1;
        let Head {
            length,
            chunked,
            unreadable,
            ..
        } = self.head;
        if unreadable || (chunked && length.is_some()) {
            self.last.get_or_insert(self.heads);
        }
        match length {
            _ if unreadable => Place::Opaque,
            _ if chunked => Place::Size,
            None | Some(0) => self.after_message(),
            Some(length) => Place::Data(length),
        }
    }

    fn after_message(&mut self) -> Place {
        match self.head.switches {
            true => Place::Asked { early: false },
            false => Place::Start,
        }
    }
}

impl Head {
    fn field(&mut self, line: &[u8], cut: bool) {
        // Most names are told apart by their first letter.
        let Some(b'c' | b'C' | b't' | b'T' | b'u' | b'U') = line.first() else {
            return;
        };
        let Some(colon) = memchr::memchr(b':', line) else {
            return;
        };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            let length = (!cut).then(|| decimal(value)).flatten();
            self.unreadable |=
                length.is_none() || self.length.is_some_and(|other| length != Some(other));
            self.length = length;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.unreadable |= cut || self.chunked || !value.eq_ignore_ascii_case(b"chunked");
            self.chunked = true;
        } else if name.eq_ignore_ascii_case(b"upgrade") {
            self.switches = true;
        }
    }
}

fn decimal(value: &[u8]) -> Option<u64> {
    let digits = value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

/// The octets of a chunk and its CRLF; 0 for the last one (section 7.1).
fn chunk_size(line: &[u8], cut: bool) -> Option<u64> {
    let digits = line.iter().position(|byte| !byte.is_ascii_hexdigit());
    let end = match digits {
        Some(end) => end,
        None if cut => return None,
        None => line.len(),
    };
    let digits = std::str::from_utf8(&line[..end]).ok()?;
    match u64::from_str_radix(digits, 16).ok()? {
        0 => Some(0),
        size => size.checked_add(2),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    const CHUNKED: &str = "POST / HTTP/1.1\r\ntransfer-encoding: Chunked\r\n\r\n";

    fn follow(text: &str) -> (Framing, Option<BareLf>) {
        let mut framing = Framing::new();
        let flaw = framing.follow(text.as_bytes());
        (framing, flaw)
    }

    #[test]
    fn a_bare_lf_is_found_in_heads_and_trailers_and_not_in_bodies() {
        let post = "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n";
        for (text, wanted) in [
            (GET.to_owned(), None),
            (format!("\r\n\r\n{GET}{GET}"), None),
            (format!("\n{GET}"), Some(BareLf::InHead(0))),
            (
                "GET / HTTP/1.1\nHost: a\r\n\r\n".into(),
                Some(BareLf::InHead(14)),
            ),
            ("GET / HTTP/1.1\r\n\n".into(), Some(BareLf::InHead(16))),
            (format!("{post}a\nb\nc{GET}"), None),
            (
                format!("{post}a\nb\ncGET / HTTP/1.1\n"),
                Some(BareLf::InHead(post.len() + 19)),
            ),
            (format!("{CHUNKED}3\r\n\n\n\n\r\n0\r\n\r\n{GET}"), None),
            (
                format!("{CHUNKED}3;a=b\r\n\n\n\n\r\n00\r\nX: 1\r\n\r\n{GET}"),
                None,
            ),
            (
                format!("{CHUNKED}0\r\nX: 1\n"),
                Some(BareLf::InBody(CHUNKED.len() + 7)),
            ),
            (
                format!("{CHUNKED}0\r\nX: 1\r\n\n"),
                Some(BareLf::InBody(CHUNKED.len() + 9)),
            ),
            (
                format!("{CHUNKED}0\r\n\r\nGET / HTTP/1.1\n"),
                Some(BareLf::InHead(CHUNKED.len() + 19)),
            ),
        ] {
            assert_eq!(follow(&text).1, wanted, "{text:?}");
        }
    }

    #[test]
    fn two_framings_are_seen_in_the_head_and_only_there() {
        let both =
            "POST / HTTP/1.1\r\nContent-Length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
        for (text, last) in [
            (both.to_owned(), Some(1)),
            (format!("{GET}{both}{GET}"), Some(2)),
            (
                "POST / HTTP/1.1\r\nContent-Length: 30\r\n\r\ntransfer-encoding: chunked\r\n\r\n"
                    .into(),
                None,
            ),
            (format!("{CHUNKED}0\r\nContent-Length: 3\r\n\r\n"), None),
            (
                format!(
                    "POST / HTTP/1.1\r\nContent-Length: {}5\r\n\r\n",
                    " ".repeat(LINE_KEPT)
                ),
                None,
            ),
        ] {
            let (framing, flaw) = follow(&text);
            assert_eq!((framing.last, flaw), (last, None), "{text:?}");
        }
    }

    #[test]
    fn what_follows_a_switch_is_not_looked_at() {
        let connect = "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n";
        let upgrade = "GET / HTTP/1.1\r\nHost: a\r\nupgrade: websocket\r\n\r\n";
        for ask in [connect, upgrade] {
            let (mut framing, _) = follow(ask);
            framing.switched();
            assert_eq!(framing.follow(b"\n\n"), None);
            let (mut framing, _) = follow(ask);
            framing.stayed();
            assert_eq!(framing.follow(b"\n"), Some(BareLf::InHead(0)));
            let (mut framing, flaw) = follow(&format!("{ask}\n"));
            framing.stayed();
            assert_eq!((flaw, framing.is_last(1)), (None, true));
        }
    }

    proptest! {
        #[test]
        fn how_the_bytes_are_cut_makes_no_difference(
            parts in prop::collection::vec(prop::sample::select(vec![
                GET, CHUNKED, "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\n", "3\r\nabc\r\n", "0\r\n", "X: 1\r\n", "\r\n", "\n", "abc",
            ]), 0..12),
            cuts in prop::collection::vec(1usize..20, 1..20),
        ) {
            let text = parts.concat();
            let (_, whole) = follow(&text);
            let mut framing = Framing::new();
            let (mut at, mut cuts) = (0, cuts.iter().cycle());
            let mut flaw = None;
            while at < text.len() && flaw.is_none() {
                let end = text.len().min(at + cuts.next().expect("endless"));
                flaw = framing.follow(&text.as_bytes()[at..end]).map(|flaw| match flaw {
                    BareLf::InHead(place) => BareLf::InHead(at + place),
                    BareLf::InBody(place) => BareLf::InBody(at + place),
                });
                at = end;
            }
            prop_assert_eq!(flaw, whole);
        }

        #[test]
        fn no_bytes_are_too_much(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            Framing::new().follow(&bytes);
        }
    }
}
