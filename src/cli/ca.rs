//! `burdock ca`: what clients have to trust. Reads the certificate only, never the key.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use sha2::{Digest as _, Sha256};

use crate::config::{Config, Sources};

use super::args::CaPart;

/// Prints that part of the CA.
pub(super) fn run(sources: &Sources, part: CaPart) -> ExitCode {
    let config = match super::load(sources) {
        Ok(config) => config,
        Err(exit) => return exit,
    };
    let path = certificate(&config);
    let text = match part {
        CaPart::Path => Ok(path.display().to_string()),
        CaPart::Print => read(&path).map(|certificate| pem(&certificate)),
        CaPart::Fingerprint => read(&path).map(|certificate| fingerprint(&certificate)),
        CaPart::Spki => read(&path).and_then(|certificate| spki(&certificate)),
    };
    match text {
        Ok(text) => super::answer(&text),
        Err(problem) => super::fail(&problem),
    }
}

/// Where the certificate of the CA is.
pub(super) fn certificate(config: &Config) -> PathBuf {
    config.ca.dir.join("burdock-ca.pem")
}

fn read(path: &Path) -> Result<CertificateDer<'static>, String> {
    let path_shown = path.display();
    let text = fs::read(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            format!("`{path_shown}` does not exist; the CA is made when burdock first serves")
        }
        _ => format!("`{path_shown}` cannot be read: {error}"),
    })?;
    CertificateDer::from_pem_slice(&text)
        .map_err(|error| format!("`{path_shown}` holds no certificate: {error}"))
}

/// The certificate in lines of 64 characters (RFC 7468), without whatever else the file may hold.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let encoded = STANDARD.encode(certificate);
    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = tail;
    }
    text.push_str("-----END CERTIFICATE-----");
    text
}

/// SHA-256 of the DER, upper-case hex with colons, as openssl and browsers show it.
fn fingerprint(certificate: &CertificateDer<'_>) -> String {
    let mut text = String::new();
    for (at, byte) in Sha256::digest(certificate).iter().enumerate() {
        let separator = if at == 0 { "" } else { ":" };
        write!(text, "{separator}{byte:02X}").expect("a String takes any text");
    }
    text
}

/// SHA-256 of the public key in base64, as Chromium's `--ignore-certificate-errors-spki-list` takes it.
fn spki(certificate: &CertificateDer<'_>) -> Result<String, String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate)
        .map_err(|error| format!("the certificate cannot be read: {error}"))?;
    Ok(STANDARD.encode(Sha256::digest(parsed.public_key().raw)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fingerprint_is_of_the_der() {
        let wanted = "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD";
        assert_eq!(fingerprint(&CertificateDer::from(&b"abc"[..])), wanted);
    }

    #[test]
    fn what_is_printed_reads_as_the_same_certificate() {
        for length in [1, 47, 48, 49, 500] {
            let bytes: Vec<u8> = (0..=255).cycle().take(length).collect();
            let certificate = CertificateDer::from(bytes);
            let text = pem(&certificate);
            assert!(text.lines().all(|line| line.len() <= 64), "{length}");
            let read = CertificateDer::from_pem_slice(text.as_bytes());
            assert_eq!(read.ok(), Some(certificate), "{length}");
        }
    }

    #[test]
    fn a_ca_that_is_not_there_yet_is_explained() {
        let problem = read(Path::new("no/such/burdock-ca.pem")).expect_err("no file");
        let wanted =
            "`no/such/burdock-ca.pem` does not exist; the CA is made when burdock first serves";
        assert_eq!(problem, wanted);
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let problem = read(&manifest).expect_err("no certificate");
        assert!(problem.contains("holds no certificate"), "{problem}");
    }
}
