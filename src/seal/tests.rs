//! What opens, what does not, and what a key file may look like.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::file::parse;
use super::*;

const ONE: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const TWO: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A keyring of keys that are one byte over and over.
pub(crate) fn keyring(bytes: &[u8]) -> Keyring {
    let mut keys = bytes.iter().map(|byte| Key::new(&[*byte; KEY]));
    let first = keys.next().unwrap();
    Keyring {
        first,
        others: keys.collect(),
    }
}

fn ring(keys: &[&str]) -> Keyring {
    parse(&keys.join("\n")).unwrap()
}

#[test]
fn what_was_sealed_opens_in_its_place_alone() {
    let ring = ring(&[ONE]);
    let sealed = ring.seal(&[b"session", b"field"], b"secret");
    assert!(
        sealed.starts_with("s1.") && !sealed.contains("secret"),
        "{sealed}"
    );
    assert_ne!(sealed, ring.seal(&[b"session", b"field"], b"secret"));
    assert_eq!(
        **ring.open(&[b"session", b"field"], &sealed).unwrap(),
        *b"secret"
    );
    for elsewhere in [
        &[&b"session"[..], b"other"][..],
        &[b"sessionf", b"ield"],
        &[b"sessionfield"],
    ] {
        assert_eq!(ring.open(elsewhere, &sealed), Err(OpenError::Forged));
    }
}

#[test]
fn a_changed_or_broken_text_is_refused() {
    let ring = ring(&[ONE]);
    let sealed = ring.seal(&[], b"secret");
    let (head, last) = sealed.split_at(sealed.len() - 2);
    let changed = format!("{head}{}", if last == "AA" { "BA" } else { "AA" });
    assert_eq!(ring.open(&[], &changed), Err(OpenError::Forged));
    for text in [
        "",
        "secret",
        "s1.",
        "s1.72cd6e84",
        "s1.72cd6e84.AAAA",
        "s1.72cd6e84.*",
        "s1.canary secret.AAAA",
    ] {
        assert_eq!(ring.open(&[], text), Err(OpenError::Form), "{text}");
    }
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    let (old, both, new) = (ring(&[ONE]), ring(&[TWO, ONE]), ring(&[TWO]));
    let sealed = old.seal(&[], b"secret");
    assert_eq!(**both.open(&[], &sealed).unwrap(), *b"secret");
    let id = sealed.split('.').nth(1).unwrap();
    assert_eq!(
        new.open(&[], &sealed),
        Err(OpenError::UnknownKey(id.into()))
    );
    let sealed = both.seal(&[], b"secret");
    assert_eq!(**new.open(&[], &sealed).unwrap(), *b"secret");
    assert!(old.open(&[], &sealed).is_err());
}

#[test]
fn names_have_a_fingerprint_a_key_the_first_in_front() {
    let name: &[&[u8]] = &[b"session", b"token"];
    let of = |ring: &Keyring| ring.fingerprints(name).collect::<Vec<_>>();
    let (one, two) = (of(&ring(&[ONE])), of(&ring(&[TWO])));
    assert_eq!(of(&ring(&[TWO, ONE])), [two[0], one[0]]);
    assert_ne!(one, two);
    let other: Vec<_> = ring(&[ONE]).fingerprints(&[b"sessiont", b"oken"]).collect();
    assert_ne!(one, other);
}

#[test]
fn the_form_is_the_one_that_stores_hold() {
    let sealed = "s1.72cd6e84.AAECAwQFBgcICQoLDA0ODxAREhMUFRYXC7W49_jltF95W_cSFtVPix5r8TegSg";
    let opened = ring(&[ONE]).open(&[b"session", b"field"], sealed);
    assert_eq!(opened.map(|secret| secret.to_vec()), Ok(b"secret".to_vec()));
}

#[test]
fn a_key_file_has_a_key_a_line_and_an_error_names_the_line() {
    let spaced = format!(
        "# the new one\n\n  {TWO}  \r\n{}\n",
        ONE.trim_end_matches('=')
    );
    assert_eq!(parse(&spaced).unwrap().keys().count(), 2);
    for (text, wanted) in [
        ("# nothing\n", "`keys` holds no key"),
        (
            &format!("{ONE}\nc2hvcnQ="),
            "`keys`, line 2: is not 32 bytes long",
        ),
        (
            &format!("\n*{ONE}"),
            "`keys`, line 2: is not a key in base64",
        ),
        (
            &format!("{ONE}\n{TWO}\n{ONE}"),
            "`keys`, line 3: has a key that is in the file already",
        ),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.starts_with(wanted), "{error}");
    }
}

#[test]
fn a_key_file_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keys");
    let missing = Keyring::read(&path).unwrap_err().to_string();
    assert!(missing.contains(&*path.to_string_lossy()), "{missing}");
    fs::write(&path, ONE).unwrap();
    for (mode, is_refused) in [(0o644, true), (0o620, true), (0o600, false), (0o400, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(Keyring::read(&path).is_err(), is_refused, "{mode:o}");
    }
}

#[test]
fn no_key_is_shown() {
    let shown = format!("{:?}", ring(&[ONE]));
    assert_eq!(shown, "[\"72cd6e84\"]");
}
