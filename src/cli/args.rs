//! What the command line says, and where the configuration therefore comes from.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::{LevelFilter, Targets};

use crate::config::{Flag, Sources};

/// What a process was asked to do.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) command: Command,
    pub(super) sources: Sources,
}

/// A command with what only it needs; the configuration tells the rest.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Serve until told to stop.
    Serve(Logging),
    /// Say whether the configuration is valid.
    Check,
    /// Show the CA.
    Ca(CaPart),
}

/// How to log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Logging {
    pub(super) level: LogLevel,
    pub(super) format: LogFormat,
}

impl Invocation {
    /// What this process was asked to do. A command line that is wrong, or that asks for help, ends it.
    pub(super) fn of_process() -> Self {
        Self::parse(std::env::args_os(), std::env::vars_os()).unwrap_or_else(|error| error.exit())
    }

    fn parse(
        arguments: impl IntoIterator<Item = OsString>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, clap::Error> {
        let cli = Cli::try_parse_from(arguments)?;
        let is_ours =
            |(name, _): &(OsString, OsString)| name.to_string_lossy().starts_with("BURDOCK_");
        let environment: Vec<_> = environment.into_iter().filter(is_ours).collect();

        let (serve, command) = match cli.command {
            None => (cli.serve, None),
            Some(CommandLine::Serve(serve)) => (cli.serve.followed_by(serve), None),
            Some(CommandLine::Check) => (cli.serve, Some(Command::Check)),
            Some(CommandLine::Ca { part }) => (cli.serve, Some(Command::Ca(part))),
        };
        if command.is_some() && serve != Serve::default() {
            let problem =
                "--listen, --admin-listen, --log and --log-format are for `burdock serve` only";
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, problem));
        }
        let level = match serve.log {
            Some(level) => Some(level),
            None => word_in(&environment, "BURDOCK_LOG")?,
        };
        let format = match serve.log_format {
            Some(format) => Some(format),
            None => word_in(&environment, "BURDOCK_LOG_FORMAT")?,
        };
        let logging = Logging {
            level: level.unwrap_or_default(),
            format: format.unwrap_or_default(),
        };
        let file = cli
            .everywhere
            .config
            .or_else(|| variable(&environment, "BURDOCK_CONFIG").map(PathBuf::from));
        let flag = |name, key, values: Vec<String>| {
            (!values.is_empty()).then_some(Flag { name, key, values })
        };
        let flags = [
            flag("--listen", "proxy.listen", serve.listen),
            flag("--admin-listen", "admin.listen", serve.admin_listen),
            flag(
                "--ca-dir",
                "ca.dir",
                cli.everywhere.ca_dir.into_iter().collect(),
            ),
        ];
        Ok(Self {
            command: command.unwrap_or(Command::Serve(logging)),
            sources: Sources {
                file,
                environment,
                flags: flags.into_iter().flatten().collect(),
            },
        })
    }
}

/// A forward proxy for scrapers that keeps a session one visitor.
///
/// What `X-Session-ID` (or the proxy's user name) names has cookies, limits, connections and a user
/// agent of its own. Without a command burdock serves; it needs no config file and nothing else that
/// runs.
#[derive(Debug, Parser)]
#[command(name = "burdock", version, after_help = EXAMPLES, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    everywhere: Everywhere,
    #[command(flatten)]
    serve: Serve,
    #[command(subcommand)]
    command: Option<CommandLine>,
}

/// For every command.
#[derive(Debug, Args)]
struct Everywhere {
    /// Config file, TOML; none is read unless named here or by BURDOCK_CONFIG
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Folder of the CA's certificate and key; made on first start [default: certs]
    #[arg(long, global = true, value_name = "DIR")]
    ca_dir: Option<String>,
}

/// For serving.
#[derive(Debug, Default, PartialEq, Eq, Args)]
struct Serve {
    /// Address of the proxy, port 0 for a free one; may be repeated (default: port 8080 of both loopbacks)
    #[arg(long, value_name = "ADDR")]
    listen: Vec<String>,
    /// Address of the admin API; may be repeated (default: port 3001 of both loopbacks)
    #[arg(long, value_name = "ADDR")]
    admin_listen: Vec<String>,
    /// How much to log; also by BURDOCK_LOG [default: info]
    #[arg(long, value_name = "LEVEL")]
    log: Option<LogLevel>,
    /// How to write the log; also by BURDOCK_LOG_FORMAT [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl Serve {
    /// Flags may stand before and after `serve`.
    fn followed_by(mut self, after: Self) -> Self {
        self.listen.extend(after.listen);
        self.admin_listen.extend(after.admin_listen);
        self.log = after.log.or(self.log);
        self.log_format = after.log_format.or(self.log_format);
        self
    }
}

#[derive(Debug, Subcommand)]
enum CommandLine {
    /// Serve the proxy and the admin API (this is what burdock does without a command)
    Serve(Serve),
    /// Say whether the configuration is valid, and every mistake if not
    Check,
    /// Show the certificate authority that clients have to trust
    Ca {
        #[command(subcommand)]
        part: CaPart,
    },
}

/// What to show of the CA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(super) enum CaPart {
    /// Print where the CA's certificate is
    Path,
    /// Print the CA's certificate, PEM
    Print,
    /// Print the SHA-256 fingerprint of the CA's certificate
    Fingerprint,
    /// Print the SHA-256 of its public key, for --ignore-certificate-errors-spki-list of a remote browser
    Spki,
}

/// How much of burdock's own work is logged. Of its libraries only warnings are: they show headers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(super) enum LogLevel {
    /// Nothing
    Off,
    /// Defects and losses
    Error,
    /// Also what the operator can act upon
    Warn,
    /// Also the birth and death of listeners and stores
    #[default]
    Info,
    /// Also each exchange
    Debug,
    /// Also how bytes move
    Trace,
}

impl LogLevel {
    /// What of all that is said passes.
    pub(super) fn targets(self) -> Targets {
        let level = match self {
            Self::Off => LevelFilter::OFF,
            Self::Error => LevelFilter::ERROR,
            Self::Warn => LevelFilter::WARN,
            Self::Info => LevelFilter::INFO,
            Self::Debug => LevelFilter::DEBUG,
            Self::Trace => LevelFilter::TRACE,
        };
        Targets::new()
            .with_default(level.min(LevelFilter::WARN))
            .with_target("burdock", level)
    }
}

/// How the log is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub(super) enum LogFormat {
    /// Lines for people
    #[default]
    Text,
    /// A JSON object a line
    Json,
}

/// The value of a variable that is set to something.
fn variable<'a>(environment: &'a [(OsString, OsString)], name: &str) -> Option<&'a OsStr> {
    environment
        .iter()
        .find(|(candidate, value)| candidate.to_str() == Some(name) && !value.is_empty())
        .map(|(_, value)| value.as_os_str())
}

/// The same where it is one of a few words.
fn word_in<T: ValueEnum>(
    environment: &[(OsString, OsString)],
    name: &str,
) -> Result<Option<T>, clap::Error> {
    let Some(value) = variable(environment, name) else {
        return Ok(None);
    };
    let value = value.to_string_lossy();
    T::from_str(&value, false).map(Some).map_err(|_| {
        let words = T::value_variants()
            .iter()
            .filter_map(ValueEnum::to_possible_value);
        let words: Vec<String> = words.map(|word| word.get_name().to_owned()).collect();
        let problem = format!("{name}: must be one of {}, not {value:?}", words.join(", "));
        Cli::command().error(ErrorKind::InvalidValue, problem)
    })
}

const EXAMPLES: &str = "\
Examples:
  burdock
  curl -x http://a:@127.0.0.1:8080 --cacert certs/burdock-ca.pem https://example.com/
  burdock --config burdock.toml --listen 127.0.0.1:0
  burdock check --config burdock.toml

Every key of the config file may be set by the environment too: BURDOCK_PROXY__IDLE_TIMEOUT=30s.
Flags take precedence over the environment, and that over the file.";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn parse(line: &str, environment: &[(&str, &str)]) -> Result<Invocation, clap::Error> {
        let arguments = line.split(' ').map(OsString::from);
        let environment = environment
            .iter()
            .map(|(name, value)| (name.into(), value.into()));
        Invocation::parse(arguments, environment)
    }

    fn invocation(line: &str) -> Invocation {
        parse(line, &[]).expect(line)
    }

    fn refusal(line: &str) -> String {
        let error = parse(line, &[]).expect_err(line);
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn the_definitions_are_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn burdock_serves_where_no_command_is_given() {
        let serve = Command::Serve(Logging::default());
        for line in ["burdock", "burdock serve"] {
            let Invocation { command, sources } = invocation(line);
            assert_eq!(command, serve, "{line}");
            assert_eq!((sources.file, sources.flags), (None, Vec::new()), "{line}");
        }
        let flag = |name, key, values: &[&str]| Flag {
            name,
            key,
            values: values.iter().map(|&value| value.to_owned()).collect(),
        };
        let wanted = [
            flag("--listen", "proxy.listen", &["a", "b"]),
            flag("--admin-listen", "admin.listen", &["c"]),
            flag("--ca-dir", "ca.dir", &["d"]),
        ];
        for line in [
            "burdock --listen a --listen b --admin-listen c --ca-dir d",
            "burdock serve --listen a --listen b --admin-listen c --ca-dir d",
            "burdock --listen a --ca-dir d serve --listen b --admin-listen c",
        ] {
            assert_eq!(invocation(line).sources.flags, wanted, "{line}");
        }
    }

    #[test]
    fn every_command_takes_config_and_ca_dir() {
        for line in [
            "burdock --config f --ca-dir d",
            "burdock serve --config f --ca-dir d",
            "burdock check --config f --ca-dir d",
            "burdock --config f check --ca-dir d",
            "burdock ca --config f path --ca-dir d",
            "burdock --config f --ca-dir d ca print",
        ] {
            let sources = invocation(line).sources;
            assert_eq!(sources.file.as_deref(), Some(Path::new("f")), "{line}");
            assert_eq!(sources.flags[0].values, ["d"], "{line}");
        }
    }

    #[test]
    fn the_flags_of_serving_are_refused_elsewhere() {
        for line in ["burdock --listen a check", "burdock --log debug ca path"] {
            assert!(
                refusal(line).contains("are for `burdock serve` only"),
                "{line}"
            );
        }
        assert!(refusal("burdock check --listen a").contains("unexpected argument '--listen'"));
    }

    #[test]
    fn a_typo_is_answered_with_what_was_meant() {
        for (line, meant) in [
            ("burdock --lisen a", "'--listen'"),
            ("burdock --confg f check", "'--config'"),
            ("burdock chek", "'check'"),
            ("burdock ca fingerprnt", "'fingerprint'"),
            ("burdock --log inf", "'info'"),
        ] {
            assert!(refusal(line).contains(meant), "{line}: {}", refusal(line));
        }
    }

    #[test]
    fn flags_precede_the_environment() {
        let environment = [
            ("BURDOCK_CONFIG", "e"),
            ("BURDOCK_LOG", "warn"),
            ("BURDOCK_LOG_FORMAT", "json"),
            ("BURDOCK_CA__DIR", "x"),
            ("HOME", "y"),
        ];
        let by_environment = parse("burdock", &environment).expect("valid");
        assert_eq!(by_environment.sources.file.as_deref(), Some(Path::new("e")));
        assert_eq!(by_environment.sources.environment.len(), 4);
        let logging = Logging {
            level: LogLevel::Warn,
            format: LogFormat::Json,
        };
        assert_eq!(by_environment.command, Command::Serve(logging));

        let line = "burdock --config f --log trace --log-format text";
        let by_flag = parse(line, &environment).expect("valid");
        assert_eq!(by_flag.sources.file.as_deref(), Some(Path::new("f")));
        let logging = Logging {
            level: LogLevel::Trace,
            format: LogFormat::Text,
        };
        assert_eq!(by_flag.command, Command::Serve(logging));
    }

    #[test]
    fn a_variable_with_a_wrong_word_is_named_and_an_empty_one_is_unset() {
        let error = parse("burdock", &[("BURDOCK_LOG", "loud")]).expect_err("no level");
        assert_eq!(error.exit_code(), 2);
        let wanted =
            "BURDOCK_LOG: must be one of off, error, warn, info, debug, trace, not \"loud\"";
        assert!(error.to_string().contains(wanted), "{error}");
        let empty = [
            ("BURDOCK_LOG", ""),
            ("BURDOCK_CONFIG", ""),
            ("BURDOCK_LOG_FORMAT", ""),
        ];
        let invocation = parse("burdock", &empty).expect("valid");
        assert_eq!(invocation.command, Command::Serve(Logging::default()));
        assert_eq!(invocation.sources.file, None);
    }

    #[test]
    fn help_and_version_are_no_mistakes() {
        for line in [
            "burdock --help",
            "burdock check --help",
            "burdock ca --help",
            "burdock --version",
        ] {
            assert_eq!(parse(line, &[]).expect_err(line).exit_code(), 0, "{line}");
        }
    }

    #[test]
    fn libraries_are_heard_when_they_warn() {
        use tracing_subscriber::filter::LevelFilter as Level;
        let passes = |level: LogLevel, target: &str, at: Level| {
            let at = at.into_level().expect("a level");
            level.targets().would_enable(target, &at)
        };
        assert!(passes(LogLevel::Trace, "burdock::exchange", Level::TRACE));
        assert!(!passes(LogLevel::Info, "burdock::exchange", Level::DEBUG));
        assert!(passes(LogLevel::Trace, "h2::codec", Level::WARN));
        assert!(!passes(LogLevel::Trace, "h2::codec", Level::INFO));
        assert!(!passes(LogLevel::Error, "h2::codec", Level::WARN));
        assert!(!passes(LogLevel::Off, "burdock", Level::ERROR));
    }
}
