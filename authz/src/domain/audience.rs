//! Which service a token is for (RFC 8707, RFC 9068 §3) and which scopes it gets.

use keys::token::{
    Scope,
    scopes::{Service, service_of},
};
use url::Url;

/// The two services that tokens of this server are for.
#[derive(Debug, Clone)]
pub struct Audiences {
    issuer: Audience,
    resource_api: Audience,
}

/// One of them: its `aud`, and the same as a URL to compare `resource` with.
#[derive(Debug, Clone)]
struct Audience {
    text: String,
    url: Option<Url>,
}

/// What a client may be granted, sorted by service when the client is loaded, so that issuing looks nothing up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    all: Scope,
    resource_api: Scope,
    issuer: Scope,
}

impl Policy {
    /// Sorts a client's scope.
    pub fn new(scope: Scope) -> Self {
        let only =
            |service: Service| scope.iter().filter(|token| service_of(token) == Some(service)).collect();
        let (resource_api, issuer) = (only(Service::ResourceApi), only(Service::AuthorizationServer));
        Self { all: scope, resource_api, issuer }
    }

    /// The whole scope.
    pub fn scope(&self) -> &Scope {
        &self.all
    }

    fn at(&self, service: Service) -> &Scope {
        if service == Service::ResourceApi { &self.resource_api } else { &self.issuer }
    }
}

/// Why no audience or scope could be settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAudience {
    /// RFC 8707 §2 `invalid_target`.
    InvalidTarget(&'static str),
    /// RFC 6749 §5.2 `invalid_scope`.
    InvalidScope(&'static str),
}

impl Audience {
    fn new(text: &str) -> Self {
        Self { text: text.to_owned(), url: Url::parse(text).ok() }
    }
}

impl Audiences {
    /// The issuer's and the resource API's base URL.
    pub fn new(issuer: &str, resource_api: &str) -> Self {
        Self { issuer: Audience::new(issuer), resource_api: Audience::new(resource_api) }
    }

    /// `aud` of tokens for this server's own management paths, and `iss` of all tokens.
    pub fn issuer(&self) -> &str {
        &self.issuer.text
    }

    /// `aud` of tokens for the resource API: its base URL.
    pub fn resource_api(&self) -> &str {
        &self.resource_api.text
    }

    /// Settles `aud` and the granted scope from the `resource` values and the scope asked for.
    ///
    /// Without `resource`, the audience follows from the scopes; scopes of both services then are refused. Without
    /// a scope, all of the policy that belongs to the audience is granted.
    ///
    /// # Errors
    /// [`NoAudience`] with the protocol code's reason.
    pub fn settle(
        &self,
        resources: &[&str],
        asked: Option<Scope>,
        policy: &Policy,
    ) -> Result<(&str, Scope), NoAudience> {
        if let Some(asked) = &asked
            && !asked.is_within(&policy.all)
        {
            return Err(NoAudience::InvalidScope("the scope exceeds what the client is registered for"));
        }
        let wanted = asked.as_ref().unwrap_or(&policy.all);
        let has = |service| wanted.iter().any(|token| policy.at(service).contains(token));
        let target = match resources {
            [] => match (has(Service::ResourceApi), has(Service::AuthorizationServer)) {
                (true, true) => {
                    let why = "scopes of two resources: send resource, or scopes of one";
                    return Err(NoAudience::InvalidScope(why));
                }
                (true, false) => Service::ResourceApi,
                (false, _) => Service::AuthorizationServer,
            },
            [one] => self.named(one, policy)?,
            _ => return Err(NoAudience::InvalidTarget("one resource a token")),
        };
        let foreign = match target {
            Service::ResourceApi => Service::AuthorizationServer,
            _ => Service::ResourceApi,
        };
        if asked.is_some() && has(foreign) {
            return Err(NoAudience::InvalidScope("a scope belongs to another resource"));
        }
        let granted = asked.unwrap_or_else(|| policy.at(target).clone());
        if granted.is_empty() {
            return Err(NoAudience::InvalidScope("nothing to grant"));
        }
        let audience = if target == Service::ResourceApi { &self.resource_api } else { &self.issuer };
        Ok((&audience.text, granted))
    }

    /// The service that a `resource` value names, if the client's policy has a scope there.
    fn named(&self, resource: &str, policy: &Policy) -> Result<Service, NoAudience> {
        let asked =
            Url::parse(resource).map_err(|_| NoAudience::InvalidTarget("resource is not an absolute URI"))?;
        if asked.fragment().is_some() {
            return Err(NoAudience::InvalidTarget("resource has a fragment"));
        }
        let target = if self.resource_api.url.as_ref() == Some(&asked) {
            Service::ResourceApi
        } else if self.issuer.url.as_ref() == Some(&asked) {
            Service::AuthorizationServer
        } else {
            return Err(NoAudience::InvalidTarget("no such resource"));
        };
        if policy.at(target).is_empty() {
            return Err(NoAudience::InvalidTarget("the client has no scope at this resource"));
        }
        Ok(target)
    }
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
        let audiences = Audiences::new("https://as.example", "https://rs.example");
        audiences
            .settle(resources, asked.map(scope), &Policy::new(scope(policy)))
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
