//! HTTP as every service of ours speaks it.
//!
//! [`layered`] puts one gate in front of a router: it names the request, refuses what is too large, compressed,
//! or addressed to another host, reads the body once, and turns panics and overruns into problem details
//! (RFC 9457). The extractors then never meet a body that is still on its way, so all of them are
//! `FromRequestParts`. [`serve`] is the accept loop with its deadlines.

mod connection;
mod error_id;
mod form;
mod form_values;
mod gate;
mod json;
mod listener;
mod origin;
mod places;
mod problem;
mod proxies;
mod rate;
mod received;
mod serve;
mod stats;
mod stream;
mod tls;

pub use error_id::{ErrorId, RequestNotes};
pub use form::{StrictForm, StrictQuery};
pub use gate::{HttpOptions, layered};
pub use json::StrictJson;
pub use listener::ListenerConfig;
pub use origin::{BadOrigin, Origin, TargetUri};
pub use problem::{
    BadInput, Problem, RefusalCode, bad_request, conflict, forbidden, internal, not_found, unauthorized,
    unavailable, unprocessable,
};
pub use proxies::{ClientAddress, ForwardedHeader, TrustedProxies};
pub use rate::{Rate, RateLimiter, RateLimits, TooMany};
pub use received::{PeerAddress, RawBody};
pub use serve::{ServeOptions, serve};
pub use tls::{BadCertificate, BadName, BadTls, ClientCertificate, DistinguishedName, Tls, TlsFiles};
