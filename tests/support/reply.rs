//! What a scripted origin answers.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// A response, and what becomes of the connection after it.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) fields: Vec<(String, String)>,
    pub(crate) body: Body,
    pub(crate) then: Then,
    pub(crate) gate: Option<Gate>,
}

/// The bytes after the head.
#[derive(Clone)]
pub(crate) enum Body {
    Bytes(Vec<u8>),
    /// One byte so many times, streamed.
    Fill(u8, u64),
    /// The whole response, head included (HTTP/1.1 only).
    Wire(Vec<u8>),
}

/// What the origin does after its response.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    KeepAlive,
    Close,
    /// Sends back whatever comes, as after an upgrade.
    Echo,
}

impl Reply {
    /// 200 with a text.
    pub(crate) fn text(body: impl Into<String>) -> Self {
        Self::bytes(body.into().into_bytes()).field("Content-Type", "text/plain")
    }

    /// 200 with bytes.
    pub(crate) fn bytes(body: Vec<u8>) -> Self {
        Self {
            status: 200,
            fields: Vec::new(),
            body: Body::Bytes(body),
            then: Then::KeepAlive,
            gate: None,
        }
    }

    /// 200 with so many zeros.
    pub(crate) fn zeros(length: u64) -> Self {
        Self::bytes(Vec::new()).filled(0, length)
    }

    /// Has `byte` so many times as its body, streamed.
    #[must_use]
    pub(crate) fn filled(self, byte: u8, length: u64) -> Self {
        Self {
            body: Body::Fill(byte, length),
            ..self
        }
    }

    /// An empty body with that status.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            ..Self::bytes(Vec::new())
        }
    }

    /// 302 to `location`.
    pub(crate) fn redirect(location: &str) -> Self {
        Self::status(302).field("Location", location)
    }

    /// These bytes, head and all.
    pub(crate) fn wire(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Body::Wire(bytes.into()),
            ..Self::bytes(Vec::new())
        }
    }

    /// Closes without a response.
    pub(crate) fn hang_up() -> Self {
        Self::wire("").closing()
    }

    /// Adds a field.
    #[must_use]
    pub(crate) fn field(mut self, name: &str, value: &str) -> Self {
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a `Set-Cookie`.
    #[must_use]
    pub(crate) fn cookie(self, cookie: &str) -> Self {
        self.field("Set-Cookie", cookie)
    }

    /// Closes the connection after it, without having said so.
    #[must_use]
    pub(crate) fn closing(self) -> Self {
        Self {
            then: Then::Close,
            ..self
        }
    }

    /// Echoes after it.
    #[must_use]
    pub(crate) fn then_echo(self) -> Self {
        Self {
            then: Then::Echo,
            ..self
        }
    }

    /// Holds the response back until `gate` opens.
    #[must_use]
    pub(crate) fn after(self, gate: &Gate) -> Self {
        Self {
            gate: Some(gate.clone()),
            ..self
        }
    }

    /// The bytes of the head on HTTP/1.1.
    pub(crate) fn head_bytes(&self) -> Vec<u8> {
        let length = match &self.body {
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::Fill(_, length) => *length,
            Body::Wire(_) => return Vec::new(),
        };
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !matches!(self.status, 100..=199 | 204 | 304) {
            head.push_str(&format!("Content-Length: {length}\r\n"));
        }
        head.push_str("\r\n");
        head.chars().map(|symbol| symbol as u8).collect()
    }
}

/// Holds responses back until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<Semaphore>);

impl Gate {
    /// A closed one.
    pub(crate) fn closed() -> Self {
        Self(Arc::new(Semaphore::new(0)))
    }

    /// Lets `count` more responses go.
    pub(crate) fn let_pass(&self, count: usize) {
        self.0.add_permits(count);
    }

    /// Waits to be let through.
    pub(crate) async fn pass(&self) {
        self.0
            .acquire()
            .await
            .expect("the gate is never removed")
            .forget();
    }
}
