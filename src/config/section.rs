//! The declaration of a section, from which its struct, its decoding and its reference entry come.

use super::given::Given;
use super::schema::Schema;

/// A table of the configuration.
pub(super) trait Section: Sized {
    /// Enters the section at `path` (`proxy.auth`; empty for the whole) and its options into the schema.
    fn declare(path: &str, schema: &mut Schema);

    /// Decodes what was given for the section at `path`. Mistakes are noted in `given`, and the default
    /// stands in, so that all of them are found in one pass.
    fn read(path: &str, given: &mut Given) -> Self;
}

/// The dotted key of `name` in the section at `path`.
pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Declares a section:
///
/// ```text
/// section! {
///     /// What the section is about.
///     pub struct Proxy {
///         /// What the option does, for rustdoc and for config/default.toml.
///         idle_timeout: Duration = "120s", positive;
///     }
///     nested {
///         /// A section in it.
///         auth: Auth,
///     }
/// }
/// ```
///
/// The default is written as TOML (of which Rust's literals and arrays are a part) and stands so in
/// the reference. The optional name after it is a `fn(&T) -> Result<(), String>` that says what is
/// wrong with a value which the type alone would let pass.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Name:ident {
            $(
                $(#[doc = $help:literal])+
                $key:ident : $Type:ty = $default:tt $(, $check:path)? ;
            )*
        }
        $(nested { $( $(#[doc = $sub_about:literal])+ $sub:ident : $Sub:ty, )+ })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Name {
            $(
                $(#[doc = $help])+
                #[doc = concat!("\n\nDefault: `", stringify!($default), "`.")]
                pub $key: $Type,
            )*
            $($( $(#[doc = $sub_about])+ pub $sub: $Sub, )+)?
        }

        impl $crate::config::section::Section for $Name {
            fn declare(path: &str, schema: &mut $crate::config::schema::Schema) {
                schema.section(path, &[$($about),+]);
                $(
                    schema.option::<$Type>(
                        $crate::config::section::join(path, stringify!($key)),
                        &[$($help),+],
                        stringify!($default),
                    );
                )*
                $($(
                    <$Sub as $crate::config::section::Section>::declare(
                        &$crate::config::section::join(path, stringify!($sub)),
                        schema,
                    );
                )+)?
            }

            fn read(path: &str, given: &mut $crate::config::given::Given) -> Self {
                Self {
                    $(
                        $key: given.take(
                            &$crate::config::section::join(path, stringify!($key)),
                            stringify!($default),
                            |_value: &$Type| {
                                $( $check(_value)?; )?
                                Ok(())
                            },
                        ),
                    )*
                    $($(
                        $sub: <$Sub as $crate::config::section::Section>::read(
                            &$crate::config::section::join(path, stringify!($sub)),
                            given,
                        ),
                    )+)?
                }
            }
        }

        impl Default for $Name {
            fn default() -> Self {
                <Self as $crate::config::section::Section>::read(
                    "",
                    &mut $crate::config::given::Given::default(),
                )
            }
        }
    };
}
pub(super) use section;
