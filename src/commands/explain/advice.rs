//! What to do about a refusal, by its code.

/// Where no row is found.
pub(super) const NOT_FOUND: &str = "\
Perhaps: it is younger than two seconds; it is older than 7 days; it is not of these databases; or it was one of very many
refusals of one client for one reason within a minute, of which 20 have a row each and the rest is counted (rows
`requests.refused` of GET /v1/audit-events). The log has it in any case: search for the id.";

/// Where the code has no text of its own.
pub(super) const OTHER: &str = "The request itself is at fault: its answer says what and where. Compare it with /openapi.json of the service.";

/// Code and text, sorted by code.
const TEXTS: &[(&str, &str)] = &[
    ("alias_taken", "Choose another alias, or use the object that has it."),
    ("ambiguous_host", "A proxy sends two Host values. Make it send one."),
    (
        "amount_exceeds_refundable",
        "Less of the order is left than was asked for: the answer says how much. Refunds under way count.",
    ),
    (
        "bad_signature",
        "An event of the payment gateway was not signed under a secret of gateway.events, or its clock is five minutes off: see why. If the gateway sent it, compare the secrets; else somebody forges events.",
    ),
    ("body_too_large", "Send less in one request."),
    (
        "client_reference_taken",
        "The partner used this reference for another order: look that one up, or use a new one.",
    ),
    ("customer_blocked", "Somebody blocked the customer. Find out why before it is unblocked."),
    ("customer_restricted", "The customer's state does not allow this. Look at its KYC profile."),
    (
        "directory_stale",
        "resource-api has not heard from authz for 10 s: look at authz and the network between them.",
    ),
    ("endpoint_disabled", "Enable the webhook endpoint first, then ask for what it missed."),
    (
        "evidence_not_allowed",
        "The text is kept: leave card numbers and e-mail addresses out of it, and write it in one line.",
    ),
    ("external_id_taken", "The customer exists: the answer names its id."),
    (
        "four_eyes_required",
        "Another client of the partner must decide: not the one that made the order, nor the one that asked for the refund.",
    ),
    (
        "idempotency_in_progress",
        "The first request is still being worked on: repeat it unchanged in a second.",
    ),
    (
        "idempotency_key_reused",
        "The key was used for another request. Repeat the first one byte for byte, or draw a new key.",
    ),
    ("insufficient_funds", "The source holds too little that is available: pay in first, or let holds end."),
    (
        "insufficient_scope",
        "The token or the client's policy lacks a scope that the answer names: ask for it, or have it granted with `countersign apply`.",
    ),
    ("internal", "A mistake of ours or a broken database: the log has the cause under this id. Report it."),
    (
        "invalid_client",
        "The client's credentials do not hold: see why. Check client_id, secret or certificate, and the registered method; replace the secret if it is lost.",
    ),
    (
        "invalid_request",
        "A parameter is missing, repeated or in the wrong place: error_description of the answer names it.",
    ),
    (
        "invalid_scope",
        "Ask only for scopes of the client's policy, and for one service at a time, or send resource.",
    ),
    (
        "invalid_signature",
        "The request's signature does not hold: check key, keyid, clock (60 s) and that no proxy changes the request.",
    ),
    (
        "invalid_state",
        "A charge is settled by hand only once its state is manual: read it, or have the gateway asked with /probe.",
    ),
    ("invalid_target", "The resource is not a service of this installation."),
    (
        "invalid_token",
        "The token is expired, revoked or for another service: get a new one. One that is bound to a certificate needs a connection with it. If all are refused, compare issuer and resource of both configurations, and the clocks.",
    ),
    ("method_not_allowed", "The header Allow lists the methods of this path."),
    (
        "misdirected_request",
        "The Host is not configured: add it to public_origins, or make the proxy keep Host.",
    ),
    ("not_found", "There is no such thing, or it is another partner's: both look the same."),
    (
        "operation_mismatch",
        "A one-time token was tried for something it was not made for, and is spent. Unless it was a mistake, the device is not to be trusted: disable the user or the client.",
    ),
    (
        "operation_not_available",
        "Method and path are not on the partner's list of operations: `countersign apply` changes it.",
    ),
    ("overloaded", "Too many requests at once: more nodes, or a higher limit."),
    ("own_partner", "The platform does not disable itself."),
    ("platform_only", "Only clients of the platform's partner may do this."),
    ("rate_limited", "The client or its network asks too often: it is to wait as Retry-After says."),
    ("review_closed", "The review was decided before: read it."),
    ("scope_not_grantable", "A caller grants only what it holds itself: have the platform grant it."),
    (
        "server_error",
        "A mistake of ours or a broken database: the log has the cause under this id. Report it.",
    ),
    ("signature_key_required", "Register a signature key for the client, and sign the request (RFC 9421)."),
    (
        "signature_replayed",
        "The signature was used before: sign each request anew. If the client did not, somebody replays its requests.",
    ),
    ("signature_required", "The client's profile demands signed requests (RFC 9421)."),
    ("target_not_allowed", "Webhooks go to https addresses that are public, or within webhook_networks."),
    (
        "temporarily_unavailable",
        "Too many failures of this client from this address, or a busy database: wait as Retry-After says; look at who guesses.",
    ),
    ("terminal", "The charge has its end, which nothing changes: read it."),
    (
        "token_already_used",
        "A spent one-time token was sent with another request. Unless it was a mistake, somebody has a copy of it.",
    ),
    (
        "unauthorized_client",
        "The client may not use this grant: `countersign apply` changes its grant_types.",
    ),
    (
        "unavailable",
        "The database or another service did not answer in time: look at it; the same request may be repeated.",
    ),
    ("unknown_path", "Nothing is served at this path: check the path, or which service a proxy sends it to."),
    ("unsupported_grant_type", "See grant_types_supported of the discovery document."),
    ("url_refused", "The URL cannot name an operation: an origin of operation_origins, a plain path."),
    ("user_disabled", "Somebody disabled the user: POST /v1/users/{sub}/enable undoes it."),
    ("user_not_found", "Register the user first, under the partner of this client."),
    ("wrong_token_kind", "The call takes another kind of token: x-token-kinds in /openapi.json lists them."),
];

/// What to do about a refusal with this code.
pub(super) fn of(code: &str) -> Option<&'static str> {
    TEXTS.binary_search_by_key(&code, |(known, _)| known).ok().map(|index| TEXTS[index].1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_sorted_and_stand_once() {
        assert!(TEXTS.is_sorted_by(|(one, _), (next, _)| one < next));
    }

    #[test]
    fn each_code_has_its_text() {
        for (code, text) in TEXTS {
            assert_eq!(of(code), Some(*text));
        }
        assert_eq!(of("no_such_code"), None);
    }
}
