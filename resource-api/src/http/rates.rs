//! How often a network and a client may change something: a layer before the guard and one behind it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chassis::http::{ClientAddress, Problem, TooMany};
use guard::Presented;

use crate::app::App;
use crate::dialects::pti::PtiRefusal;

/// Counts the network of a request that may change something, before any of it is verified.
pub(super) async fn of_network(State(app): State<App>, request: Request, next: Next) -> Response {
    let in_vendors_shape = is_vendors(&request);
    let counted = match ClientAddress::of(request.extensions()) {
        Some(address) if !request.method().is_safe() => app.rates.count_network(address.0),
        _ => Ok(()),
    };
    match counted {
        Ok(()) => next.run(request).await,
        Err(too_many) => refused(too_many, in_vendors_shape),
    }
}

/// Counts the client of a request that may change something, once its token has been verified.
pub(super) async fn of_client(State(app): State<App>, request: Request, next: Next) -> Response {
    let in_vendors_shape = is_vendors(&request);
    let counted = match request.extensions().get::<Presented>() {
        Some(Presented::Caller(caller)) if !request.method().is_safe() => {
            app.rates.count_client(&caller.client_id)
        }
        _ => Ok(()),
    };
    match counted {
        Ok(()) => next.run(request).await,
        Err(too_many) => refused(too_many, in_vendors_shape),
    }
}

/// A vendor's client says who it is in a header of its own.
fn is_vendors(request: &Request) -> bool {
    request.headers().contains_key("x-pti-client-id")
}

fn refused(too_many: TooMany, in_vendors_shape: bool) -> Response {
    if in_vendors_shape {
        PtiRefusal::from(too_many).into_response()
    } else {
        Problem::from(too_many).into_response()
    }
}
