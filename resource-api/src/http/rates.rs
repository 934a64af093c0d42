//! How often a network and a client may change something: a layer before the guard and one behind it.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chassis::http::{ClientAddress, Problem};
use guard::Presented;

use crate::app::App;

/// Counts the network of a request that may change something, before any of it is verified.
pub(super) async fn of_network(State(app): State<App>, request: Request, next: Next) -> Response {
    let counted = match ClientAddress::of(request.extensions()) {
        Some(address) if !request.method().is_safe() => app.rates.count_network(address.0),
        _ => Ok(()),
    };
    match counted {
        Ok(()) => next.run(request).await,
        Err(too_many) => Problem::from(too_many).into_response(),
    }
}

/// Counts the client of a request that may change something, once its token has been verified.
pub(super) async fn of_client(State(app): State<App>, request: Request, next: Next) -> Response {
    let counted = match request.extensions().get::<Presented>() {
        Some(Presented::Caller(caller)) if !request.method().is_safe() => {
            app.rates.count_client(&caller.client_id)
        }
        _ => Ok(()),
    };
    match counted {
        Ok(()) => next.run(request).await,
        Err(too_many) => Problem::from(too_many).into_response(),
    }
}
