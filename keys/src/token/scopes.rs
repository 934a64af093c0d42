//! The one list of scopes. Policies, OpenAPI documents, discovery and consent texts are made from it.
//!
//! `resource:read` and `resource:write` are for looking and changing, `:execute` for moving money, `:sign`, `:decide`,
//! `:approve` and `:adjust` for acts that a second person may have to do, `.pii` for personal data.

/// A scope and what it lets its holder do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScopeInfo {
    /// The scope token.
    pub name: &'static str,
    /// What it allows, as the second half of "may …" on a consent page, and in OpenAPI.
    pub sentence: &'static str,
}

/// Which service a scope is about; it decides the audience of a token that names no `resource`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// The resource API.
    ResourceApi,
    /// The authorization server's management paths.
    AuthorizationServer,
    /// Neither: OpenID Connect's own scopes go with a token for any audience.
    Neutral,
}

/// The service of a scope, or `None` when there is no such scope.
pub fn service_of(name: &str) -> Option<Service> {
    if NEUTRAL.contains(&name) {
        return Some(Service::Neutral);
    }
    let within = |list: &[ScopeInfo]| list.iter().any(|scope| scope.name == name);
    let resource = within(RESOURCE_API).then_some(Service::ResourceApi);
    resource.or_else(|| within(AUTHORIZATION_SERVER).then_some(Service::AuthorizationServer))
}

/// Scopes that do not choose an audience (OpenID Connect Core §5.4, §11).
pub const NEUTRAL: &[&str] = &["openid", "profile", "email", "phone", "address", "offline_access"];

/// Scopes of the authorization server, the neutral ones among them.
pub const AUTHORIZATION_SERVER: &[ScopeInfo] = &[
    info("openid", "Sign you in"),
    info("profile", "See your name and profile"),
    info("email", "See your e-mail address"),
    info("phone", "See your phone number"),
    info("address", "See your postal address"),
    info("offline_access", "Keep access while you are away"),
    info("users:read", "See users"),
    info("users:write", "Register, disable and enable users"),
    info("clients:read", "See clients"),
    info("clients:write", "Create, change and disable clients"),
    info("partners:write", "Create and change partners"),
    info("processes:write", "Start and cancel processes"),
    info("user_tokens:write", "Issue tokens that are bound to one operation of a user"),
    info("login_requests:write", "Start logins for users"),
    info("directory:read", "Follow the directory of partners, clients and users"),
    info("audit:read", "See the audit log"),
    info("platform:admin", "Administer the platform"),
];

/// Scopes of the resource API.
pub const RESOURCE_API: &[ScopeInfo] = &[
    info("counterparty:read", "See your organisation's own record and settings"),
    info("counterparty:write", "Change your organisation's settings"),
    info("employees:read", "See staff members"),
    info("employees:write", "Invite, change, disable and enable staff members"),
    info("roles:read", "See roles and the permissions they hold"),
    info("roles:write", "Create, change and assign roles"),
    info("keys:write", "Propose signing keys"),
    info("keys:approve", "Activate and revoke signing keys"),
    info("branches:read", "See branches"),
    info("branches:write", "Create and change branches"),
    info("segments:read", "See customer segments"),
    info("segments:write", "Create and change customer segments"),
    info("customers:read", "See customers, without personal data"),
    info("customers:write", "Create and change customers"),
    info("customers:decide", "Restrict, block, unblock and close customers"),
    info("customers:erase", "Erase customers whose retention period is over"),
    info("customers.pii:read", "See personal data of customers"),
    info("customers.pii:write", "Store personal data of customers"),
    info("kyc:read", "See verification levels and what is missing for them"),
    info("kyc:write", "Hand in documents and ask for an assessment"),
    info("kyc:decide", "Decide assessments"),
    info("screening:execute", "Screen names against the lists"),
    info("screening:write", "Load and activate screening lists"),
    info("entities:read", "See accounts, balances and statements"),
    info("entities:write", "Open accounts"),
    info("entities:decide", "Activate, block, unblock and close accounts"),
    info("aliases:read", "Look up who stands behind an alias"),
    info("aliases:write", "Create, verify and delete aliases"),
    info("issuance:execute", "Order, confirm, reject and cancel issuances"),
    info("issuance:approve", "Approve issuances"),
    info("quotes:read", "Ask what a payment would cost"),
    info("payment_methods:write", "Store and delete payment methods"),
    info("fiat_ins:execute", "Pay money in"),
    info("fiat_ins:read", "See payments in"),
    info("refunds:execute", "Refund payments in"),
    info("charges:read", "See charges at the gateway"),
    info("charges:decide", "Probe charges and settle their outcome by hand"),
    info("monitoring:read", "See monitoring decisions and try the rules"),
    info("rules:read", "See monitoring rules"),
    info("rules:write", "Write monitoring rules"),
    info("rules:approve", "Activate monitoring rules"),
    info("reviews:read", "See payments that wait for a review"),
    info("reviews:decide", "Accept and refuse payments that wait for a review"),
    info("limits:read", "See limits and how much of them is used"),
    info("limits:write", "Set and remove limits"),
    info("transfers:execute", "Move money between accounts"),
    info("transfers:read", "See transfers"),
    info("transfers:sign", "Sign and decline transfers"),
    info("policies:write", "Write signature policies"),
    info("policies:approve", "Activate signature policies"),
    info("categories:read", "See transfer categories"),
    info("categories:write", "Change transfer categories"),
    info("ledger:read", "See ledger accounts, entries and proofs"),
    info("ledger:adjust", "Propose ledger adjustments"),
    info("ledger:approve", "Approve ledger adjustments"),
    info("reconciliation:read", "See reconciliations and reports"),
    info("reconciliation:write", "Load reconciliation files and settle their items"),
    info("webhooks:read", "See webhook endpoints"),
    info("webhooks:write", "Create, change and delete webhook endpoints, and send events again"),
    info("events:read", "See events and their deliveries"),
    info("test:execute", "Move the clock and script the gateway of a test installation"),
];

const fn info(name: &'static str, sentence: &'static str) -> ScopeInfo {
    ScopeInfo { name, sentence }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::token::Scope;

    #[test]
    fn every_scope_is_listed_once_and_is_a_scope_token() {
        let all: Vec<_> = RESOURCE_API.iter().chain(AUTHORIZATION_SERVER).collect();
        let names: BTreeSet<_> = all.iter().map(|scope| scope.name).collect();
        assert_eq!(names.len(), all.len());
        for scope in all {
            assert_eq!(scope.name.parse::<Scope>().unwrap().to_string(), scope.name);
            assert!(!scope.sentence.is_empty() && !scope.sentence.ends_with('.'));
        }
    }

    #[test]
    fn a_scope_belongs_to_one_service() {
        assert_eq!(service_of("transfers:execute"), Some(Service::ResourceApi));
        assert_eq!(service_of("users:write"), Some(Service::AuthorizationServer));
        assert_eq!(service_of("openid"), Some(Service::Neutral));
        assert_eq!(service_of("transfers"), None);
        assert!(NEUTRAL.iter().all(|name| AUTHORIZATION_SERVER.iter().any(|scope| scope.name == *name)));
    }
}
