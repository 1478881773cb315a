//! Tokens: secrets that clients present.

use std::fmt;

use subtle::ConstantTimeEq;

use super::Text;

/// A secret of printable ASCII without spaces; what a Basic password, a Bearer token and a field of its
/// own can all carry. Prints as stars.
#[derive(Clone)]
pub struct Token(Box<str>);

impl Token {
    /// Whether `presented` is this token. The time it takes tells nothing but the length.
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.matches(other.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Text for Token {
    fn kind() -> String {
        "token".into()
    }

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(
                "holds a token that is empty or has other than printable ASCII without spaces"
                    .into(),
            );
        }
        Ok(Self(text.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_itself_only_and_masks_itself() {
        let token = Token::parse("s3cret!").expect("a token");
        assert!(token.matches(b"s3cret!"));
        for other in ["", "s3cret", "s3cret!!", "S3cret!"] {
            assert!(!token.matches(other.as_bytes()), "{other}");
        }
        assert_eq!(format!("{token} {token:?}"), "*** ***");
    }

    #[test]
    fn what_a_field_cannot_carry_is_no_token() {
        for text in ["", "a b", "a\nb", "ä", "\u{7f}"] {
            let problem = Token::parse(text).expect_err("no token");
            assert!(
                text.is_empty() || !problem.contains(text),
                "the problem shows it"
            );
        }
    }
}
