//! Pure rules of HTTP messages: who a request is for, and which fields travel on.

pub mod authority;
pub mod fields;

pub use authority::{Authority, AuthorityError, Host, Scheme};
