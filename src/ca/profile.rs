//! What the certificates look like (RFC 5280): the root's profile, the leaves' profile.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::error::CaError;
use crate::message::Host;
use crate::session::time::Timestamp;

/// The authority's own life: long, because every client must be told of a new one.
const ROOT_VALIDITY: Duration = Duration::from_hours(3_650 * 24);

/// How far before the present a certificate begins, for clients whose clocks are late.
const BACK_DATING: Duration = Duration::from_hours(24);

/// The authority's certificate with the key that signs leaves.
pub(super) struct Root {
    der: CertificateDer<'static>,
    pem: String,
    spki: Vec<u8>,
    not_before: Timestamp,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

/// Why a certificate and a key are no authority.
#[derive(Debug)]
pub(super) enum RootError {
    /// They are not of one pair.
    Mismatch,
    /// The certificate cannot be read or is none of an authority.
    Malformed(String),
}

impl Root {
    /// The root made of a stored certificate and key.
    pub(super) fn from_parts(
        der: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, RootError> {
        let malformed = |reason: &str| RootError::Malformed(reason.to_owned());
        let (_, certificate) = X509Certificate::from_der(&der)
            .map_err(|error| RootError::Malformed(error.to_string()))?;
        let spki = certificate.public_key().raw.to_vec();
        if spki != key.subject_public_key_info() {
            return Err(RootError::Mismatch);
        }
        if !certificate.is_ca() {
            return Err(malformed("it is not a CA (basicConstraints)"));
        }
        let signs = certificate
            .key_usage()
            .map_err(|error| RootError::Malformed(error.to_string()))?
            .is_none_or(|usage| usage.value.key_cert_sign());
        if !signs {
            return Err(malformed("its key usage does not include keyCertSign"));
        }
        let validity = certificate.validity();
        let not_before = Timestamp::from_unix_seconds(validity.not_before.timestamp());
        let not_after = Timestamp::from_unix_seconds(validity.not_after.timestamp());
        let issuer = Issuer::from_ca_cert_der(&der, key)
            .map_err(|error| RootError::Malformed(error.to_string()))?;
        Ok(Self {
            pem: to_pem(&der),
            der,
            spki,
            not_before,
            not_after,
            issuer,
        })
    }

    /// Signs a leaf for `host` and the public key of `leaf_key`, valid for at most `validity`.
    pub(super) fn mint(
        &self,
        host: &Host,
        leaf_key: &KeyPair,
        validity: Duration,
        now: Timestamp,
    ) -> Result<Minted, CaError> {
        if self.not_after <= now {
            return Err(CaError::Expired {
                since: self.not_after,
            });
        }
        // A short life is not spent on back-dating.
        let not_before = (now - BACK_DATING.min(validity / 4)).max(self.not_before);
        // RFC 5280 counts the last second in, so a validity of n seconds ends n - 1 after its start.
        let last = validity.saturating_sub(Duration::from_secs(1));
        let not_after = (not_before + last).min(self.not_after);
        let mut params = blank(not_before, not_after)?;
        // The subject stays empty and the alternative name is critical, as RFC 5280 (4.1.2.6) has it: a
        // common name adds nothing, ends at 64 characters, and the CA/Browser Forum advises against it.
        params.subject_alt_names = vec![alternative_name(host)?];
        params.use_authority_key_identifier_extension = true;
        params.key_identifier_method = KeyIdMethod::PreSpecified(key_identifier(leaf_key).to_vec());
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let der = params.signed_by(leaf_key, &self.issuer)?.der().clone();
        Ok(Minted { der, not_after })
    }

    pub(super) fn der(&self) -> &CertificateDer<'static> {
        &self.der
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn spki(&self) -> &[u8] {
        &self.spki
    }

    pub(super) fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

/// A fresh P-256 key.
pub(super) fn new_key() -> Result<KeyPair, CaError> {
    Ok(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?)
}

/// A self-signed root certificate for `key`. The same key always gives the same name and key identifier,
/// so that leaves of a re-issued root still verify for clients that trust the former certificate.
pub(super) fn self_signed(
    key: &KeyPair,
    now: Timestamp,
) -> Result<CertificateDer<'static>, CaError> {
    let id = key_identifier(key);
    let [a, b, c, d, ..] = id;
    let not_before = now - BACK_DATING;
    let mut params = blank(not_before, not_before + ROOT_VALIDITY)?;
    let name = &mut params.distinguished_name;
    name.push(DnType::OrganizationName, "burdock");
    let short = u32::from_be_bytes([a, b, c, d]);
    name.push(DnType::CommonName, format!("burdock CA {short:08x}"));
    params.key_identifier_method = KeyIdMethod::PreSpecified(id.to_vec());
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params.self_signed(key)?.der().clone())
}

/// A signed leaf.
#[derive(Debug)]
pub(super) struct Minted {
    pub(super) der: CertificateDer<'static>,
    pub(super) not_after: Timestamp,
}

/// Parameters with nothing of rcgen's defaults left that could surprise: its validity is 1975 to 4096,
/// and its serial number a hash of the public key, which all our leaves share.
fn blank(not_before: Timestamp, not_after: Timestamp) -> Result<CertificateParams, CaError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = date(not_before)?;
    params.not_after = date(not_after)?;
    params.serial_number = Some(serial());
    Ok(params)
}

fn date(at: Timestamp) -> Result<OffsetDateTime, CaError> {
    OffsetDateTime::from_unix_timestamp(at.unix_seconds())
        .map_err(|_| CaError::Mint(rcgen::Error::Time))
}

/// RFC 7093, method 1: the first 160 bits of the SHA-256 of the public key proper. (rcgen hashes the
/// algorithm along with it, which is no published method.)
fn key_identifier(key: &KeyPair) -> [u8; 20] {
    let digest: [u8; 32] = Sha256::digest(key.public_key_raw()).into();
    let mut id = [0; 20];
    id.copy_from_slice(&digest[..20]);
    id
}

/// 126 random bits; the first byte makes it positive and 16 bytes long (RFC 5280, section 4.1.2.2).
fn serial() -> SerialNumber {
    let mut bytes: [u8; 16] = rand::random();
    bytes[0] = bytes[0] & 0x3f | 0x40;
    SerialNumber::from_slice(&bytes)
}

fn alternative_name(host: &Host) -> Result<SanType, CaError> {
    let name = match host {
        Host::V4(address) => return Ok(SanType::IpAddress(IpAddr::V4(*address))),
        Host::V6(address) => return Ok(SanType::IpAddress(IpAddr::V6(*address))),
        Host::Name(name) => name,
    };
    let unfit = || CaError::Name { host: host.clone() };
    if !is_dns_name(name) {
        return Err(unfit());
    }
    let name = name.to_string().try_into().map_err(|_| unfit())?;
    Ok(SanType::DnsName(name))
}

/// Letters, digits, hyphens within and (because such hosts exist) underscores; a wildcard only as the whole
/// first label above two more, which is how far clients accept one.
fn is_dns_name(name: &str) -> bool {
    let (labels, least) = match name.strip_prefix("*.") {
        Some(rest) => (rest, 2),
        None => (name, 1),
    };
    name.len() <= 253 && labels.split('.').count() >= least && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=63).contains(&label.len())
        && label.bytes().all(inner)
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// Encoded again rather than passed on: a file may hold more than the certificate, even a key.
fn to_pem(der: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(der);
    let mut pem = String::with_capacity(text.len() + text.len() / 64 + 64);
    pem.push_str("-----BEGIN CERTIFICATE-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::{ServerName, UnixTime};
    use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};
    use x509_parser::extensions::GeneralName;
    use x509_parser::prelude::ParsedExtension;

    use super::*;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);
    const DAY: u64 = 86_400;
    const MONTH: Duration = Duration::from_hours(30 * 24);

    fn root() -> Root {
        let key = new_key().expect("randomness");
        let der = self_signed(&key, NOW).expect("a valid profile");
        Root::from_parts(der, key).expect("a pair")
    }

    fn host(text: &str) -> Host {
        Host::parse(text).expect(text)
    }

    fn mint(
        root: &Root,
        name: &str,
        validity: Duration,
        now: Timestamp,
    ) -> Result<Minted, CaError> {
        let key = new_key().expect("randomness");
        root.mint(&host(name), &key, validity, now)
    }

    fn parsed(der: &[u8]) -> X509Certificate<'_> {
        X509Certificate::from_der(der).expect("DER").1
    }

    /// What a strict client makes of the chain.
    fn verify(
        root: &Root,
        minted: &Minted,
        name: &str,
        now: Timestamp,
    ) -> Result<(), webpki::Error> {
        let anchor = anchor_from_trusted_cert(root.der())?;
        let leaf = EndEntityCert::try_from(&minted.der)?;
        let seconds = u64::try_from(now.unix_seconds()).expect("after 1970");
        leaf.verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor],
            &[root.der().clone()],
            UnixTime::since_unix_epoch(Duration::from_secs(seconds)),
            KeyUsage::server_auth(),
            None,
            None,
        )?;
        let name = ServerName::try_from(name.trim_matches(['[', ']'])).expect(name);
        leaf.verify_is_valid_for_subject_name(&name)
    }

    #[test]
    fn the_root_is_a_ca_that_signs_leaves_only() {
        let root = root();
        let certificate = parsed(root.der());
        let constraints = certificate
            .basic_constraints()
            .expect("once")
            .expect("present");
        assert!(constraints.critical && constraints.value.ca);
        assert_eq!(constraints.value.path_len_constraint, Some(0));
        let usage = certificate.key_usage().expect("once").expect("present");
        assert!(usage.critical);
        assert!(usage.value.key_cert_sign() && usage.value.crl_sign());
        assert!(!usage.value.digital_signature());
        let seconds = certificate.validity().not_after.timestamp() - NOW.unix_seconds();
        assert_eq!(seconds, 3_649 * 86_400);
        assert_eq!(certificate.raw_serial().len(), 16);
    }

    #[test]
    fn two_roots_differ_in_name_and_the_same_key_keeps_its_own() {
        let key = new_key().expect("randomness");
        let first = self_signed(&key, NOW).expect("valid");
        let again = self_signed(&key, NOW + MONTH).expect("valid");
        let other = root();
        let subject = |der: &[u8]| parsed(der).subject().to_string();
        assert_eq!(subject(&first), subject(&again));
        assert_ne!(subject(&first), subject(other.der()));
        assert!(subject(&first).starts_with("O=burdock, CN=burdock CA "));
        assert_ne!(parsed(&first).raw_serial(), parsed(&again).raw_serial());
    }

    #[test]
    fn a_leaf_of_a_reissued_root_verifies_under_the_former_one() {
        let key = new_key().expect("randomness");
        let pem = key.serialize_pem();
        let former = self_signed(&key, NOW).expect("valid");
        let former = Root::from_parts(former, key).expect("a pair");
        let key = KeyPair::from_pem(&pem).expect("its own text");
        let again = self_signed(&key, NOW + MONTH).expect("valid");
        let again = Root::from_parts(again, key).expect("a pair");
        let minted = mint(&again, "a.example", MONTH, NOW + MONTH).expect("minted");
        assert_eq!(verify(&former, &minted, "a.example", NOW + MONTH), Ok(()));
    }

    #[test]
    fn strict_clients_accept_each_kind_of_leaf() {
        let root = root();
        let long = format!("{0}.{0}.{0}.example", "a".repeat(60));
        for name in [
            "shop.example",
            "localhost",
            "a_b.example",
            "xn--bcher-kva.example",
            "192.0.2.1",
            "[2001:db8::1]",
            long.as_str(),
        ] {
            let minted = mint(&root, name, MONTH, NOW).expect(name);
            assert_eq!(verify(&root, &minted, name, NOW), Ok(()), "{name}");
            assert!(
                verify(&root, &minted, "other.example", NOW).is_err(),
                "{name}"
            );
        }
        let minted = mint(&root, "*.shop.example", MONTH, NOW).expect("wildcard");
        assert_eq!(verify(&root, &minted, "a.shop.example", NOW), Ok(()));
    }

    #[test]
    fn a_leaf_says_what_rfc_5280_wants_of_it() {
        let root = root();
        let minted = mint(&root, "shop.example", MONTH, NOW).expect("minted");
        let leaf = parsed(&minted.der);
        let issuer = parsed(root.der());
        assert_eq!(leaf.issuer().as_raw(), issuer.subject().as_raw());
        assert_eq!(leaf.subject().iter().count(), 0);
        assert_eq!(leaf.raw_serial().len(), 16);
        assert!(!leaf.is_ca());
        let names = leaf
            .subject_alternative_name()
            .expect("once")
            .expect("present");
        assert!(names.critical, "the subject is empty");
        assert_eq!(
            names.value.general_names,
            [GeneralName::DNSName("shop.example")]
        );
        let usage = leaf.key_usage().expect("once").expect("present");
        assert!(usage.critical);
        assert_eq!(usage.value.flags, 1, "digitalSignature alone");
        let extended = leaf.extended_key_usage().expect("once").expect("present");
        assert!(extended.value.server_auth && !extended.value.client_auth && !extended.value.any);
        let key_id = |certificate: &X509Certificate<'_>, authority: bool| {
            certificate
                .iter_extensions()
                .find_map(|extension| match extension.parsed_extension() {
                    ParsedExtension::AuthorityKeyIdentifier(id) if authority => {
                        id.key_identifier.as_ref().map(|id| id.0.to_vec())
                    }
                    ParsedExtension::SubjectKeyIdentifier(id) if !authority => Some(id.0.to_vec()),
                    _ => None,
                })
        };
        assert!(key_id(&issuer, false).is_some());
        assert_eq!(key_id(&leaf, true), key_id(&issuer, false));
        assert!(key_id(&leaf, false).is_some_and(|id| Some(id) != key_id(&issuer, false)));
    }

    #[test]
    fn serials_are_not_shared_although_the_key_is() {
        let root = root();
        let key = new_key().expect("randomness");
        let mint = || {
            root.mint(&host("a.example"), &key, MONTH, NOW)
                .expect("minted")
                .der
        };
        assert_ne!(parsed(&mint()).raw_serial(), parsed(&mint()).raw_serial());
    }

    #[test]
    fn a_leaf_lives_no_longer_than_said_nor_than_its_root() {
        let root = root();
        let last_day = root.not_after() - Duration::from_secs(DAY);
        for (validity, now, begins, lives) in [
            // (validity, now, seconds before now at which it begins, seconds it lives, both ends counted)
            (47 * DAY, NOW + MONTH, DAY, 47 * DAY),
            (30 * DAY, NOW + MONTH, DAY, 30 * DAY),
            (2 * DAY, NOW + MONTH, DAY / 2, 2 * DAY),
            (DAY, NOW + MONTH, DAY / 4, DAY),
            // Never before the root begins, which it does a day before it was made.
            (
                30 * DAY,
                NOW - Duration::from_secs(DAY / 2),
                DAY / 2,
                30 * DAY,
            ),
            (30 * DAY, last_day, DAY, 2 * DAY + 1),
        ] {
            let minted =
                mint(&root, "a.example", Duration::from_secs(validity), now).expect("minted");
            let leaf = parsed(&minted.der);
            let (from, to) = (
                leaf.validity().not_before.timestamp(),
                leaf.validity().not_after.timestamp(),
            );
            assert_eq!(
                now.unix_seconds() - from,
                i64::try_from(begins).expect("small")
            );
            assert_eq!(to - from + 1, i64::try_from(lives).expect("small"));
            assert_eq!(minted.not_after.unix_seconds(), to);
            assert!(to <= root.not_after().unix_seconds());
        }
    }

    #[test]
    fn an_ended_root_signs_nothing() {
        let root = root();
        let end = root.not_after();
        assert!(
            matches!(mint(&root, "a.example", MONTH, end), Err(CaError::Expired { since }) if since == end)
        );
    }

    #[test]
    fn what_is_no_dns_name_gets_no_leaf() {
        let root = root();
        for name in [
            "a!b.example",
            "*",
            "*.example",
            "a*.shop.example",
            "a.*.example",
            "-a.example",
            "a-.example",
        ] {
            assert!(
                matches!(mint(&root, name, MONTH, NOW), Err(CaError::Name { .. })),
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_no_authority_is_refused() {
        let root = root();
        let key = new_key().expect("randomness");
        let leaf = root
            .mint(&host("a.example"), &key, MONTH, NOW)
            .expect("minted")
            .der;
        assert!(matches!(
            Root::from_parts(leaf.clone(), key),
            Err(RootError::Malformed(_))
        ));
        let other = new_key().expect("randomness");
        assert!(matches!(
            Root::from_parts(leaf, other),
            Err(RootError::Mismatch)
        ));
        let other = new_key().expect("randomness");
        let garbage = CertificateDer::from(vec![0x30, 0x03, 0x02, 0x01, 0x01]);
        assert!(matches!(
            Root::from_parts(garbage, other),
            Err(RootError::Malformed(_))
        ));
    }

    #[test]
    fn the_pem_is_the_certificate_and_nothing_else() {
        use rustls::pki_types::pem::PemObject as _;
        let root = root();
        let read: Vec<_> = CertificateDer::pem_slice_iter(root.pem().as_bytes())
            .collect::<Result<_, _>>()
            .expect("PEM");
        assert_eq!(read, [root.der().clone()]);
        assert!(root.pem().lines().all(|line| line.len() <= 64));
    }
}
