//! How a refused operation looks over HTTP: the one place where [`Refusal`] meets [`Problem`] (RFC 9457).
//!
//! A handler returns `Result<_, Problem>`; a `Fault` and a `Refusal` both turn into one with `?`, so
//! `app.db.write_or_undo(..).await??` reads: first the store failed, then the rule refused.

use chassis::http::Problem;
use http::StatusCode;

use crate::domain::refusal::{Class, Refusal};

/// The status of a class of refusals.
pub fn status(class: Class) -> StatusCode {
    match class {
        Class::BadRequest => StatusCode::BAD_REQUEST,
        Class::Unauthorized => StatusCode::UNAUTHORIZED,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::Conflict => StatusCode::CONFLICT,
        Class::Unprocessable => StatusCode::UNPROCESSABLE_ENTITY,
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let detail = match &refusal.existing_id {
            Some(id) => format!("{}: {id}", refusal.detail),
            None => refusal.detail,
        };
        let mut problem = Problem::new(status(refusal.class), refusal.code, detail);
        for field in refusal.fields {
            problem = problem.field(field.pointer, field.code);
        }
        match refusal.class {
            Class::Unauthorized => problem.challenge("Bearer error=\"invalid_token\""),
            Class::Unavailable => problem.retry_after(1),
            _ => problem,
        }
    }
}
