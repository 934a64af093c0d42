//! Responses that are signed for whoever asks (RFC 9421 §5): the proof of what was answered to which request.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use chassis::http::Problem;
use chassis::while_doing;
use http::{HeaderName, HeaderValue, StatusCode, request, response};
use keys::http_signature::reply::{Reply, Wanted, sign, wanted};
use keys::http_signature::{Message, SignedHeaders};

use crate::app::App;
use crate::auth::facts;

/// Largest answer that is signed: more than any of this service's.
const REPLY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Signs the response if its request asks for it, and leaves it alone otherwise.
pub(super) async fn sign_if_asked(State(app): State<App>, request: Request, next: Next) -> Response {
    let Some(wanted) = wanted(request.headers()) else { return next.run(request).await };
    let (asked, body) = request.into_parts();
    let response = next.run(Request::from_parts(asked.clone(), body)).await;
    let (mut parts, body) = response.into_parts();
    let signed = match to_bytes(body, REPLY_BYTES_MAX).await.map_err(while_doing("read an answer")) {
        Ok(body) => signature(&app, &wanted, &asked, (&parts, &body)).map(|signed| (signed, body)),
        Err(fault) => Err(fault.to_string()),
    };
    match signed {
        Ok((signed, body)) => {
            add(&mut parts, signed);
            Response::from_parts(parts, Body::from(body))
        }
        Err(reason) => {
            let detail = "What was asked for may be done, but the answer could not be signed: ask for its state, or                           send the same request again.";
            let problem = Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail);
            problem.because(format!("an answer was not signed: {reason}")).into_response()
        }
    }
}

fn signature(
    app: &App,
    wanted: &Wanted,
    asked: &request::Parts,
    (parts, body): (&response::Parts, &Bytes),
) -> Result<SignedHeaders, String> {
    let facts = facts(asked).ok_or("the target URI of the request is not known")?;
    let message = Message {
        method: asked.method.as_str(),
        authority: &facts.authority,
        path: &facts.path,
        query: facts.query.as_deref(),
        headers: &asked.headers,
        body: &facts.body,
    };
    let reply = Reply { status: parts.status.as_u16(), body, request: &message };
    sign(&app.keyring.active(), app.platform.now(), wanted, &reply).map_err(|fault| fault.to_string())
}

fn add(parts: &mut response::Parts, signed: SignedHeaders) {
    let fields = [
        ("content-digest", signed.content_digest),
        ("signature-input", Some(signed.signature_input)),
        ("signature", Some(signed.signature)),
    ];
    for (name, value) in fields {
        if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
            parts.headers.insert(HeaderName::from_static(name), value);
        }
    }
}
