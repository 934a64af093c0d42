//! Which service answers which path of the front door, read from the services' own OpenAPI documents.
//!
//! `dev` routes by this table in process; `countersign routes` prints it for a load balancer.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

/// Who answers a path of the front door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The authorization server.
    Authz,
    /// The payments API.
    ResourceApi,
    /// The front door itself, with 404.
    Nobody,
}

impl Owner {
    fn as_str(self) -> &'static str {
        match self {
            Self::Authz => "authz",
            Self::ResourceApi => "resource-api",
            Self::Nobody => "nobody",
        }
    }
}

/// A path of an OpenAPI document, `/users/{userId}`.
#[derive(Debug, Clone)]
struct PathTemplate(Vec<Option<String>>);

impl PathTemplate {
    fn parse(template: &str) -> Self {
        let segment = |text: &str| (!text.starts_with('{')).then(|| text.to_owned());
        Self(template.split('/').map(segment).collect())
    }

    fn matches(&self, path: &str) -> bool {
        let mut asked = path.split('/');
        self.0.iter().all(|wanted| match (wanted, asked.next()) {
            (Some(text), Some(segment)) => text == segment,
            (None, Some(segment)) => !segment.is_empty(),
            (_, None) => false,
        }) && asked.next().is_none()
    }

    /// The same as a regular expression.
    fn pattern(&self) -> String {
        let segment = |text: &Option<String>| match text {
            Some(text) => text.replace('.', "\\."),
            None => "[^/]+".to_owned(),
        };
        format!("^{}$", self.0.iter().map(segment).collect::<Vec<_>>().join("/"))
    }
}

/// The whole table.
#[derive(Debug, Clone)]
pub(crate) struct Routes {
    /// The vendors' paths of both services.
    dialects: Vec<(PathTemplate, Owner)>,
    /// First segments under `/v1` that the authorization server has. The front door does not lead there: management
    /// belongs to the server's own origin.
    of_authz: BTreeSet<String>,
}

impl Routes {
    /// The table of the services as they are in this build.
    ///
    /// # Errors
    /// When a document cannot be written as JSON.
    pub(crate) fn of_services() -> serde_json::Result<Self> {
        Ok(Self::read(
            &serde_json::to_value(authz::http::openapi())?,
            &serde_json::to_value(resource_api::http::openapi())?,
        ))
    }

    fn read(authz: &Value, resource_api: &Value) -> Self {
        let mut dialects = dialect_paths(authz, Owner::Authz);
        dialects.extend(dialect_paths(resource_api, Owner::ResourceApi));
        let first = |path: &str| Some(path.strip_prefix("/v1/")?.split('/').next()?.to_owned());
        let of_authz = paths(authz).filter_map(|(path, _)| first(path)).collect();
        Self { dialects, of_authz }
    }

    /// Who answers a path.
    pub(crate) fn owner(&self, path: &str) -> Owner {
        if let Some((_, owner)) = self.dialects.iter().find(|(template, _)| template.matches(path)) {
            return *owner;
        }
        match path.strip_prefix("/v1/").and_then(|rest| rest.split('/').next()) {
            Some(segment) if !segment.is_empty() && !self.of_authz.contains(segment) => Owner::ResourceApi,
            _ => Owner::Nobody,
        }
    }

    /// Patterns and owners in the order in which they are to be tried.
    fn patterns(&self) -> Vec<(String, Owner)> {
        let mut patterns: Vec<(String, Owner)> =
            self.dialects.iter().map(|(template, owner)| (template.pattern(), *owner)).collect();
        let of_authz = self.of_authz.iter().map(String::as_str).collect::<Vec<_>>().join("|");
        patterns.push((format!("^/v1/({of_authz})(/.*)?$"), Owner::Nobody));
        patterns.push(("^/v1/[^/]+".to_owned(), Owner::ResourceApi));
        patterns
    }
}

/// A line for each pattern: a regular expression, a space, the owner. The first that matches the path decides; a path
/// that none matches is nobody's. `HAProxy` reads it as it is (`map_reg`).
impl fmt::Display for Routes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (pattern, owner) in self.patterns() {
            writeln!(out, "{pattern} {}", owner.as_str())?;
        }
        Ok(())
    }
}

fn paths(openapi: &Value) -> impl Iterator<Item = (&String, &Value)> {
    openapi["paths"].as_object().into_iter().flatten()
}

/// The paths of a document whose operations carry `x-dialect`.
fn dialect_paths(openapi: &Value, owner: Owner) -> Vec<(PathTemplate, Owner)> {
    let in_dialect = |item: &Value| {
        item.as_object()
            .is_some_and(|methods| methods.values().any(|operation| operation.get("x-dialect").is_some()))
    };
    let dialects = paths(openapi).filter(|(_, item)| in_dialect(item));
    dialects.map(|(path, _)| (PathTemplate::parse(path), owner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn dialect_paths_go_to_their_service_and_v1_to_the_payments_api() {
        let authz = json!({ "paths": {
            "/auth/jwt": { "post": { "x-dialect": "pti" } },
            "/oauth2/token": { "post": {} },
            "/v1/users/{id}": { "get": {} },
        } });
        let resource_api = json!({ "paths": {
            "/users/{userId}": { "get": { "x-dialect": "pti" } },
            "/v1/customers": { "get": {} },
        } });
        let routes = Routes::read(&authz, &resource_api);
        for (path, owner) in [
            ("/auth/jwt", Owner::Authz),
            ("/users/u-1", Owner::ResourceApi),
            ("/v1/customers", Owner::ResourceApi),
            ("/v1/anything/else", Owner::ResourceApi),
            ("/v1/users/usr_1", Owner::Nobody),
            ("/v1/users", Owner::Nobody),
            ("/v1/", Owner::Nobody),
            ("/oauth2/token", Owner::Nobody),
            ("/users/u-1/more", Owner::Nobody),
            ("/", Owner::Nobody),
        ] {
            assert_eq!(routes.owner(path), owner, "{path}");
        }
        assert_eq!(
            routes.to_string(),
            "^/auth/jwt$ authz\n^/users/[^/]+$ resource-api\n^/v1/(users)(/.*)?$ nobody\n^/v1/[^/]+ resource-api\n"
        );
    }

    #[test]
    fn a_template_matches_whole_paths_only() {
        let template = PathTemplate::parse("/users/{userId}/wallets");
        assert!(template.matches("/users/u-1/wallets"));
        for other in
            ["/users/u-1", "/users//wallets", "/users/u-1/wallets/", "/users/u-1/wallets/w", "/x/u-1/wallets"]
        {
            assert!(!template.matches(other), "{other}");
        }
    }

    #[test]
    fn the_load_balancers_table_is_the_one_of_this_build() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docker/haproxy/routes.map");
        let kept = std::fs::read_to_string(file).expect("docker/haproxy/routes.map");
        let made = Routes::of_services().expect("the table").to_string();
        assert_eq!(kept, made, "write it anew: countersign routes > docker/haproxy/routes.map");
    }
}
