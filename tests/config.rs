//! The configuration: its reference file, and a file that says all that the contract knows.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use burdock::config::{Config, Place, Routes, Sources, load};

#[test]
fn the_reference_file_is_what_the_code_says() {
    assert!(
        *REFERENCE == Config::render_default_toml(),
        "config/default.toml is stale; BURDOCK_BLESS=1 cargo test --test config writes it anew"
    );
}

#[test]
fn the_reference_file_is_the_defaults() {
    LazyLock::force(&REFERENCE);
    let config = load_file(&in_repository(REFERENCE_FILE));
    assert_eq!(config, Ok(Config::default()));
}

#[test]
fn the_reference_file_explains_every_key() {
    let mut keys = 0;
    let mut before = "";
    for line in REFERENCE.lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            assert!(before.starts_with("# "), "no comment before `{line}`");
            assert!(before.ends_with(')'), "no kind or unit before `{line}`");
            keys += 1;
        }
        before = line;
    }
    assert!(
        keys > 30,
        "only {keys} keys were found: the test no longer reads the file right"
    );
}

/// The example of docs/INTERFACE.md names every key of the contract. Those of this version are accepted
/// with the values of the example, which are the defaults; each of the others is told by its line.
#[test]
fn the_example_of_the_contract_is_judged_key_by_key() {
    let (example, first_line) = example_of_the_contract();
    let file = std::env::temp_dir().join(format!("burdock-contract-{}.toml", std::process::id()));
    fs::write(&file, &example).expect("the temporary folder is writable");
    let loaded = load_file(&file);
    fs::remove_file(&file).expect("the file was written above");

    let refused = loaded.expect_err("the contract knows more than this version");
    let mut keys = Vec::new();
    for (place, key, problem) in &refused {
        assert_eq!(problem, "is not supported by this version", "{key}");
        let Place::File {
            line: Some(line), ..
        } = place
        else {
            panic!("{key} has no line");
        };
        let name = key.rsplit('.').next().unwrap_or(key);
        let text = example.lines().nth(line - 1).unwrap_or_default();
        assert!(
            text.contains(name),
            "line {} of the contract is `{text}`, not {key}",
            first_line + line
        );
        keys.push(key.as_str());
    }
    assert_eq!(keys, NOT_YET);

    // Without what is refused the example is the defaults.
    let lines: Vec<usize> = refused
        .iter()
        .filter_map(|(place, ..)| match place {
            Place::File { line, .. } => *line,
            _ => None,
        })
        .collect();
    fs::write(&file, without(&example, &lines)).expect("the temporary folder is writable");
    let rest = load_file(&file);
    fs::remove_file(&file).expect("the file was written above");
    let rest = rest.map(|config| Config {
        // The one thing in it that is an example.
        routes: Routes::default(),
        ..config
    });
    assert_eq!(rest, Ok(Config::default()));
}

/// The reference file; `BURDOCK_BLESS=1 cargo test --test config` writes it anew.
static REFERENCE: LazyLock<String> = LazyLock::new(|| {
    let path = in_repository(REFERENCE_FILE);
    if std::env::var_os("BURDOCK_BLESS").is_some() {
        fs::write(&path, Config::render_default_toml()).expect("the repository is writable");
    }
    fs::read_to_string(&path).expect("the reference file is in the repository")
});

const REFERENCE_FILE: &str = "config/default.toml";

/// What the contract has and this version has not, in the order of the contract.
const NOT_YET: &[&str] = &[
    "proxy.transparent_listen",
    "proxy.host_verify",
    "clients",
    "observability.capture",
    "observability.capture_limit",
];

type Refusal = (Place, String, String);

fn load_file(path: &Path) -> Result<Config, Vec<Refusal>> {
    let sources = Sources {
        file: Some(path.to_owned()),
        ..Sources::default()
    };
    load(&sources).map_err(|mistakes| {
        let parts = mistakes.iter().cloned();
        parts
            .map(|mistake| (mistake.place, mistake.key, mistake.problem))
            .collect()
    })
}

/// The first TOML block of docs/INTERFACE.md and the line before it.
fn example_of_the_contract() -> (String, usize) {
    let contract =
        fs::read_to_string(in_repository("docs/INTERFACE.md")).expect("the contract is in docs");
    let begin = contract
        .find("```toml\n")
        .expect("section 2 has an example")
        + "```toml\n".len();
    let length = contract[begin..].find("```").expect("the block ends");
    let first_line = contract[..begin].lines().count();
    (contract[begin..begin + length].to_owned(), first_line)
}

/// The text without these lines, and without the keys of an array of tables whose header goes.
fn without(text: &str, lines: &[usize]) -> String {
    let mut kept = String::new();
    let mut in_refused_array = false;
    for (at, line) in text.lines().enumerate() {
        let is_refused = lines.contains(&(at + 1));
        if line.starts_with('[') {
            in_refused_array = is_refused;
        }
        if !is_refused && !in_refused_array {
            kept.push_str(line);
        }
        kept.push('\n');
    }
    kept
}

fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
