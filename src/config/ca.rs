//! `[ca]`: where the certificate authority lives and how long its leaves do.

use std::path::PathBuf;
use std::time::Duration;

use super::section::section;
use super::value::duration;

section! {
    /// The certificate authority that signs for intercepted hosts.
    pub struct Ca {
        /// Folder of burdock-ca.pem and burdock-ca.key, which are made there on first start.
        dir: PathBuf = "certs";
        /// Validity of a minted certificate, back-dating included; from 1d to 47d.
        leaf_validity: Duration = "30d", leaf_validity;
    }
}

/// The longest a leaf may be valid: what browsers accept from 2029 on (CA/Browser Forum, ballot SC-081).
const LEAF_VALIDITY_MAX: Duration = Duration::from_hours(47 * 24);
/// Shorter than this, back-dating against slow clocks would leave nothing.
const LEAF_VALIDITY_MIN: Duration = Duration::from_hours(24);

fn leaf_validity(validity: &Duration) -> Result<(), String> {
    duration::within(*validity, LEAF_VALIDITY_MIN, LEAF_VALIDITY_MAX)
}
