//! What differs between a client as it is and as a file wants it.

use crate::domain::{
    certificate::CertificateMember,
    client::{Client, ClientSettings, KeyUse},
};

/// Which members of a client differ, with old and new value where they are not secret.
pub(super) fn differences(known: &Client, wanted: &Client) -> Vec<String> {
    let mut found = Vec::new();
    let (old, new) = (&known.settings, &wanted.settings);
    differ(&mut found, "status", known.status.as_str(), wanted.status.as_str());
    differ(&mut found, "token_endpoint_auth_method", old.auth_method.as_str(), new.auth_method.as_str());
    differ(&mut found, "scope", &old.scope.scope().to_string(), &new.scope.scope().to_string());
    differ(&mut found, "grant_types", &format!("{:?}", old.grant_types), &format!("{:?}", new.grant_types));
    differ(&mut found, "profile", old.profile.as_str(), new.profile.as_str());
    differ(&mut found, "allowed_origins", &old.allowed_origins.join(" "), &new.allowed_origins.join(" "));
    let ttl = |ttl: Option<i64>| ttl.map_or_else(|| "default".to_owned(), |ttl| ttl.to_string());
    differ(&mut found, "access_token_ttl_s", &ttl(old.access_token_ttl_s), &ttl(new.access_token_ttl_s));
    let legacy = |settings: &ClientSettings| settings.legacy_assertion_audience.to_string();
    differ(&mut found, "legacy_assertion_audience", &legacy(old), &legacy(new));
    let bound = |settings: &ClientSettings| settings.dpop_required.to_string();
    differ(&mut found, "dpop_required", &bound(old), &bound(new));
    for member in CertificateMember::ALL {
        let name = |settings: &ClientSettings| {
            settings.certificate.as_ref().and_then(|name| name.text_of(*member)).unwrap_or_default()
        };
        differ(&mut found, member.as_str(), &name(old), &name(new));
    }
    let bound = |settings: &ClientSettings| settings.certificate_bound.to_string();
    differ(&mut found, "tls_client_certificate_bound_access_tokens", &bound(old), &bound(new));
    for (member, key_use) in [("assertion_keys", KeyUse::Assertion), ("signature_keys", KeyUse::Signature)] {
        differ(&mut found, member, &key_names(known, key_use), &key_names(wanted, key_use));
    }
    if known.secret_mac != wanted.secret_mac {
        found.push("secret: replaced".to_owned());
    }
    found
}

/// Names and thumbprints, so that a new key under an old name is a difference.
fn key_names(client: &Client, key_use: KeyUse) -> String {
    let mut names: Vec<String> = client
        .keys_for(key_use)
        .map(|key| {
            let thumbprint = key.jwk.thumbprint();
            if key.kid == thumbprint { thumbprint } else { format!("{}={thumbprint}", key.kid) }
        })
        .collect();
    names.sort_unstable();
    names.join(" ")
}

/// Notes a member whose values differ.
pub(super) fn differ(found: &mut Vec<String>, member: &str, old: &str, new: &str) {
    if old != new {
        found.push(format!("{member}: {old} -> {new}"));
    }
}
