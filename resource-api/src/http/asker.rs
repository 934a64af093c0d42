//! Whose request was refused, for the audit.

use axum::extract::State;
use axum::response::Response;
use chassis::http::RequestNotes;
use guard::{Standing, TokenClient};

use crate::app::App;

/// Notes the client that a refused request came from, as far as its credential said.
pub(super) async fn note(State(app): State<App>, response: Response) -> Response {
    let status = response.status();
    if (status.is_client_error() || status.is_server_error())
        && let Some(TokenClient(client_id)) = response.extensions().get::<TokenClient>()
    {
        let standing = app.directory.client(client_id);
        RequestNotes::asker(client_id, standing.as_ref().map_or("", |client| client.partner_id.as_str()), "");
    }
    response
}
