//! What is wrong with a MongoDB, and what to do, in words that hold no password and no value of a session.
//!
//! The server's own messages are not repeated: some of them quote the command, cookies included.

use std::io;

use mongodb::error::{Error, ErrorKind, WriteFailure};

/// Where the store is and which user's rights it takes, for the words of an error.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// The hosts, without user and password.
    pub(super) hosts: String,
    /// The database.
    pub(super) database: String,
}

impl Place {
    /// An error in words. `heartbeat` is why the driver last found no server, which its own error does not tell well.
    pub(super) fn explain(&self, error: &Error, heartbeat: Option<&Error>) -> String {
        let hosts = &self.hosts;
        match &*error.kind {
            ErrorKind::Authentication { .. } => self.refused(),
            ErrorKind::Command(failure) => self.explain_code(failure.code, &failure.code_name),
            ErrorKind::Write(WriteFailure::WriteError(failure)) => {
                let name = failure.code_name.as_deref().unwrap_or_default();
                self.explain_code(failure.code, name)
            }
            ErrorKind::Write(WriteFailure::WriteConcernError(failure)) => {
                self.explain_code(failure.code, &failure.code_name)
            }
            ErrorKind::ServerSelection { .. } => match heartbeat {
                Some(error) if !matches!(*error.kind, ErrorKind::ServerSelection { .. }) => {
                    self.explain(error, None)
                }
                _ => self.no_primary(),
            },
            ErrorKind::Io(error) => self.explain_io(error),
            ErrorKind::ConnectionPoolCleared { .. } => match heartbeat {
                Some(error) if matches!(*error.kind, ErrorKind::Io(_)) => self.explain(error, None),
                _ => format!("MongoDB at {hosts} broke the connection: check that it runs"),
            },
            ErrorKind::DnsResolve { message, .. } => format!(
                "the servers of `{hosts}` cannot be looked up ({message}): check `adapters.mongodb.uri`"
            ),
            ErrorKind::InvalidTlsConfig { message, .. } => {
                format!("the TLS options of `adapters.mongodb.uri` do not work: {message}")
            }
            ErrorKind::InvalidArgument { message, .. } => {
                format!("`adapters.mongodb.uri` does not work: {message}")
            }
            ErrorKind::IncompatibleServer { .. } => self.too_old(),
            _ => format!("MongoDB at {hosts} gave an answer that cannot be understood"),
        }
    }

    /// A server of before 4.4, or one that pretends to be.
    pub(super) fn too_old(&self) -> String {
        format!(
            "MongoDB at {} is too old: burdock needs version 4.4 or later",
            self.hosts
        )
    }

    /// No answer within the deadline.
    pub(super) fn silent(&self) -> String {
        format!(
            "MongoDB at {} does not answer: check that it runs and is not overloaded",
            self.hosts
        )
    }

    fn refused(&self) -> String {
        format!(
            "MongoDB at {} refuses the user or the password: check `adapters.mongodb.uri`, its `authSource` too",
            self.hosts
        )
    }

    fn no_primary(&self) -> String {
        format!(
            "MongoDB at {} has no primary that could be written to: check the state of the replica set",
            self.hosts
        )
    }

    fn explain_code(&self, code: i32, name: &str) -> String {
        let Self { hosts, database } = self;
        match code {
            AUTHENTICATION_FAILED | ATLAS_ERROR => self.refused(),
            UNAUTHORIZED => format!(
                "MongoDB at {hosts} denies what is needed: grant the user of `adapters.mongodb.uri` the role `readWrite` on \
                 `{database}`, or name a user there"
            ),
            NO_CHANGE_STREAMS => format!("MongoDB at {hosts} is no replica set"),
            _ if NO_PRIMARY.contains(&code) => self.no_primary(),
            WRITE_CONCERN_TIMEOUT | UNSATISFIABLE_WRITE_CONCERN => format!(
                "MongoDB at {hosts} cannot get a change acknowledged by the majority of its replica set: check that most of \
                 its members run"
            ),
            _ if TOO_LARGE.contains(&code) => String::from(
                "the session has outgrown the 16 MiB of a MongoDB document: remove cookies or storage of it, or keep such \
                 sessions in another adapter",
            ),
            OUT_OF_DISK_SPACE => format!("MongoDB at {hosts} has no disk space left: make some"),
            _ => format!(
                "MongoDB at {hosts} refuses a command with error {code} {name}: see its log"
            ),
        }
    }

    fn explain_io(&self, error: &io::Error) -> String {
        let hosts = &self.hosts;
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls {
            return format!(
                "TLS with MongoDB at {hosts} fails ({tls}): check `tls` and `tlsCAFile` in `adapters.mongodb.uri`"
            );
        }
        match error.kind() {
            io::ErrorKind::TimedOut => self.silent(),
            io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidData
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset => format!(
                "MongoDB at {hosts} closes the connection: check that it runs, and whether it wants `tls=true` in \
                 `adapters.mongodb.uri`"
            ),
            _ => format!(
                "MongoDB at {hosts} cannot be reached ({error}): check that it runs, and `adapters.mongodb.uri`"
            ),
        }
    }
}

/// Whether an error says that there is another document of that `_id`.
pub(super) fn is_duplicate(error: &Error) -> bool {
    code_of(error) == Some(DUPLICATE_KEY)
}

/// Whether the server answered, and refused: it has no change streams, or not for this user.
pub(super) fn is_refusal(error: &Error) -> bool {
    code_of(error).is_some_and(|code| !NO_PRIMARY.contains(&code))
}

fn code_of(error: &Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(failure) => Some(failure.code),
        ErrorKind::Write(WriteFailure::WriteError(failure)) => Some(failure.code),
        _ => None,
    }
}

// The server's `src/mongo/base/error_codes.yml`.
const UNAUTHORIZED: i32 = 13;
const AUTHENTICATION_FAILED: i32 = 18;
const WRITE_CONCERN_TIMEOUT: i32 = 64;
const UNSATISFIABLE_WRITE_CONCERN: i32 = 100;
const ATLAS_ERROR: i32 = 8000;
const DUPLICATE_KEY: i32 = 11_000;
const OUT_OF_DISK_SPACE: i32 = 14_031;
/// `BSONObjectTooLarge`, and what an update or an insertion answers that would make one.
const TOO_LARGE: [i32; 3] = [10_334, 17_419, 17_420];
/// `$changeStream` on a standalone server.
const NO_CHANGE_STREAMS: i32 = 40_573;
/// Not a primary (any more), shutting down, or not one yet.
const NO_PRIMARY: [i32; 7] = [91, 189, 10_107, 11_600, 11_602, 13_435, 13_436];

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn place() -> Place {
        Place {
            hosts: "db.example:27017".to_owned(),
            database: "burdock".to_owned(),
        }
    }

    #[test]
    fn codes_become_remedies() {
        for (code, words) in [
            (13, "the role `readWrite` on `burdock`"),
            (18, "refuses the user or the password"),
            (64, "majority"),
            (10_334, "16 MiB"),
            (10_107, "no primary"),
            (14_031, "disk space"),
            (4711, "error 4711 Strange"),
        ] {
            let said = place().explain_code(code, "Strange");
            assert!(said.contains(words), "{code}: {said}");
        }
    }

    #[test]
    fn a_connection_that_fails_says_how() {
        let refused = Error::from(io::Error::from(io::ErrorKind::ConnectionRefused));
        let said = place().explain(&refused, None);
        assert!(said.contains("db.example:27017 cannot be reached (connection refused)"));
        let tls = rustls::Error::InvalidCertificate(rustls::CertificateError::UnknownIssuer);
        let tls = Error::from(ErrorKind::Io(Arc::new(io::Error::other(tls))));
        let said = place().explain(&tls, None);
        assert!(
            said.contains("UnknownIssuer") && said.contains("tlsCAFile"),
            "{said}"
        );
    }
}
