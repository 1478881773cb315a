//! HTTP/2 frame by frame (RFC 9113), for what no library would send.

use super::Raw;

/// The client's connection preface (section 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Frame types (section 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes (section 7).
pub(crate) mod code {
    pub(crate) const NO_ERROR: u32 = 0;
    pub(crate) const REFUSED_STREAM: u32 = 7;
    pub(crate) const CANCEL: u32 = 8;
    pub(crate) const HTTP_1_1_REQUIRED: u32 = 13;
}

/// Settings (section 6.5.2).
pub(crate) mod setting {
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const ENABLE_CONNECT_PROTOCOL: u16 = 8;
}

/// `:status: 200` out of HPACK's static table.
pub(crate) const STATUS_200: &[u8] = &[0x88];

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// Whether it ends its stream.
    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, kind::DATA | kind::HEADERS) && self.flags & END_STREAM != 0
    }

    /// The error code of a `RST_STREAM`.
    pub(crate) fn reset_code(&self) -> Option<u32> {
        let code = (self.kind == kind::RST_STREAM).then_some(&self.payload)?;
        Some(u32::from_be_bytes(
            code.as_slice().try_into().expect("four octets"),
        ))
    }

    /// The settings in a `SETTINGS` frame.
    pub(crate) fn settings(&self) -> Vec<(u16, u32)> {
        let entries = self.payload.chunks_exact(6);
        entries
            .map(|entry| {
                let value = entry[2..].try_into().expect("four octets");
                (
                    u16::from_be_bytes([entry[0], entry[1]]),
                    u32::from_be_bytes(value),
                )
            })
            .collect()
    }
}

/// A connection that frames are sent on; nothing is answered but by the test.
pub(crate) struct Frames(Raw);

impl Frames {
    /// The client's end: sends preface and settings.
    pub(crate) async fn client(mut wire: Raw, settings: &[(u16, u32)]) -> Self {
        wire.send(PREFACE).await;
        let mut this = Self(wire);
        this.settings(settings).await;
        this
    }

    /// The server's end: reads the client's preface, sends settings and acknowledges the client's.
    pub(crate) async fn server(mut wire: Raw, settings: &[(u16, u32)]) -> Self {
        assert_eq!(wire.take(PREFACE.len()).await, PREFACE);
        let mut this = Self(wire);
        this.settings(settings).await;
        this.send(kind::SETTINGS, ACK, 0, &[]).await;
        this
    }

    /// Sends a frame.
    pub(crate) async fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.0.send(frame(kind, flags, stream, payload)).await;
    }

    /// Sends a frame, or says that the other side has gone.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.0.try_send(bytes).await
    }

    /// Sends a `GET` that ends its stream.
    pub(crate) async fn get(&mut self, stream: u32, url: &str) {
        let fields = request_fields("GET", url);
        self.send(kind::HEADERS, END_HEADERS | END_STREAM, stream, &fields)
            .await;
    }

    /// Answers 200 with a body.
    pub(crate) async fn ok(&mut self, stream: u32, body: &[u8]) {
        self.send(kind::HEADERS, END_HEADERS, stream, STATUS_200)
            .await;
        self.send(kind::DATA, END_STREAM, stream, body).await;
    }

    /// Ends a stream with an error code.
    pub(crate) async fn reset(&mut self, stream: u32, code: u32) {
        self.send(kind::RST_STREAM, 0, stream, &code.to_be_bytes())
            .await;
    }

    /// Lets the other side send `octets` more; stream 0 is the connection.
    pub(crate) async fn credit(&mut self, stream: u32, octets: u32) {
        self.send(kind::WINDOW_UPDATE, 0, stream, &octets.to_be_bytes())
            .await;
    }

    /// Says that no stream after `last` was or will be looked at.
    pub(crate) async fn go_away(&mut self, last: u32, code: u32) {
        let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
        self.send(kind::GOAWAY, 0, 0, &payload).await;
    }

    /// The next frame, or nothing at the end of the connection; waits as long as it takes.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        let head = self.0.take_whenever(9).await?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let stream = u32::from_be_bytes(head[5..9].try_into().expect("four octets"));
        Some(Frame {
            kind: head[3],
            flags: head[4],
            stream: stream & (u32::MAX >> 1),
            payload: self.0.take_whenever(length).await?,
        })
    }

    /// The next frame of that kind; others are passed over.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind {
                return Some(frame);
            }
        }
    }

    async fn settings(&mut self, settings: &[(u16, u32)]) {
        let entry = |(name, value): &(u16, u32)| {
            [name.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
        };
        let payload: Vec<u8> = settings.iter().flat_map(entry).collect();
        self.send(kind::SETTINGS, 0, 0, &payload).await;
    }
}

/// A frame's bytes (section 4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len())
        .expect("a frame's length")
        .to_be_bytes();
    let head = [length[1], length[2], length[3], kind, flags];
    [head.as_slice(), &stream.to_be_bytes(), payload].concat()
}

/// The field section of a request without a body.
pub(crate) fn request_fields(method: &str, url: &str) -> Vec<u8> {
    let (scheme, rest) = url.split_once("://").expect("an absolute URL");
    let at = rest.find('/').expect("a path");
    fields(&[
        (":method", method),
        (":scheme", scheme),
        (":authority", &rest[..at]),
        (":path", &rest[at..]),
    ])
}

/// Fields as HPACK literals that nobody needs to remember (RFC 7541, section 6.2.2).
pub(crate) fn fields(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name, value] {
            let length = u8::try_from(text.len()).ok().filter(|length| *length < 127);
            block.push(length.expect("a length in one octet"));
            block.extend_from_slice(text.as_bytes());
        }
    }
    block
}
