//! Which service a token is for (RFC 8707, RFC 9068 §3) and which scopes it gets.

use keys::token::{
    Scope,
    scopes::{Service, service_of},
};
use url::Url;

/// The two services that tokens of this server are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences {
    /// `aud` of tokens for this server's own management paths.
    pub issuer: String,
    /// `aud` of tokens for the resource API: its base URL.
    pub resource_api: String,
}

/// Why no audience or scope could be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAudience {
    /// RFC 8707 §2 `invalid_target`.
    InvalidTarget(&'static str),
    /// RFC 6749 §5.2 `invalid_scope`.
    InvalidScope(&'static str),
}

fn home(token: &str) -> Service {
    service_of(token).unwrap_or(Service::AuthorizationServer)
}

impl Audiences {
    /// Settles `aud` and the granted scope from the `resource` values and the scope asked for.
    ///
    /// Without `resource`, the audience follows from the scopes; scopes of both services then are refused. Without
    /// a scope, all of the policy that belongs to the audience is granted.
    ///
    /// # Errors
    /// [`NoAudience`] with the protocol code's reason.
    pub fn settle<'a>(
        &'a self,
        resources: &[&str],
        asked: Option<&Scope>,
        policy: &Scope,
    ) -> Result<(&'a str, Scope), NoAudience> {
        if let Some(asked) = asked
            && !asked.is_within(policy)
        {
            return Err(NoAudience::InvalidScope("the scope exceeds what the client is registered for"));
        }
        let wanted = asked.unwrap_or(policy);
        let target = match resources {
            [] => inferred(wanted)?,
            [one] => self.named(one, policy)?,
            _ => return Err(NoAudience::InvalidTarget("one resource a token")),
        };
        let foreign =
            if target == Service::ResourceApi { Service::AuthorizationServer } else { Service::ResourceApi };
        let granted = if asked.is_some() {
            if wanted.iter().any(|token| home(token) == foreign) {
                return Err(NoAudience::InvalidScope("a scope belongs to another resource"));
            }
            wanted.clone()
        } else {
            only(wanted, |token| home(token) == target)
        };
        if granted.is_empty() {
            return Err(NoAudience::InvalidScope("nothing to grant"));
        }
        Ok((if target == Service::ResourceApi { &self.resource_api } else { &self.issuer }, granted))
    }

    /// The service that a `resource` value names, if the client's policy has a scope there.
    fn named(&self, resource: &str, policy: &Scope) -> Result<Service, NoAudience> {
        let asked =
            Url::parse(resource).map_err(|_| NoAudience::InvalidTarget("resource is not an absolute URI"))?;
        if asked.fragment().is_some() {
            return Err(NoAudience::InvalidTarget("resource has a fragment"));
        }
        let is = |known: &str| Url::parse(known).is_ok_and(|known| known == asked);
        let target = if is(&self.resource_api) {
            Service::ResourceApi
        } else if is(&self.issuer) {
            Service::AuthorizationServer
        } else {
            return Err(NoAudience::InvalidTarget("no such resource"));
        };
        if policy.iter().any(|token| home(token) == target) {
            Ok(target)
        } else {
            Err(NoAudience::InvalidTarget("the client has no scope at this resource"))
        }
    }
}

/// RFC 9068 §3: the audience that the scopes imply.
fn inferred(scope: &Scope) -> Result<Service, NoAudience> {
    let has = |wanted: Service| scope.iter().any(|token| home(token) == wanted);
    match (has(Service::ResourceApi), has(Service::AuthorizationServer)) {
        (true, true) => {
            Err(NoAudience::InvalidScope("scopes of two resources: send resource, or scopes of one"))
        }
        (true, false) => Ok(Service::ResourceApi),
        (false, _) => Ok(Service::AuthorizationServer),
    }
}

fn only(scope: &Scope, keep: impl Fn(&str) -> bool) -> Scope {
    scope.iter().filter(|token| keep(token)).collect()
}

/// The scope tokens that no part of this product knows.
pub fn unknown_scopes(scope: &Scope) -> Vec<String> {
    scope.iter().filter(|token| service_of(token).is_none()).map(ToOwned::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    fn settle(resources: &[&str], asked: Option<&str>, policy: &str) -> Result<(String, String), NoAudience> {
        let audiences =
            Audiences { issuer: "https://as.example".into(), resource_api: "https://rs.example".into() };
        let asked = asked.map(scope);
        audiences
            .settle(resources, asked.as_ref(), &scope(policy))
            .map(|(audience, granted)| (audience.to_owned(), granted.to_string()))
    }

    #[test]
    fn the_audience_follows_from_resource_or_from_the_scopes() {
        let (as_, rs) = ("https://as.example", "https://rs.example");
        for (resources, asked, policy, audience, granted) in [
            (&[][..], Some("fiat_ins:execute"), "fiat_ins:execute users:write", rs, "fiat_ins:execute"),
            (&[], Some("users:write"), "fiat_ins:execute users:write", as_, "users:write"),
            (&[], None, "fiat_ins:execute fiat_ins:read", rs, "fiat_ins:execute fiat_ins:read"),
            (&[rs], None, "fiat_ins:execute users:write", rs, "fiat_ins:execute"),
            (&["https://rs.example/"], None, "fiat_ins:execute", rs, "fiat_ins:execute"),
            (&[as_], Some("users:write"), "fiat_ins:execute users:write", as_, "users:write"),
        ] {
            assert_eq!(settle(resources, asked, policy), Ok((audience.into(), granted.into())), "{asked:?}");
        }
    }

    #[test]
    fn what_is_not_granted_is_refused() {
        let rs = "https://rs.example";
        let both = "fiat_ins:execute users:write";
        for (resources, asked, policy) in [
            (&[][..], Some("fiat_ins:read"), both),
            (&[], Some("FIAT_INS:EXECUTE"), both),
            (&[], Some(both), both),
            (&[], None, both),
            (&[rs], Some("users:write"), both),
            (&[], Some("openid"), "users:write"),
        ] {
            let refused = settle(resources, asked, policy);
            assert!(matches!(refused, Err(NoAudience::InvalidScope(_))), "{asked:?}: {refused:?}");
        }
        for resources in [
            &["https://other.example"][..],
            &["https://rs.example#part"],
            &["/relative"],
            &["https://rs.example", "https://as.example"],
            &["https://as.example"],
        ] {
            let refused = settle(resources, None, "fiat_ins:execute");
            assert!(matches!(refused, Err(NoAudience::InvalidTarget(_))), "{resources:?}: {refused:?}");
        }
    }

    #[test]
    fn unknown_scope_tokens_are_named() {
        assert_eq!(unknown_scopes(&scope("users:write nope:read openid")), vec!["nope:read"]);
    }
}
