//! The roots that origins are verified against: the platform's and `tls.upstream_ca_files`.

use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use tracing::{debug, warn};

/// TLS towards origins cannot be set up; nearly always for a file of `tls.upstream_ca_files`.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// It cannot be read, or is no PEM.
    #[error("`tls.upstream_ca_files`: cannot read certificates from `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: pem::Error,
    },
    /// It holds no certificate.
    #[error("`tls.upstream_ca_files`: `{}` holds no PEM certificate", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// One of its certificates cannot be a root.
    #[error("`tls.upstream_ca_files`: `{}` holds a certificate that cannot be a root", path.display())]
    Unusable {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: rustls::Error,
    },
    /// The cryptography cannot serve TLS 1.2 and 1.3: a defect of the build.
    #[error("TLS towards origins cannot be set up")]
    Provider(#[source] rustls::Error),
}

/// Whom to trust.
#[derive(Debug)]
pub(super) struct Roots {
    /// All roots.
    pub(super) store: RootCertStore,
    /// The certificates of `tls.upstream_ca_files` as they are.
    pub(super) named: Vec<CertificateDer<'static>>,
}

/// The platform's roots and those of `files`.
pub(super) fn load(files: &[PathBuf]) -> Result<Roots, RootsError> {
    let mut roots = Roots {
        store: RootCertStore::empty(),
        named: Vec::new(),
    };
    add_platform_roots(&mut roots.store);
    for path in files {
        add_file(&mut roots, path)?;
    }
    if roots.store.is_empty() {
        warn!(
            "no trusted roots: no origin can be verified; install the system's CA certificates or name some in `tls.upstream_ca_files`"
        );
    }
    Ok(roots)
}

fn add_platform_roots(store: &mut RootCertStore) {
    let found = rustls_native_certs::load_native_certs();
    let (added, unusable) = store.add_parsable_certificates(found.certs);
    for error in &found.errors {
        warn!(%error, "cannot read some of the platform's roots");
    }
    if unusable > 0 {
        warn!(unusable, "some of the platform's roots cannot be used");
    }
    debug!(added, "loaded the platform's roots");
}

fn add_file(roots: &mut Roots, path: &Path) -> Result<(), RootsError> {
    let unreadable = |source| RootsError::Read {
        path: path.to_owned(),
        source,
    };
    let before = roots.named.len();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let certificate = certificate.map_err(unreadable)?;
        let unusable = |source| RootsError::Unusable {
            path: path.to_owned(),
            source,
        };
        roots.store.add(certificate.clone()).map_err(unusable)?;
        roots.named.push(certificate);
    }
    if roots.named.len() == before {
        return Err(RootsError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn message(content: Option<&str>) -> String {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("ca.pem");
        if let Some(content) = content {
            fs::write(&path, content).expect("written");
        }
        let error = load(std::slice::from_ref(&path)).expect_err("unusable");
        error
            .to_string()
            .replace(&path.display().to_string(), "FILE")
    }

    #[test]
    fn a_file_that_cannot_be_used_is_named() {
        assert_eq!(
            message(None),
            "`tls.upstream_ca_files`: cannot read certificates from `FILE`"
        );
        assert_eq!(
            message(Some("hello")),
            "`tls.upstream_ca_files`: `FILE` holds no PEM certificate"
        );
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(
            message(Some(broken)),
            "`tls.upstream_ca_files`: `FILE` holds a certificate that cannot be a root"
        );
        let cut = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        assert_eq!(
            message(Some(cut)),
            "`tls.upstream_ca_files`: cannot read certificates from `FILE`"
        );
    }

    #[test]
    fn the_roots_of_a_file_come_on_top_of_the_platforms() {
        let platform = load(&[]).expect("nothing to be wrong").store.len();
        let key = rcgen::KeyPair::generate().expect("randomness");
        let root = rcgen::CertificateParams::default()
            .self_signed(&key)
            .expect("valid");
        let dir = tempfile::tempdir().expect("a temporary folder");
        let path = dir.path().join("ca.pem");
        fs::write(&path, root.pem()).expect("written");
        let roots = load(&[path]).expect("usable");
        assert_eq!(roots.store.len(), platform + 1);
        assert_eq!(roots.named, [root.der().clone()]);
    }
}
