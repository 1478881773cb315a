//! Malformed messages as plain data: tables in text files, each row a message.
//!
//! ```text
//! # a comment
//! [table] verdict | place place        what its rows deserve, and where they are sent
//! > what is sent, \R standing for the row
//! name: row
//! name %00-1f,7f: row, once for each of these octets, \% standing for it
//! ```
//! `\r \n \t \0 \\ \xHH` are octets, `\{N*text}` is text N times. `\P` is the path of the row's own request, `\T` its
//! target where it is sent, `\S` the target of a request that must not be taken for another.

/// Rows of one kind, and what they deserve.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: String,
    pub(super) verdict: String,
    pub(super) places: Vec<String>,
    template: String,
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: String,
    text: String,
    octet: Option<u8>,
}

/// What `\P`, `\T` and `\S` stand for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Targets<'a> {
    pub(super) path: &'a str,
    pub(super) own: &'a str,
    pub(super) smuggled: &'a str,
}

/// The tables of a corpus file.
pub(super) fn tables(text: &str) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    for line in text.lines() {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(heading) = line.strip_prefix('[') {
            let (name, rest) = heading.split_once("] ").expect("[name] verdict");
            let (verdict, places) = rest.split_once(" |").unwrap_or((rest, ""));
            tables.push(Table {
                name: name.to_owned(),
                verdict: verdict.to_owned(),
                places: places.split_whitespace().map(str::to_owned).collect(),
                template: String::new(),
                rows: Vec::new(),
            });
            continue;
        }
        let table = tables.last_mut().expect("a table begins with its heading");
        if let Some(more) = line.strip_prefix("> ") {
            table.template.push_str(more);
            continue;
        }
        let (name, row) = line
            .split_once(':')
            .unwrap_or_else(|| panic!("`name: row`, not {line}"));
        let row = row.strip_prefix(' ').unwrap_or(row);
        let (name, octets) = match name.split_once(" %") {
            Some((name, ranges)) => (name, ranges.split(',').flat_map(octets).map(Some).collect()),
            None => (name, vec![None]),
        };
        table.rows.extend(octets.into_iter().map(|octet| Row {
            name: octet.map_or(name.to_owned(), |octet| format!("{name}-{octet:02x}")),
            text: row.to_owned(),
            octet,
        }));
    }
    for table in &tables {
        let mut names: Vec<_> = table.names().collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(
            names.len(),
            table.rows.len(),
            "a name twice in {}",
            table.name
        );
    }
    tables
}

impl Table {
    /// The names of its rows.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.iter().map(|row| row.name.as_str())
    }

    /// The octets of row `at`.
    pub(super) fn bytes(&self, at: usize, targets: Targets<'_>) -> Vec<u8> {
        let row = &self.rows[at];
        let inner = render(&row.text, targets, row.octet, &[]);
        match self.template.as_str() {
            "" => inner,
            template => render(template, targets, row.octet, &inner),
        }
    }
}

/// `41` or `00-1f`.
fn octets(range: &str) -> std::ops::RangeInclusive<u8> {
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let octet = |digits| u8::from_str_radix(digits, 16).expect("two hexadecimal digits");
    octet(first)..=octet(last)
}

fn render(text: &str, targets: Targets<'_>, octet: Option<u8>, row: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(symbol) = rest.chars().next() {
        rest = &rest[symbol.len_utf8()..];
        if symbol != '\\' {
            out.extend_from_slice(symbol.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let escape = rest.chars().next().expect("something after a backslash");
        rest = &rest[escape.len_utf8()..];
        match escape {
            'r' => out.push(b'\r'),
            'n' => out.push(b'\n'),
            't' => out.push(b'\t'),
            '0' => out.push(0),
            '\\' => out.push(b'\\'),
            'x' => {
                out.push(u8::from_str_radix(&rest[..2], 16).expect("two hexadecimal digits"));
                rest = &rest[2..];
            }
            '%' => out.push(octet.expect("a row with octets")),
            'P' => out.extend_from_slice(targets.path.as_bytes()),
            'T' => out.extend_from_slice(targets.own.as_bytes()),
            'S' => out.extend_from_slice(targets.smuggled.as_bytes()),
            'R' => out.extend_from_slice(row),
            '{' => {
                let (inner, after) = rest.split_at(closing(rest));
                let (count, inner) = inner.split_once('*').expect("a count");
                let inner = render(inner, targets, octet, row);
                out.extend(inner.repeat(count.parse().expect("a count in digits")));
                rest = &after[1..];
            }
            other => panic!("no such escape: {other}"),
        }
    }
    out
}

/// Where the brace is that closes one before `text`.
fn closing(text: &str) -> usize {
    let mut depth = 1;
    let mut before = ' ';
    for (at, symbol) in text.char_indices() {
        match symbol {
            '{' if before == '\\' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
        before = symbol;
    }
    panic!("no closing brace in {text}")
}

#[test]
fn tables_are_read() {
    let text = "# why\n[kind] 400 | proxy tls\n> A\\R\n> \\T\\x21\none: \\{2*b\\{1*\\n}}\nmany %0a-0b,7f: \\%:\n";
    let [table] = tables(text).try_into().expect("one table");
    let targets = Targets {
        own: "/own",
        ..Targets::default()
    };
    let rows: Vec<_> = table
        .names()
        .zip(0..)
        .map(|(name, at)| (name.to_owned(), table.bytes(at, targets)))
        .collect();
    let wanted: [(&str, &[u8]); 4] = [
        ("one", b"Ab\nb\n/own!"),
        ("many-0a", b"A\n:/own!"),
        ("many-0b", b"A\x0b:/own!"),
        ("many-7f", b"A\x7f:/own!"),
    ];
    assert_eq!(
        rows,
        wanted.map(|(name, bytes)| (name.to_owned(), bytes.to_vec()))
    );
    assert_eq!(
        (table.verdict.as_str(), table.places),
        ("400", vec!["proxy".to_owned(), "tls".to_owned()])
    );
}
