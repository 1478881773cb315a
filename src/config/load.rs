//! The one parser of configurations: flags over environment over file over defaults.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use super::given::Given;
use super::mistake::{Mistakes, Place};
use super::raw::Raw;
use super::schema::Schema;
use super::section::Section;
use super::{Config, across, environment, file, resolve};

/// Where a configuration comes from. Kept by whoever wants to load it anew later.
#[derive(Clone, Default)]
pub struct Sources {
    /// The config file; none is read unless one is named.
    pub file: Option<PathBuf>,
    /// The environment; only `BURDOCK_SECTION__KEY` is looked at.
    pub environment: Vec<(OsString, OsString)>,
    /// What the command line says about options.
    pub flags: Vec<Flag>,
}

/// Of the environment the names only: a value may be a token.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&OsString> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("Sources")
            .field("file", &self.file)
            .field("environment", &names)
            .field("flags", &self.flags)
            .finish()
    }
}

/// A flag that sets an option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flag {
    /// The flag as it is written: `--listen`.
    pub name: &'static str,
    /// The option it sets: `proxy.listen`.
    pub key: &'static str,
    /// Its values; more than one where it is repeated.
    pub values: Vec<String>,
}

/// Loads and checks a configuration.
///
/// Reads the config file and the files that it names for tokens; relative paths are relative to the
/// current directory. `BURDOCK_PROXY__AUTH__TOKENS` sets `proxy.auth.tokens`; a list in a variable is
/// comma-separated, or a TOML array.
///
/// # Errors
/// [`Mistakes`]: all of them, each naming its place and key. A value that another layer takes
/// precedence over is checked as well.
pub fn load(sources: &Sources) -> Result<Config, Mistakes> {
    load_layers(|schema, given| {
        if let Some(path) = &sources.file {
            file::add(path, schema, given);
        }
        environment::add(&sources.environment, schema, given);
        add_flags(&sources.flags, given);
    })
}

/// Loads what `layers` adds, the layer of least precedence first.
fn load_layers(layers: impl FnOnce(&Schema, &mut Given)) -> Result<Config, Mistakes> {
    let mut given = Given::default();
    layers(&Schema::of::<Config>(), &mut given);
    let mut config = Config::read("", &mut given);
    resolve::read_files(&mut config, &mut given);
    across::check(&config, &mut given);
    match Mistakes::of(given.into_mistakes()) {
        None => Ok(config),
        Some(mistakes) => Err(mistakes),
    }
}

fn add_flags(flags: &[Flag], given: &mut Given) {
    for flag in flags {
        given.add(
            flag.key,
            Place::Flag(flag.name),
            Raw::from_flag(&flag.values),
        );
    }
}

/// What `layers` come to, or the lines that tell its mistakes; for the tests of the layers.
#[cfg(test)]
pub(super) fn given_by(layers: impl FnOnce(&Schema, &mut Given)) -> Result<Config, Vec<String>> {
    load_layers(layers).map_err(|mistakes| mistakes.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::*;

    fn file(text: &str) -> Result<Config, Vec<String>> {
        given_by(|schema, given| file::add_text(Path::new("f"), text, schema, given))
    }

    #[test]
    fn an_empty_file_is_the_defaults() {
        let empty = file("").expect("valid");
        assert_eq!(empty, Config::default());
        assert_eq!(empty, load(&Sources::default()).expect("valid"));
        assert_eq!(empty.proxy.listen.len(), 2);
        assert_eq!(empty.ca.leaf_validity, Duration::from_hours(30 * 24));
        assert_eq!(empty.sessions.rate_limit.requests_per_second, None);
    }

    #[test]
    fn the_reference_is_the_defaults() {
        assert_eq!(file(&Config::render_default_toml()), Ok(Config::default()));
    }

    #[test]
    fn flags_precede_the_environment_and_that_the_file() {
        let text = r#"
            ca.dir = "file"
            admin.listen = ["127.0.0.1:1"]
            tls.passthrough = ["a"]
        "#;
        let variables = [
            ("BURDOCK_CA__DIR".into(), "variable".into()),
            ("BURDOCK_ADMIN__LISTEN".into(), "127.0.0.1:2".into()),
        ];
        let flags = [Flag {
            name: "--ca-dir",
            key: "ca.dir",
            values: vec!["flag".into()],
        }];
        let config = given_by(|schema, given| {
            file::add_text(Path::new("f"), text, schema, given);
            environment::add(&variables, schema, given);
            add_flags(&flags, given);
        })
        .expect("valid");
        assert_eq!(config.ca.dir, Path::new("flag"));
        assert_eq!(config.admin.listen[0].port(), 2);
        assert_eq!(config.tls.passthrough.len(), 1);
    }

    #[test]
    fn the_environment_in_sources_shows_its_names_only() {
        let sources = Sources {
            environment: vec![("BURDOCK_ADMIN__TOKEN".into(), "hush".into())],
            ..Sources::default()
        };
        let shown = format!("{sources:?}");
        assert!(
            shown.contains("BURDOCK_ADMIN__TOKEN") && !shown.contains("hush"),
            "{shown}"
        );
    }

    #[test]
    fn a_flag_is_named_in_its_mistake() {
        let sources = Sources {
            flags: vec![Flag {
                name: "--listen",
                key: "proxy.listen",
                values: vec!["127.0.0.1:0".into(), "x".into()],
            }],
            ..Sources::default()
        };
        let mistakes = load(&sources).expect_err("no address").to_string();
        assert!(
            mistakes.starts_with("--listen: `x` is not an address"),
            "{mistakes}"
        );
    }

    #[test]
    fn a_file_that_cannot_be_read_is_told() {
        let sources = Sources {
            file: Some("no/such/file.toml".into()),
            ..Sources::default()
        };
        let mistakes = load(&sources).expect_err("no file").to_string();
        assert!(
            mistakes.starts_with("no/such/file.toml: cannot be read: "),
            "{mistakes}"
        );
    }
}
