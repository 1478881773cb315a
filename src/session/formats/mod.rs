//! The cookie and storage formats of other tools.

pub mod netscape;
pub mod playwright;
