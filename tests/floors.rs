//! The plan of the house, kept by a test: a module uses only modules on lower floors.
//!
//! Every `crate::` path under `src/`, brace lists and `super::` chains that reach the root included, is
//! read off the source and held against the table below. A large crate without such a test grows circles.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, ground first. Modules of one floor do not use each other. Modules that later issues
/// bring (`browser`) have their place already.
const FLOORS: &[&[&str]] = &[
    &["session", "message"],
    &["config", "fault", "clock", "seal"],
    &["adapters", "upstream", "routing", "ca", "observe"],
    &["registry"],
    &["browser"],
    &["exchange"],
    &["doors", "admin"],
    &["app"],
    &["main", "cli", "fuzz"],
];

/// Uses that break the table on purpose: the user, what it uses, and why that is right.
const EXCEPTIONS: &[(&str, &str, &str)] = &[(
    "main",
    "cli",
    "main is the doorstep of cli: it calls it and exits with its code",
)];

/// Words that a module must not say, because what it decides takes its facts as arguments.
const FORBIDDEN: &[(&str, &str, &str)] = &[
    ("session", "tokio", "the session floor is pure"),
    ("session", "TcpStream", "the session floor sees no socket"),
    ("session", "SystemTime::now", "time is an argument"),
    ("session", "Instant::now", "time is an argument"),
    ("message", "tokio", "the message floor is pure"),
    ("message", "TcpStream", "the message floor sees no socket"),
    ("message", "SystemTime::now", "time is an argument"),
    ("message", "Instant::now", "time is an argument"),
    ("exchange", "TcpStream", "the exchange sees no socket"),
];

#[test]
fn modules_use_only_lower_floors() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut offenders = Vec::new();
    for file in rust_files(&src) {
        let text = fs::read_to_string(&file).expect("a source file is readable UTF-8");
        let within = file
            .strip_prefix(&src)
            .expect("the file was found under src");
        offenders.extend(offenders_in(within, &text));
    }
    let mut report = String::new();
    for offender in &offenders {
        writeln!(report, "src/{offender}").expect("writing to a string succeeds");
    }
    assert!(
        offenders.is_empty(),
        "{} uses break the floors:\n{report}",
        offenders.len()
    );
}

#[test]
fn the_test_finds_each_kind_of_offender() {
    let cases: &[(&str, &str, &[&str])] = &[
        (
            "session/jar/mod.rs",
            "use crate::upstream::Pool;",
            &["1: `session` (floor 0) uses `upstream` (floor 2)"],
        ),
        (
            "ca/leaf.rs",
            "fn f() {\n    crate::observe::count();\n}",
            &["2: `ca` (floor 2) uses `observe` (floor 2)"],
        ),
        (
            "registry/mod.rs",
            "use crate::{\n    session::{Jar, Record},\n    exchange::{self},\n    admin,\n};",
            &[
                "3: `registry` (floor 3) uses `exchange` (floor 5)",
                "4: `registry` (floor 3) uses `admin` (floor 6)",
            ],
        ),
        (
            "config/load.rs",
            "use super::super::app::run;",
            &["1: `config` (floor 1) uses `app` (floor 7)"],
        ),
        (
            "fault.rs",
            "mod tests {\n    use super::super::config;\n}",
            &["2: `fault` (floor 1) uses `config` (floor 1)"],
        ),
        (
            "doors/mod.rs",
            "use super::{admin, exchange};",
            &["1: `doors` (floor 6) uses `admin` (floor 6)"],
        ),
        (
            "app.rs",
            "use crate::cli::Arguments;",
            &["1: `app` (floor 7) uses `cli` (floor 8)"],
        ),
        (
            "app.rs",
            "use crate::shiny::New;",
            &["1: `app` uses `shiny`, which has no floor in tests/floors.rs"],
        ),
        (
            "shiny/mod.rs",
            "",
            &["1: `shiny` has no floor in tests/floors.rs"],
        ),
        (
            "session/mod.rs",
            "let t = Instant::now();",
            &["1: `session` says `Instant::now`: time is an argument"],
        ),
        (
            "session/time.rs",
            "use std::time::{Instant, SystemTime};\nlet t = SystemTime::UNIX_EPOCH;",
            &[],
        ),
        // What is right, and what only looks wrong.
        (
            "exchange/admit.rs",
            "use crate::{registry::LiveSession, session::Jar};\nuse super::inject;",
            &[],
        ),
        (
            "session/jar/mod.rs",
            "use super::Record;\nmod tests { use super::super::Record; }",
            &[],
        ),
        (
            "session/id.rs",
            "/// see [`crate::app`]\n// crate::app\n/* crate::app /* x */ crate::app */",
            &[],
        ),
        (
            "session/id.rs",
            "let s = (\"crate::app\", r#\"crate::\"app\"#, br\"crate::app\\\", '\"', 'c'); fn f<'a>(s: &'a str) {}",
            &[],
        ),
        (
            "message/host.rs",
            "pub(crate) fn f() {} pub(in crate::message) fn g() {}",
            &[],
        ),
        (
            "main.rs",
            "use burdock::{app, config};\nfn main() { burdock::cli::run() }",
            &[],
        ),
    ];
    for (file, text, wanted) in cases {
        let found = offenders_in(Path::new(file), text);
        let wanted: Vec<String> = wanted.iter().map(|rest| format!("{file}:{rest}")).collect();
        assert_eq!(found, wanted, "{file}: {text}");
    }
}

/// What breaks the floors in one file, each as `FILE:LINE: rule`.
fn offenders_in(file: &Path, text: &str) -> Vec<String> {
    let home = module_path(file);
    let Some(user) = home.first() else {
        return Vec::new(); // lib.rs is the table of contents: it names every floor.
    };
    let line = |line: usize, rule: String| format!("{}:{line}: {rule}", file.display());
    if floor(user).is_none() {
        return vec![line(1, format!("`{user}` has no floor in tests/floors.rs"))];
    }
    let tokens = tokens(text);
    let mut offenders = Vec::new();
    for (used, at) in root_uses(&tokens, &home) {
        if let Some(rule) = broken_rule(user, &used) {
            offenders.push(line(at, rule));
        }
    }
    for at in 0..tokens.len() {
        let said = FORBIDDEN
            .iter()
            .find(|(module, word, _)| module == user && begins_with(&tokens[at..], word));
        if let Some((module, word, why)) = said {
            offenders.push(line(
                tokens[at].line,
                format!("`{module}` says `{word}`: {why}"),
            ));
        }
    }
    offenders
}

/// Whether the tokens begin with a word or a path of words.
fn begins_with(tokens: &[Token], path: &str) -> bool {
    let words: Vec<&str> = path
        .split("::")
        .flat_map(|word| ["::", word])
        .skip(1)
        .collect();
    let found = tokens
        .iter()
        .take(words.len())
        .map(|token| token.text.as_str());
    found.eq(words.iter().copied())
}

/// The rule that `user` breaks by using the top-level module `used`, if any.
fn broken_rule(user: &str, used: &str) -> Option<String> {
    if user == used
        || EXCEPTIONS
            .iter()
            .any(|(from, to, _)| (*from, *to) == (user, used))
    {
        return None;
    }
    match (floor(user), floor(used)) {
        (Some(above), Some(below)) if below < above => None,
        (Some(from), Some(to)) => Some(format!(
            "`{user}` (floor {from}) uses `{used}` (floor {to})"
        )),
        _ => Some(format!(
            "`{user}` uses `{used}`, which has no floor in tests/floors.rs"
        )),
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// `session/jar/mod.rs` is `[session, jar]`, `fault.rs` is `[fault]`, `lib.rs` is the root.
fn module_path(file: &Path) -> Vec<String> {
    let mut path: Vec<String> = file
        .with_extension("")
        .iter()
        .map(|part| part.to_string_lossy().into_owned())
        .collect();
    if path
        .last()
        .is_some_and(|last| last == "mod" || last == "lib")
    {
        path.pop();
    }
    path
}

/// Every top-level module that the tokens name, with the line where they do.
fn root_uses(tokens: &[Token], home: &[String]) -> Vec<(String, usize)> {
    let mut uses = Vec::new();
    let mut depth = 0;
    let mut inner: Vec<usize> = Vec::new(); // the brace depths at which inline modules began
    for (at, token) in tokens.iter().enumerate() {
        let follows =
            |offset: usize, text: &str| tokens.get(at + offset).is_some_and(|t| t.text == text);
        let continues_a_path = at > 0 && tokens[at - 1].text == "::";
        match token.text.as_str() {
            "{" => {
                depth += 1;
                if at >= 2 && tokens[at - 2].text == "mod" {
                    inner.push(depth);
                }
            }
            "}" => {
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
                depth -= 1;
            }
            "crate" | "burdock" if follows(1, "::") && !continues_a_path => {
                first_segments(tokens, at + 2, &mut uses)
            }
            "super" if follows(1, "::") && !continues_a_path => {
                let supers = tokens[at..]
                    .chunks(2)
                    .take_while(|pair| pair[0].text == "super")
                    .count();
                if supers == home.len() + inner.len() {
                    first_segments(tokens, at + 2 * supers, &mut uses);
                }
            }
            _ => {}
        }
    }
    uses
}

/// The first segment of the path at `at`, or of each path of the brace list there.
fn first_segments(tokens: &[Token], at: usize, uses: &mut Vec<(String, usize)>) {
    let Some(first) = tokens.get(at) else { return };
    if first.text != "{" {
        uses.push((first.text.clone(), first.line));
        return;
    }
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(at) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            word if depth == 1
                && word != ","
                && matches!(tokens[at - 1].text.as_str(), "{" | ",") =>
            {
                uses.push((word.to_owned(), token.line));
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

struct Token {
    text: String,
    line: usize,
}

/// Words, `::` and single marks of Rust source; comments and the insides of literals are left out.
fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            _ if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            _ if rest.starts_with("/*") => block_comment(rest),
            'b' | 'c' | 'r' if let Some(length) = raw_string(rest) => length,
            '"' => quoted(rest),
            '\'' => character(rest),
            _ if first.is_alphanumeric() || first == '_' => rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len()),
            _ if rest.starts_with("::") => 2,
            _ => first.len_utf8(),
        };
        let (piece, after) = rest.split_at(taken);
        if piece == "::"
            || piece.chars().count() == 1 && !first.is_whitespace()
            || first.is_alphanumeric()
            || first == '_'
        {
            tokens.push(Token {
                text: piece.to_owned(),
                line,
            });
        }
        line += piece.matches('\n').count();
        rest = after;
    }
    tokens
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of the raw string that begins here, if one does.
fn raw_string(text: &str) -> Option<usize> {
    let after = text.trim_start_matches(['b', 'c']).strip_prefix('r')?;
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let body = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = text.len() - body.len();
    Some(opening + body.find(&end).map_or(body.len(), |at| at + end.len()))
}

fn quoted(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// A character literal, or the mark alone where it begins a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.char_indices().skip(1);
    match (chars.next(), chars.next()) {
        (Some((_, '\\')), Some(_)) => chars
            .find(|(_, c)| *c == '\'')
            .map_or(text.len(), |(at, _)| at + 1),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("src is a readable folder") {
        let path = entry.expect("a readable folder entry").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
