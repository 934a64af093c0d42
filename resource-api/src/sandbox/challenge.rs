//! The page on which a payer proves to the bank who they are: two buttons, no script.

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use http::StatusCode;

use super::record::Outcome;
use super::server::Sandbox;

/// `GET /challenge/{reference}`.
pub(super) async fn page(State(sandbox): State<Sandbox>, Path(reference): Path<String>) -> Response {
    let waits = sandbox.lock().record.find(&reference).is_some_and(|charge| is_waiting(&charge.outcome));
    if !waits {
        return said(StatusCode::NOT_FOUND, "There is nothing to confirm.");
    }
    said(
        StatusCode::OK,
        "<form method=\"post\"><button name=\"outcome\" value=\"confirm\">Confirm the payment</button> \
         <button name=\"outcome\" value=\"fail\">Fail</button></form>",
    )
}

/// `POST /challenge/{reference}` with `outcome=confirm` or `outcome=fail`.
pub(super) async fn decide(
    State(sandbox): State<Sandbox>,
    Path(reference): Path<String>,
    body: Bytes,
) -> Response {
    let decided = match &*body {
        b"outcome=confirm" => sandbox.confirm(&reference),
        b"outcome=fail" => sandbox.fail(&reference),
        _ => return said(StatusCode::BAD_REQUEST, "Confirm or fail."),
    };
    if decided {
        let charge = sandbox.lock().record.find(&reference).cloned();
        if let Some(charge) = charge {
            sandbox.tell(&charge).await;
        }
        said(StatusCode::OK, "Thank you. You can close this page.")
    } else {
        said(StatusCode::NOT_FOUND, "There is nothing to confirm.")
    }
}

impl Sandbox {
    /// The payer proves who they are: the money is collected, or reserved if the script says so. `false`: the charge
    /// does not wait for it.
    pub fn confirm(&self, reference: &str) -> bool {
        let authorizes = self.lock().authorizes.contains(reference);
        self.decide(reference, if authorizes { Outcome::Authorized } else { Outcome::Captured })
    }

    /// The payer fails to. `false`: the charge does not wait for it.
    pub fn fail(&self, reference: &str) -> bool {
        self.decide(reference, Outcome::Declined { decline_code: "authentication_failed".to_owned() })
    }

    fn decide(&self, reference: &str, outcome: Outcome) -> bool {
        let mut memory = self.lock();
        let waits = memory.record.find(reference).is_some_and(|charge| is_waiting(&charge.outcome));
        waits && memory.record.turn(reference, outcome).is_ok_and(|turned| turned.is_some())
    }
}

fn is_waiting(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::RequiresAction { .. })
}

fn said(status: StatusCode, text: &str) -> Response {
    let page = format!("<!doctype html><meta charset=\"utf-8\"><title>Test bank</title><p>{text}</p>");
    (status, Html(page)).into_response()
}
