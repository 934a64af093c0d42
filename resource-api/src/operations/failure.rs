//! How an operation ends that did not do what was asked.

use chassis::Fault;
use chassis::http::Problem;

use crate::domain::refusal::Refusal;

/// A refusal (the caller's business) or a fault (ours).
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The rules say no.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The store failed; nothing was done.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => refusal.into(),
            Failure::Fault(fault) => fault.into(),
        }
    }
}
