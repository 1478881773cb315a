//! `[proxy.auth]`: the tokens that open the proxy.

use std::path::PathBuf;

use super::section::section;
use super::value::Token;

section! {
    /// Who may use the proxy; required as soon as a proxy listener is not on loopback.
    pub struct Auth {
        /// Accepted as proxy password or X-Proxy-Token; none: no client needs one.
        tokens: Vec<Token> = [];
        /// A file of further tokens, one a line.
        tokens_file: Option<PathBuf> = "";
    }
}

impl Auth {
    /// Whether clients have to present a token.
    pub fn is_required(&self) -> bool {
        !self.tokens.is_empty()
    }

    /// Whether `presented` is one of the tokens. Takes the same time whichever it is.
    pub fn accepts(&self, presented: &[u8]) -> bool {
        // No early end: the time would tell the token's place in the list.
        self.tokens
            .iter()
            .fold(false, |found, token| found | token.matches(presented))
    }
}
