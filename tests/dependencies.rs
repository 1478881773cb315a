//! `deny.toml`, enforced without a network: licences, banned crates and where crates come from.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize;

#[derive(Deserialize)]
struct Deny {
    licenses: Licenses,
    bans: Bans,
}

#[derive(Deserialize)]
struct Licenses {
    allow: BTreeSet<String>,
}

#[derive(Deserialize)]
struct Bans {
    deny: Vec<Ban>,
}

#[derive(Deserialize)]
struct Ban {
    #[serde(rename = "crate")]
    name: String,
    reason: String,
}

#[derive(Deserialize)]
struct Lock {
    package: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    source: Option<String>,
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let allowed = deny().licenses.allow;
    let offenders: Vec<_> = tree()
        .into_iter()
        .filter(|(_, licence)| !satisfied(licence, &allowed))
        .collect();
    assert!(
        offenders.is_empty(),
        "licences that deny.toml does not allow: {offenders:#?}"
    );
}

#[test]
fn no_banned_crate_is_built() {
    let built = tree();
    for Ban { name, reason } in deny().bans.deny {
        let found = built
            .iter()
            .find(|(package, _)| package.split(' ').next() == Some(&name));
        assert!(found.is_none(), "{found:?} is built, and banned: {reason}");
    }
}

#[test]
fn every_dependency_comes_from_one_registry() {
    let lock: Lock = toml::from_str(&read("Cargo.lock")).expect("Cargo.lock is TOML");
    let elsewhere = lock
        .package
        .iter()
        .filter(|package| package.source.is_none());
    assert_eq!(
        elsewhere
            .map(|package| package.name.as_str())
            .collect::<Vec<_>>(),
        ["burdock"]
    );
    let sources: BTreeSet<_> = lock
        .package
        .iter()
        .filter_map(|package| package.source.as_deref())
        .collect();
    assert_eq!(sources.len(), 1, "{sources:?}");
    assert!(
        sources.iter().all(|source| source.starts_with("registry+")),
        "{sources:?}"
    );
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]
        .map(str::to_owned)
        .into();
    for (expression, wanted) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("ISC AND (GPL-3.0 OR MIT)", true),
        ("(ISC OR GPL-3.0) AND (GPL-3.0 OR GPL-2.0)", false),
        ("Apache-2.0 WITH LLVM-exception OR GPL-3.0", true),
        ("Apache-2.0", false),
        ("", false),
    ] {
        assert_eq!(satisfied(expression, &allowed), wanted, "{expression:?}");
    }
}

/// Each package that is built for this machine (`NAME vVERSION`) and its licence.
fn tree() -> BTreeSet<(String, String)> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--locked",
            "--offline",
            "--edges",
            "normal,build,dev",
            "--prefix",
            "none",
        ])
        .args(["--no-dedupe", "--format", "{p}|{l}", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let text = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let packages = text
        .lines()
        .map(|line| line.split_once('|').expect("the format has a bar"));
    packages
        .map(|(package, licence)| (package.to_owned(), licence.to_owned()))
        .collect()
}

/// Whether an SPDX expression can be met with what is allowed. `/` is the old way to write `OR`.
fn satisfied(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.trim();
    if let Some(parts) = split(expression, &[" OR ", "/"]) {
        return parts.iter().any(|part| satisfied(part, allowed));
    }
    if let Some(parts) = split(expression, &[" AND "]) {
        return parts.iter().all(|part| satisfied(part, allowed));
    }
    match expression
        .strip_prefix('(')
        .and_then(|rest| rest.strip_suffix(')'))
    {
        Some(inner) => satisfied(inner, allowed),
        None => allowed.contains(expression),
    }
}

/// The parts between operators that are outside all parentheses, if there is such an operator.
fn split<'a>(expression: &'a str, operators: &[&str]) -> Option<Vec<&'a str>> {
    let mut parts = Vec::new();
    let (mut depth, mut from) = (0, 0);
    for (at, symbol) in expression.char_indices() {
        match symbol {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        let operator = operators
            .iter()
            .find(|operator| expression[at..].starts_with(**operator));
        if let (0, Some(operator)) = (depth, operator) {
            parts.push(&expression[from..at]);
            from = at + operator.len();
        }
    }
    parts.push(&expression[from..]);
    (parts.len() > 1).then_some(parts)
}

fn deny() -> Deny {
    toml::from_str(&read("deny.toml")).expect("deny.toml is TOML of that shape")
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(file))
        .expect("a file of the repository")
}
