//! What a failed store step says.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use sqlx::sqlite::SqliteError;

/// The store (or another machine below a rule) failed: what was being done, and the cause.
///
/// A fault is never a protocol answer. The unit that met it is rolled back, and the caller of the service
/// sees 503 when trying again can help, 500 otherwise. `Display` holds the whole chain and is for the log.
#[derive(Clone)]
pub struct Fault {
    doing: Cow<'static, str>,
    kind: Kind,
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

/// What kind of trouble it was, as far as callers and the writer care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Another process holds a lock.
    Busy,
    /// The database asks for the transaction to be run again (SQLSTATE 40001, 40P01).
    Serialization,
    /// No connection became free in time.
    Pool,
    /// A limit of time was reached.
    Timeout,
    /// A queue or the disk is full.
    Full,
    /// The database takes no writes for now: it is read-only.
    ReadOnly,
    /// The disk fails.
    Disk,
    /// The connection was lost.
    Lost,
    /// This `Db` was closed.
    Closed,
    /// The unit panicked: it is the unit's own doing, whoever shared its group.
    Panicked,
    /// Anything else: a mistake of ours or broken data.
    Other,
}

impl Fault {
    /// A fault of our own finding, for example a row that does not parse.
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self { doing: text.into(), kind: Kind::Other, cause: None }
    }

    /// What a unit saw first was changed by another transaction before the unit wrote: it is to be run again from its
    /// beginning, as after a serialisation failure. On SQLite, where one unit writes at a time, it cannot happen.
    pub fn overtaken(text: &'static str) -> Self {
        Self::of(Kind::Serialization, text)
    }

    pub(crate) fn of(kind: Kind, text: &'static str) -> Self {
        Self { doing: Cow::Borrowed(text), kind, cause: None }
    }

    /// Whether the same step may well succeed a little later: a lock, a full queue, a lost connection.
    pub fn is_retryable(&self) -> bool {
        !matches!(self.kind, Kind::Other | Kind::Panicked)
    }

    /// The same fault of a read. There nothing may be written, so that it was tried is a mistake of ours and no trouble
    /// that passes.
    pub(crate) fn of_read(self) -> Self {
        if self.kind == Kind::ReadOnly { Self { kind: Kind::Other, ..self } } else { self }
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

/// Turns a driver's (or any) error into a [`Fault`] that says what was being done, as an imperative:
/// `.map_err(while_doing("insert authorization code"))`.
pub fn while_doing<E: Error + Send + Sync + 'static>(doing: &'static str) -> impl Fn(E) -> Fault {
    move |cause| Fault { doing: Cow::Borrowed(doing), kind: classify(&cause), cause: Some(Arc::new(cause)) }
}

fn classify(cause: &(dyn Error + 'static)) -> Kind {
    if let Some(fault) = cause.downcast_ref::<Fault>() {
        return fault.kind;
    }
    match cause.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::PoolTimedOut) => Kind::Pool,
        Some(sqlx::Error::PoolClosed) => Kind::Closed,
        Some(sqlx::Error::Io(_) | sqlx::Error::WorkerCrashed) => Kind::Lost,
        Some(sqlx::Error::Database(refusal)) => {
            let code = refusal.code().unwrap_or_default();
            if refusal.try_downcast_ref::<SqliteError>().is_some() {
                sqlite_kind(code.parse().unwrap_or(0))
            } else {
                postgres_kind(&code)
            }
        }
        _ => Kind::Other,
    }
}

/// By SQLite's primary result code, the low byte of the extended one.
fn sqlite_kind(code: i32) -> Kind {
    match code & 0xff {
        5 | 6 => Kind::Busy,
        9 => Kind::Timeout,
        8 => Kind::ReadOnly,
        10 => Kind::Disk,
        13 => Kind::Full,
        _ => Kind::Other,
    }
}

/// By SQLSTATE (PostgreSQL manual, appendix A).
fn postgres_kind(code: &str) -> Kind {
    match code {
        "40001" | "40P01" => Kind::Serialization,
        "55P03" => Kind::Busy,
        "57014" | "25P03" => Kind::Timeout,
        "25006" => Kind::ReadOnly,
        "57P01" | "57P02" | "57P03" => Kind::Lost,
        code if code.starts_with("53") => Kind::Full,
        code if code.starts_with("08") => Kind::Lost,
        _ => Kind::Other,
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.doing)?;
        let mut next = self.cause.as_deref().map(|cause| cause as &(dyn Error + 'static));
        while let Some(cause) = next {
            write!(f, ": {cause}")?;
            next = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({self}; {:?})", self.kind)
    }
}

/// `source` stays empty because `Display` already holds the chain.
impl Error for Fault {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_says_what_was_being_done_and_why_it_failed() {
        let fault = while_doing("insert code")(sqlx::Error::PoolTimedOut);
        assert!(fault.to_string().starts_with("insert code: pool timed out"), "{fault}");
        let outer = while_doing("answer the token request")(fault);
        assert!(outer.to_string().starts_with("answer the token request: insert code: pool"), "{outer}");
        assert!(outer.is_retryable());
    }

    #[test]
    fn only_passing_trouble_is_retryable() {
        assert!(while_doing("read")(sqlx::Error::Io(std::io::Error::other("reset"))).is_retryable());
        assert!(!while_doing("read")(sqlx::Error::RowNotFound).is_retryable());
        assert!(!Fault::new("state is neither next nor active").is_retryable());
    }

    #[test]
    fn codes_of_both_databases_are_told_apart() {
        let cases = [("40001", Kind::Serialization), ("40P01", Kind::Serialization), ("55P03", Kind::Busy)];
        for (code, kind) in cases {
            assert_eq!(postgres_kind(code), kind, "{code}");
        }
        let more = [
            ("57014", Kind::Timeout),
            ("25006", Kind::ReadOnly),
            ("53300", Kind::Full),
            ("08006", Kind::Lost),
            ("23505", Kind::Other),
        ];
        for (code, kind) in more {
            assert_eq!(postgres_kind(code), kind, "{code}");
        }
        for (code, kind) in
            [(5, Kind::Busy), (517, Kind::Busy), (8, Kind::ReadOnly), (13, Kind::Full), (2067, Kind::Other)]
        {
            assert_eq!(sqlite_kind(code), kind, "{code}");
        }
    }
}
