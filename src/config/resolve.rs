//! The files that a configuration names: read on loading, so that it holds their content.

use std::fs::File;
use std::path::Path;

use super::Config;
use super::file::read_text;
use super::given::Given;
use super::mistake::shown;
use super::value::{Text, Token};

/// Puts the tokens of token files where the tokens are, and makes sure that other files exist.
pub(super) fn read_files(config: &mut Config, given: &mut Given) {
    if let Some(path) = &config.proxy.auth.tokens_file {
        match read_tokens(path) {
            Ok(tokens) => config.proxy.auth.tokens.extend(tokens),
            Err(problem) => given.blame_value("proxy.auth.tokens_file", problem),
        }
    }
    if let Some(path) = &config.admin.token_file {
        match read_token(path) {
            Ok(_) if config.admin.token.is_some() => {
                given.blame_value(
                    "admin.token_file",
                    "is set beside admin.token: one of them is enough",
                );
            }
            Ok(token) => config.admin.token = Some(token),
            Err(problem) => given.blame_value("admin.token_file", problem),
        }
    }
    for path in &config.tls.upstream_ca_files {
        if let Err(error) = File::open(path) {
            let path = shown(&path.to_string_lossy());
            given.blame_value(
                "tls.upstream_ca_files",
                format!("`{path}` cannot be read: {error}"),
            );
        }
    }
}

/// One token a line; empty lines do not count.
fn read_tokens(path: &Path) -> Result<Vec<Token>, String> {
    let name = shown(&path.to_string_lossy());
    let text = read_text(path).map_err(|problem| format!("`{name}` {problem}"))?;
    let mut tokens = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let line = line.trim();
        if !line.is_empty() {
            let token = Token::parse(line);
            tokens.push(token.map_err(|problem| format!("`{name}`, line {}: {problem}", at + 1))?);
        }
    }
    // Taking it for "no token needed" would open the proxy to everybody.
    if tokens.is_empty() {
        return Err(format!("`{name}` holds no token"));
    }
    Ok(tokens)
}

fn read_token(path: &Path) -> Result<Token, String> {
    let mut tokens = read_tokens(path)?;
    match (tokens.pop(), tokens.is_empty()) {
        (Some(token), true) => Ok(token),
        _ => Err(format!(
            "`{}` holds more than one token",
            shown(&path.to_string_lossy())
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Flag, Sources, load};

    /// What loading with these options says; each is named like a flag.
    fn load_with(options: &[(&'static str, &Path)]) -> Result<Config, String> {
        let flag = |(key, path): &(&'static str, &Path)| Flag {
            name: key,
            key,
            values: vec![path.to_string_lossy().into_owned()],
        };
        let sources = Sources {
            flags: options.iter().map(flag).collect(),
            ..Sources::default()
        };
        load(&sources).map_err(|mistakes| mistakes.to_string())
    }

    /// A folder with a file of that content, gone with the value.
    struct Folder(std::path::PathBuf);

    impl Folder {
        fn with(name: &str, content: impl AsRef<[u8]>) -> (Self, std::path::PathBuf) {
            let folder =
                std::env::temp_dir().join(format!("burdock-{}-{name}", std::process::id()));
            std::fs::create_dir_all(&folder).expect("the temporary folder is writable");
            let file = folder.join("file");
            std::fs::write(&file, content).expect("the temporary folder is writable");
            (Self(folder), file)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            // Left behind at worst; nothing depends on it.
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn tokens_of_a_file_join_the_others() {
        let (_folder, file) = Folder::with("tokens", "one\r\n\n  two  \n");
        let options = [
            ("proxy.auth.tokens_file", file.as_path()),
            ("proxy.auth.tokens", Path::new("three")),
            ("proxy.listen", Path::new("0.0.0.0:0")),
        ];
        let auth = load_with(&options).expect("valid").proxy.auth;
        assert!(
            ["one", "two", "three"]
                .iter()
                .all(|token| auth.accepts(token.as_bytes()))
        );
        assert!(!auth.accepts(b""));
    }

    #[test]
    fn a_token_file_gives_the_token() {
        let (_folder, file) = Folder::with("token", "one\n");
        let options = [
            ("admin.token_file", file.as_path()),
            ("admin.listen", Path::new("[::]:0")),
        ];
        let token = load_with(&options).expect("valid").admin.token;
        assert!(token.expect("read").matches(b"one"));
        let both = [
            ("admin.token_file", file.as_path()),
            ("admin.token", Path::new("two")),
        ];
        let problem = load_with(&both).expect_err("two tokens");
        assert_eq!(
            problem,
            "admin.token_file: is set beside admin.token: one of them is enough"
        );
    }

    #[test]
    fn a_file_without_a_token_is_a_mistake_and_shows_nothing() {
        for (name, content, wanted) in [
            ("empty", &b"\n \n"[..], "holds no token"),
            (
                "spaced",
                b"fine\nse cret\n",
                "line 2: holds a token that is empty",
            ),
            ("binary", b"\xff", "is not UTF-8"),
        ] {
            let (_folder, file) = Folder::with(name, content);
            for key in ["proxy.auth.tokens_file", "admin.token_file"] {
                let problem = load_with(&[(key, &file)]).expect_err(name);
                assert!(
                    problem.starts_with(key) && problem.contains(wanted),
                    "{problem}"
                );
                assert!(!problem.contains("cret"), "{problem}");
            }
        }
        let (_folder, file) = Folder::with("two", "one\ntwo\n");
        let problem = load_with(&[("admin.token_file", &file)]).expect_err("two");
        assert!(problem.ends_with("holds more than one token"), "{problem}");
    }

    #[test]
    fn a_file_that_is_missing_is_a_mistake() {
        for key in [
            "proxy.auth.tokens_file",
            "admin.token_file",
            "tls.upstream_ca_files",
        ] {
            let problem = load_with(&[(key, Path::new("no/such/file"))]).expect_err(key);
            assert!(
                problem.starts_with(&format!("{key}: `no/such/file` cannot be read: ")),
                "{problem}"
            );
        }
    }
}
