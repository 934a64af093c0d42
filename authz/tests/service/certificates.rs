//! Client certificates (RFC 8705) over real TLS: rows T2 and T21 of the security checklist, and I8 at the management
//! paths.

use std::time::Duration;

use chassis::testing::TestDatabase;
use rcgen::{CertificateParams, DnType, DnValue, ExtendedKeyUsagePurpose, SanType, date_time_ymd};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    authority::{Authority, Secure, Signed, named, subject},
    world::{NOW, Reply, payload},
};

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

impl Secure {
    /// A client of partner acme with these members; its id.
    async fn client(&self, alias: &str, members: Value) -> String {
        let created = self.create(alias, members).await;
        assert_eq!(created.status, StatusCode::CREATED, "{}", created.json);
        created.json["client_id"].as_str().unwrap().to_owned()
    }

    async fn create(&self, alias: &str, members: Value) -> Reply {
        let world = &self.world;
        let admin = world.management_token("platform", "admin", "platform:admin clients:write").await;
        let mut body = json!({"alias": alias, "partner_id": world.partner_id("acme"), "scope": "users:read",
            "token_endpoint_auth_method": "tls_client_auth", "grant_types": ["client_credentials"]});
        for (name, value) in members.as_object().unwrap() {
            body[name] = value.clone();
        }
        world.post(&admin, "/v1/clients", &body).await
    }

    /// A token request over a connection with this certificate.
    async fn ask(&self, own: Option<&Signed>, client_id: &str) -> Reply {
        self.ask_through(&self.showing(own), client_id).await
    }

    async fn ask_through(&self, http: &reqwest::Client, client_id: &str) -> Reply {
        let request = http.post(self.world.at("/oauth2/token"));
        self.world.send(request.form(&[GRANT, ("client_id", client_id)])).await
    }

    /// The same, which must be granted: the token.
    async fn token(&self, own: &Signed, client_id: &str) -> String {
        let granted = self.ask(Some(own), client_id).await;
        assert_eq!(granted.status, StatusCode::OK, "{}", granted.json);
        granted.json["access_token"].as_str().unwrap().to_owned()
    }
}

fn backend() -> CertificateParams {
    named("backend")
}

/// Everything that is nearly the certificate of `CN=backend,O=Acme`, and what is wrong with it.
fn nearly(partners: &Authority) -> Vec<(&'static str, Signed)> {
    let text = |parts: Vec<(DnType, &str)>| partners.sign(subject(parts));
    let (common, organization) = (DnType::CommonName, DnType::OrganizationName);
    let mut for_servers = backend();
    for_servers.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let wide = DnValue::BmpString("backend".try_into().unwrap());
    let wide = vec![(organization.clone(), DnValue::from("Acme")), (common.clone(), wide)];
    vec![
        ("another client's", partners.sign(named("other"))),
        ("another authority's of the same name", Authority::new("Partners").sign(backend())),
        ("nobody's", Signed::by_itself(backend())),
        ("signed by a client", partners.sign(named("other")).misused_to_sign(backend())),
        ("a server's", partners.sign(for_servers)),
        ("both names in one", text(vec![(common.clone(), "backend,O=Acme")])),
        ("both names in the other", text(vec![(organization.clone(), "Acme,CN=backend")])),
        ("another case", text(vec![(organization.clone(), "Acme"), (common.clone(), "Backend")])),
        ("more after it", text(vec![(organization.clone(), "Acme"), (common.clone(), "backend\0.evil")])),
        ("a space behind", text(vec![(organization.clone(), "Acme"), (common.clone(), "backend ")])),
        ("another order", text(vec![(common.clone(), "backend"), (organization.clone(), "Acme")])),
        ("a part too few", text(vec![(common, "backend")])),
        (
            "a part too many",
            text(vec![(DnType::CountryName, "DE"), (organization, "Acme"), (DnType::CommonName, "backend")]),
        ),
        ("another alphabet", partners.sign(subject(wide))),
        ("no name", text(Vec::new())),
    ]
}

#[tokio::test]
async fn t21_only_the_registered_subject_of_a_configured_authority_is_the_client() {
    for database in TestDatabase::both().await {
        let secure = Secure::start(&database).await;
        let members = json!({"tls_client_auth_subject_dn": "CN=backend,O=Acme"});
        let id = secure.client("mtls", members).await;
        let own = secure.partners.sign(backend());
        assert_eq!(payload(&secure.token(&own, &id).await).get("cnf"), None, "not registered to be bound");
        let without = secure.ask(None, &id).await;
        without.oauth_refused(401, "invalid_client");
        for (what, wrong) in nearly(&secure.partners) {
            let refused = secure.ask(Some(&wrong), &id).await;
            assert_eq!(refused.status, StatusCode::UNAUTHORIZED, "{what}: {}", refused.json);
            refused.oauth_refused(401, "invalid_client");
            let same = |reply: &Reply| reply.json["error_description"].clone();
            assert_eq!(same(&refused), same(&without), "{what}");
            // Far below the limit of failures, which is not what is tested here.
            secure.world.clock.advance(60);
        }
        secure.token(&own, &id).await;
        secure.world.stop().await;
    }
}

#[tokio::test]
async fn t21_the_names_of_a_certificate_are_compared_as_what_they_are() {
    let secure = Secure::start(&TestDatabase::sqlite()).await;
    let dns = secure.client("dns", json!({"tls_client_auth_san_dns": "backend.acme.example"})).await;
    let uri = secure.client("uri", json!({"tls_client_auth_san_uri": "spiffe://acme.example/backend"})).await;
    let with = |names: Vec<SanType>| {
        let mut params = named("whoever");
        params.subject_alt_names = names;
        secure.partners.sign(params)
    };
    let name = |text: &str| SanType::DnsName(text.try_into().unwrap());
    let address = |text: &str| SanType::URI(text.try_into().unwrap());
    let own = with(vec![name("old.acme.example"), name("Backend.ACME.example")]);
    secure.token(&own, &dns).await;
    secure.ask(Some(&own), &uri).await.oauth_refused(401, "invalid_client");
    let own = with(vec![address("spiffe://acme.example/backend")]);
    secure.token(&own, &uri).await;
    for wrong in [
        with(vec![name("acme.example"), name("*.acme.example"), address("https://backend.acme.example")]),
        with(vec![SanType::Rfc822Name("backend.acme.example".try_into().unwrap())]),
        secure.partners.sign(named("backend.acme.example")),
    ] {
        secure.ask(Some(&wrong), &dns).await.oauth_refused(401, "invalid_client");
    }
    for wrong in ["spiffe://acme.example/Backend", "spiffe://acme.example/backend/", "spiffe://acme.example"]
    {
        let wrong = with(vec![address(wrong)]);
        secure.ask(Some(&wrong), &uri).await.oauth_refused(401, "invalid_client");
    }
    secure.world.stop().await;
}

#[tokio::test]
async fn t21_a_certificate_counts_from_its_first_to_its_last_second_by_the_services_clock() {
    let secure = Secure::start(&TestDatabase::sqlite()).await;
    let id = secure.client("mtls", json!({"tls_client_auth_subject_dn": "CN=backend,O=Acme"})).await;
    let start = date_time_ymd(1970, 1, 1) + Duration::from_secs(NOW.unsigned_abs());
    let mut params = backend();
    (params.not_before, params.not_after) =
        (start + Duration::from_secs(100), start + Duration::from_secs(200));
    let own = secure.partners.sign(params);
    // One connection for all: it is the request that is judged, not the handshake alone.
    let http = secure.showing(Some(&own));
    for (second, granted) in [(99, false), (100, true), (200, true), (201, false)] {
        secure.world.clock.advance(NOW + second - secure.world.now().0);
        let reply = secure.ask_through(&http, &id).await;
        assert_eq!(reply.status == StatusCode::OK, granted, "{second}: {}", reply.json);
    }
    secure.world.stop().await;
}

#[tokio::test]
async fn t2_a_certificate_does_not_stand_in_for_another_method_nor_another_method_for_it() {
    let secure = Secure::start(&TestDatabase::sqlite()).await;
    let world = &secure.world;
    let id = secure.client("mtls", json!({"tls_client_auth_subject_dn": "CN=backend,O=Acme"})).await;
    let own = secure.partners.sign(backend());
    let http = secure.showing(Some(&own));
    let post = |form: &[(&str, &str)]| http.post(world.at("/oauth2/token")).form(form);
    let secret = world.secret("acme", "backend");
    for client in ["backend", "jwt", "post", "public"] {
        let form = [GRANT, ("client_id", &world.id("acme", client))];
        let refused = world.send(post(&form)).await;
        assert!(["invalid_client", "unauthorized_client"].map(Value::from).contains(&refused.json["error"]));
    }
    let form = [GRANT, ("client_id", id.as_str()), ("client_secret", &secret)];
    world.send(post(&form)).await.oauth_refused(401, "invalid_client");
    let basic = post(&[GRANT]).basic_auth(&id, Some(&secret));
    world.send(basic).await.oauth_refused(401, "invalid_client");
    let forged = world.assertion(&id, &crate::platform::assertion_key(), &json!({}));
    let kind = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    let form = [GRANT, ("client_id", id.as_str()), kind, ("client_assertion", &forged)];
    world.send(post(&form)).await.oauth_refused(401, "invalid_client");
    // Beside its secret a client may show any certificate.
    let basic =
        post(&[GRANT, ("scope", "users:read")]).basic_auth(world.id("acme", "backend"), Some(&secret));
    assert_eq!(world.send(basic).await.status, StatusCode::OK);
    secure.world.stop().await;
}

#[tokio::test]
async fn i8_a_bound_token_is_refused_at_the_management_paths_without_its_certificate() {
    for database in TestDatabase::both().await {
        let secure = Secure::start(&database).await;
        let world = &secure.world;
        let members = json!({"tls_client_auth_subject_dn": "CN=backend,O=Acme",
            "tls_client_certificate_bound_access_tokens": true});
        let id = secure.client("mtls", members).await;
        let own = secure.partners.sign(backend());
        let token = secure.token(&own, &id).await;
        assert_eq!(payload(&token)["cnf"], json!({"x5t#S256": own.thumbprint}));
        let renewed = secure.partners.sign(backend());
        for (certificate, status) in [(Some(&own), 404), (Some(&renewed), 401), (None, 401)] {
            let path = world.at("/v1/users/usr_nobody");
            let reply = world.send(secure.showing(certificate).get(path).bearer_auth(&token)).await;
            reply.refused(status, if status == 404 { "not_found" } else { "invalid_token" });
            if status == 401 {
                assert!(reply.header("www-authenticate").contains("error=\"invalid_token\""));
                assert!(reply.json["detail"].as_str().unwrap().contains("connect with that certificate"));
            }
        }
        secure.world.stop().await;
    }
}

#[tokio::test]
async fn a_client_of_any_method_may_have_its_tokens_bound_and_then_gets_none_without_a_certificate() {
    let secure = Secure::start(&TestDatabase::sqlite()).await;
    let world = &secure.world;
    let members = json!({"token_endpoint_auth_method": "client_secret_basic",
        "tls_client_certificate_bound_access_tokens": true});
    let created = secure.create("bound-secret", members).await;
    let text = |name: &str| created.json[name].as_str().unwrap().to_owned();
    let (id, secret) = (text("client_id"), text("client_secret"));
    let ask = |http: reqwest::Client| {
        http.post(world.at("/oauth2/token")).form(&[GRANT]).basic_auth(&id, Some(&secret))
    };
    world.send(ask(secure.showing(None))).await.oauth_refused(400, "invalid_request");
    let own = Signed::by_itself(named("nobody knows"));
    let granted = world.send(ask(secure.showing(Some(&own)))).await;
    let token = granted.json["access_token"].as_str().unwrap();
    assert_eq!(payload(token)["cnf"], json!({"x5t#S256": own.thumbprint}));
    secure.world.stop().await;
}

#[tokio::test]
async fn a_registration_has_exactly_one_name_and_is_shown_with_it() {
    let secure = Secure::start(&TestDatabase::sqlite()).await;
    let world = &secure.world;
    let (dn, dns) = ("tls_client_auth_subject_dn", "tls_client_auth_san_dns");
    for (alias, members, member) in [
        ("a", json!({}), dn),
        ("b", json!({dn: "CN=a", dns: "a.example"}), dns),
        ("c", json!({dn: "backend"}), dn),
        ("d", json!({dns: "*.example"}), dns),
        ("e", json!({dn: "CN=a", "token_endpoint_auth_method": "client_secret_basic"}), dn),
    ] {
        let refused = secure.create(alias, members).await;
        refused.refused(422, "value_refused");
        assert_eq!(refused.json["errors"][0]["pointer"], format!("/{member}"), "{}", refused.json);
    }
    let id = secure.client("f", json!({dn: "cn=a\\2cb , O=Acme".replace(" , ", ",")})).await;
    let admin = world.management_token("platform", "admin", "platform:admin clients:read").await;
    let shown = world.get(&admin, &format!("/v1/clients/{id}")).await.json;
    assert_eq!(shown[dn], "CN=a\\,b,O=Acme");
    assert_eq!((shown.get(dns), shown.get("client_secret")), (None, None));
    secure.world.stop().await;
}

#[tokio::test]
async fn discovery_offers_certificates_where_the_listener_asks_for_them() {
    let secure = Secure::start(&TestDatabase::sqlite()).await;
    let path = secure.world.at("/.well-known/oauth-authorization-server");
    let document = secure.world.send(secure.world.http.get(path)).await.json;
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    let methods = document["token_endpoint_auth_methods_supported"].as_array().unwrap();
    assert!(methods.contains(&json!("tls_client_auth")), "{methods:?}");
    secure.world.stop().await;
}
