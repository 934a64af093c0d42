//! Why an operation was not done, in words that do not name HTTP. `http` maps it to a problem document (RFC 9457),
//! a dialect to its vendor's error.

/// What kind of refusal it is; decides the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request does not parse or lacks something it must have (400).
    BadRequest,
    /// The credential does not carry this request (401).
    Unauthorized,
    /// The caller may not do this (403).
    Forbidden,
    /// No such thing, or another tenant's (404).
    NotFound,
    /// The state of the thing, or an equal thing, stands in the way (409).
    Conflict,
    /// The request is well formed, a value in it is refused (422).
    Unprocessable,
    /// Something this operation needs is not there now; trying again helps (503).
    Unavailable,
}

/// One place in the request and what is wrong there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// JSON pointer into the request body (RFC 6901).
    pub pointer: String,
    /// Stable code.
    pub code: &'static str,
}

/// A refusal: stable code, sentence for a human, pointers. It never carries personal data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {detail}")]
pub struct Refusal {
    /// What kind of refusal it is.
    pub class: Class,
    /// Stable code, part of the contract.
    pub code: &'static str,
    /// A sentence for the caller.
    pub detail: String,
    /// The places in the request it is about.
    pub fields: Vec<Field>,
    /// The id of the thing that is there already, where that helps the caller.
    pub existing_id: Option<String>,
}

impl Refusal {
    /// A refusal of any class.
    pub fn new(class: Class, code: &'static str, detail: impl Into<String>) -> Self {
        Self { class, code, detail: detail.into(), fields: Vec::new(), existing_id: None }
    }

    /// 404: no such thing, or another tenant's; the two look the same.
    pub fn not_found(what: &str) -> Self {
        Self::new(Class::NotFound, "not_found", format!("there is no such {what}"))
    }

    /// 409: the state of things stands in the way.
    pub fn conflict(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Class::Conflict, code, detail)
    }

    /// 422: the value at `pointer` is refused.
    pub fn unprocessable(code: &'static str, pointer: &str, detail: impl Into<String>) -> Self {
        Self::new(Class::Unprocessable, code, detail).at(pointer, code)
    }

    /// 400: the request cannot be read as what it must be.
    pub fn bad_request(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Class::BadRequest, code, detail)
    }

    /// 403: the caller may not do this.
    pub fn forbidden(code: &'static str, detail: impl Into<String>) -> Self {
        Self::new(Class::Forbidden, code, detail)
    }

    /// Adds a place in the request.
    #[must_use]
    pub fn at(mut self, pointer: &str, code: &'static str) -> Self {
        self.fields.push(Field { pointer: pointer.to_owned(), code });
        self
    }

    /// Names the thing that is there already.
    #[must_use]
    pub fn existing(mut self, id: impl Into<String>) -> Self {
        self.existing_id = Some(id.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_value_carries_its_pointer() {
        let refusal =
            Refusal::unprocessable("amount_not_positive", "/money/amount", "an amount is above zero");
        assert_eq!(refusal.class, Class::Unprocessable);
        assert_eq!(
            refusal.fields,
            [Field { pointer: "/money/amount".to_owned(), code: "amount_not_positive" }]
        );
    }

    #[test]
    fn a_missing_thing_does_not_say_whose_it_is() {
        let refusal = Refusal::not_found("entity");
        assert_eq!((refusal.class, refusal.code), (Class::NotFound, "not_found"));
        assert_eq!(refusal.detail, "there is no such entity");
    }
}
