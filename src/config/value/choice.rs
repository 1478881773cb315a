//! Options that are one of a few words.

/// Declares an enum whose variants are the words of an option:
///
/// ```text
/// choice! {
///     /// What the option decides.
///     pub enum OnUnknown {
///         /// What this choice does.
///         Create = "create",
///     }
///     later { "words of the contract that this version does not have" }
/// }
/// ```
macro_rules! choice {
    (
        $(#[doc = $about:literal])+
        pub enum $Name:ident {
            $( $(#[doc = $help:literal])+ $Variant:ident = $word:literal, )+
        }
        $(later { $($later:literal),+ })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $Name {
            $( $(#[doc = $help])+ $Variant, )+
        }

        impl $Name {
            /// The word that stands for it in the configuration.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$Variant => $word, )+
                }
            }
        }

        impl $crate::config::value::Text for $Name {
            fn kind() -> String {
                [$($word),+].join(" | ")
            }

            fn parse(text: &str) -> Result<Self, String> {
                match text {
                    $( $word => Ok(Self::$Variant), )+
                    $($( $later )|+ => Err(format!("`{text}` is not supported by this version")),)?
                    _ => Err($crate::config::value::not_among(text, &[$($word),+])),
                }
            }
        }
    };
}
pub(in crate::config) use choice;

use super::super::mistake::shown;

/// What to say of a word that is none of `words`.
pub(in crate::config) fn not_among(text: &str, words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    format!("must be {}, not `{}`", words.join(" or "), shown(text))
}
