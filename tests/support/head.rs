//! The head of a message as it was on the wire: order, case and repetition kept.

/// A start line and the field lines after it; each byte is one `char` (ISO 8859-1), so none is lost.
#[derive(Clone, Debug, Default)]
pub(crate) struct Head {
    pub(crate) start: String,
    pub(crate) lines: Vec<String>,
}

impl Head {
    /// The head in `bytes`, which end with the empty line.
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        let text: String = bytes.iter().map(|byte| char::from(*byte)).collect();
        let mut lines = text
            .trim_end_matches("\r\n")
            .split("\r\n")
            .map(str::to_owned);
        let start = lines.next().unwrap_or_default();
        Self {
            start,
            lines: lines.collect(),
        }
    }

    /// The value of the first field of that name.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields(name).into_iter().next()
    }

    /// The values of all fields of that name, in their order.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let named = |line: &&String| line_name(line).eq_ignore_ascii_case(name);
        self.lines
            .iter()
            .filter(named)
            .map(|line| line[line_name(line).len() + 1..].trim())
            .collect()
    }

    /// The field names in their order and case.
    pub(crate) fn names(&self) -> Vec<&str> {
        self.lines.iter().map(|line| line_name(line)).collect()
    }

    /// The status code of a response's head.
    pub(crate) fn status(&self) -> u16 {
        let code = self
            .start
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        code.unwrap_or_else(|| panic!("not a status line: {:?}", self.start))
    }

    /// How the body of this message is delimited.
    pub(crate) fn framing(&self) -> Framing {
        if self
            .field("transfer-encoding")
            .is_some_and(|coding| coding.contains("chunked"))
        {
            return Framing::Chunked;
        }
        match self.field("content-length") {
            Some(length) => Framing::Length(length.parse().expect("a length in digits")),
            None => Framing::None,
        }
    }
}

/// RFC 9112, section 6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
    None,
}

/// The name of a line; a pseudo field's leading colon belongs to it.
fn line_name(line: &str) -> &str {
    let end = line
        .char_indices()
        .skip(1)
        .find(|(_, symbol)| *symbol == ':');
    &line[..end.map_or(line.len() - 1, |(at, _)| at)]
}
