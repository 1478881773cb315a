//! The layer of the config file.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read as _;
use std::path::Path;

use toml::de::DeTable;

use super::given::Given;
use super::mistake::{Place, shown};
use super::raw::{Lines, Raw};
use super::schema::{Known, Schema};
use super::section::join;

/// Adds what the file at `path` says.
pub(super) fn add(path: &Path, schema: &Schema, given: &mut Given) {
    match read_text(path) {
        Ok(text) => add_text(path, &text, schema, given),
        Err(problem) => given.blame_source(in_file(path, None), problem),
    }
}

/// Reads a small text file; the error says what is wrong with it.
pub(super) fn read_text(path: &Path) -> Result<String, String> {
    let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
    let mut bytes = Vec::new();
    // A device or a pipe may be endless.
    fs::File::open(path)
        .map_err(unreadable)?
        .take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err("is larger than 1 MiB".into());
    }
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".into())
}

/// Adds what the `text` of the file at `path` says.
pub(super) fn add_text(path: &Path, text: &str, schema: &Schema, given: &mut Given) {
    let lines = Lines::of(text);
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut broken = BTreeSet::new();
    for error in &errors {
        let line = error.span().map(|span| lines.line_of(span));
        given.blame_source(in_file(path, line), shown(error.message()));
        broken.extend(line);
    }
    let mut numbered = (1..).zip(text.lines());
    let lost = numbered.find(|(line, text)| broken.contains(line) && is_table_header(text));
    let file = File {
        path,
        lines,
        broken,
        lost_from: lost.map_or(usize::MAX, |(line, _)| line),
        schema,
    };
    file.add_table("", table.get_ref(), given);
}

/// A parsed file on its way into the layers.
struct File<'a> {
    path: &'a Path,
    lines: Lines,
    /// Lines that are no TOML: what the parser guessed of them is not judged further.
    broken: BTreeSet<usize>,
    /// The first broken table header: the keys after it may stand in another table than was meant.
    lost_from: usize,
    schema: &'a Schema,
}

impl File<'_> {
    fn add_table(&self, path: &str, table: &DeTable<'_>, given: &mut Given) {
        for (name, value) in table {
            let line = self.lines.line_of(name.span());
            if self.broken.contains(&line) || line >= self.lost_from {
                continue;
            }
            let key = join(path, name.get_ref());
            let place = in_file(self.path, Some(line));
            match (self.schema.judge(&key), value.get_ref().as_table()) {
                (Known::Option, _) => {
                    given.add(&key, place, Raw::from_toml(value.get_ref(), &self.lines));
                }
                (Known::Section, Some(section)) => self.add_table(&key, section, given),
                (Known::Section, None) => {
                    given.blame(&key, place, "is a section, so it must be a table");
                }
                (Known::Later, _) => given.blame(&key, place, Known::NOT_YET),
                (Known::Nothing { near }, _) => given.blame(&key, place, Known::nothing(near)),
            }
        }
    }
}

fn is_table_header(line: &str) -> bool {
    line.trim_start().starts_with('[')
}

fn in_file(path: &Path, line: Option<usize>) -> Place {
    Place::File {
        path: path.to_owned(),
        line,
    }
}

/// Far more than a configuration or a list of tokens needs.
const LARGEST: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::Config;
    use crate::config::load::given_by;

    /// The configuration of a file's text, or its mistakes, the file being called `f`.
    fn file(text: &str) -> Result<Config, Vec<String>> {
        given_by(|schema, given| add_text(Path::new("f"), text, schema, given))
    }

    #[test]
    fn every_mistake_is_told_with_its_line() {
        let text = r#"
[proxy]
listen = ["127.0.0.1:x", "[::1]:1",
          "here"]
shutdown_grace = 10
header_read_timeout = "0s"
idle_timeuot = "1s"
max_header_bytes = "1KiB"
host_verify = "off"
[proxy.auth]
tokens = ["sec ret"]
[prosy]
listen = []
[ca]
leaf_validity = "48d"
[sessions]
default_adapter = "postgres"
default_ttl = "2h"
max_ttl = "1h"
on_unknown = "invent"
[[routes]]
match = "x"
via = "browser"
[[clients]]
match = "x"
[adapters]
redis.url = "redis://x"
memory = true
"#;
        let wanted = [
            "f:3: proxy.listen: `127.0.0.1:x` is not an address and port such as 127.0.0.1:8080 or [::1]:8080",
            "f:4: proxy.listen: `here` is not an address and port such as 127.0.0.1:8080 or [::1]:8080",
            "f:5: proxy.shutdown_grace: must be a string (duration), not a number",
            "f:6: proxy.header_read_timeout: must be longer than nothing",
            "f:7: proxy.idle_timeuot: unknown key; did you mean `proxy.idle_timeout`?",
            "f:8: proxy.max_header_bytes: must be from 8KiB to 16MiB",
            "f:9: proxy.host_verify: is not supported by this version",
            "f:11: proxy.auth.tokens: holds a token that is empty or has other than printable ASCII without spaces",
            "f:12: prosy: unknown key; did you mean `proxy`?",
            "f:15: ca.leaf_validity: must be from 1d to 47d",
            "f:17: sessions.default_adapter: must be `memory` or `file` or `redis` or `mongodb`, not `postgres`",
            "f:18: sessions.default_ttl: is longer than sessions.max_ttl, which is 1h",
            "f:20: sessions.on_unknown: must be `create` or `reject`, not `invent`",
            "f:24: clients: is not supported by this version",
            "f:28: adapters.memory: unknown key",
        ];
        assert_eq!(file(text), Err(wanted.map(str::to_owned).to_vec()));
    }

    #[test]
    fn what_is_no_toml_is_told_beside_the_rest() {
        let mistakes =
            file("[proxy]\nlisten = \nidle_timeout = \"x\"\n[ca\ndir = \"a\"").expect_err("broken");
        let lines: Vec<&str> = mistakes
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(lines, ["f:2:", "f:3:", "f:4:"], "{mistakes:#?}");
        let twice = file("[ca]\ndir = \"a\"\ndir = \"b\"").expect_err("a key twice");
        assert_eq!(twice, ["f:3: duplicate key"]);
    }

    #[test]
    fn a_section_is_a_table_however_it_is_written() {
        let dotted = file("proxy.auth.tokens = [\"a\"]\nca = { dir = \"x\" }").expect("valid");
        assert_eq!(dotted.proxy.auth.tokens.len(), 1);
        assert_eq!(dotted.ca.dir, Path::new("x"));
        let mistakes = file("proxy = 3\nadmin.token.x = 1").expect_err("no tables");
        assert_eq!(
            mistakes,
            [
                "f:1: proxy: is a section, so it must be a table",
                "f:2: admin.token: must be a string (token), not a table",
            ]
        );
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        if cfg!(unix) {
            assert_eq!(
                read_text(Path::new("/dev/zero")),
                Err("is larger than 1 MiB".into())
            );
        }
        assert!(read_text(Path::new("/")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(
            text in "\\PC*|(\\[?\\[(proxy|ca|browser)\\]?\\]\n)?((listen|dir|\"\") = (\\PC{0,9}|[\\[{\"'1-9:.,\\]}\n]{0,12})\n){0,3}",
        ) {
            let _ = file(&text);
        }

        #[test]
        fn a_mistake_is_one_line(key in "\\PC{0,20}|[a-z\n\t]{0,5}", value in "\\PC{0,20}|[a-z\n\t]{0,5}") {
            for text in [
                format!("[proxy]\n{key:?} = {value:?}"),
                format!("[proxy]\nidle_timeout = {value:?}\nlisten = [{value:?}]"),
            ] {
                for mistake in file(&text).err().into_iter().flatten() {
                    prop_assert!(mistake.starts_with("f:"), "{}", mistake);
                    prop_assert_eq!(mistake.lines().count(), 1);
                }
            }
        }
    }
}
