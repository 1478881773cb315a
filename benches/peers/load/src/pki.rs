//! The origin's certificate authority, and its certificate for `localhost`; made anew for each run of the benchmark.

use std::{fs, path::Path};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::{Duration, OffsetDateTime};

pub const CA: &str = "origin-ca.pem";
pub const CERTIFICATE: &str = "origin.pem";
pub const KEY: &str = "origin.key";

/// P-256 throughout, as burdock and hudsucker make theirs.
pub fn write(dir: &Path) -> Result<()> {
    let ca_key = KeyPair::generate()?;
    let mut ca = parameters(Vec::new(), "burdock benchmark origin CA")?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let ca_pem = ca.self_signed(&ca_key)?.pem();
    let issuer = Issuer::new(ca, ca_key);

    let key = KeyPair::generate()?;
    let mut leaf = parameters(vec!["localhost".to_owned()], "localhost")?;
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.use_authority_key_identifier_extension = true;
    let leaf_pem = leaf.signed_by(&key, &issuer)?.pem();

    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    for (name, content) in [
        (CA, ca_pem),
        (CERTIFICATE, leaf_pem),
        (KEY, key.serialize_pem()),
    ] {
        let file = dir.join(name);
        fs::write(&file, content).with_context(|| format!("write {}", file.display()))?;
    }
    Ok(())
}

fn parameters(names: Vec<String>, common_name: &str) -> Result<CertificateParams> {
    let mut parameters = CertificateParams::new(names)?;
    parameters
        .distinguished_name
        .push(DnType::CommonName, common_name);
    parameters.not_before = OffsetDateTime::now_utc() - Duration::hours(1);
    parameters.not_after = OffsetDateTime::now_utc() + Duration::days(7);
    Ok(parameters)
}
