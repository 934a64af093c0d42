//! Other ways to write a delivery than Standard Webhooks, for the endpoints that ask for one.

use futures_util::future::BoxFuture;

use super::events::StoredEvent;
use crate::Fault;

/// What an envelope makes of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Send this body.
    Body {
        /// Its media type.
        content_type: &'static str,
        /// The body.
        text: String,
    },
    /// The format has no words for an event of this kind: nothing is sent, the delivery is skipped.
    Nothing,
    /// It cannot be written now. The delivery is tried again like one that was not answered; the text says why and
    /// carries no secret.
    NotNow(&'static str),
}

/// Writes the deliveries of endpoints whose format is not [`STANDARD`](super::STANDARD).
///
/// It is asked anew for each attempt, so that a recipient's new key counts from the next attempt on. The event and
/// with it the `webhook-id` stay the same.
pub trait Envelope: Send + Sync {
    /// Writes `event` in `format` for the client `recipient`.
    fn write<'a>(
        &'a self,
        format: &'a str,
        recipient: &'a str,
        event: &'a StoredEvent,
    ) -> BoxFuture<'a, Result<Written, Fault>>;
}
