//! Who is asking, as operations see it.

/// The caller: kind, partner, client, subject, scope. It is also an axum extractor, so a handler
/// takes `caller: Caller` and hands `&caller` to its operation.
pub use guard::Caller;
