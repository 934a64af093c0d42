//! Every way in which a token may be another one's, and what none of them may do.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::Algorithm;
use crate::token::Money;

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const EXPECT: Expect<'_> = Expect { issuer: "https://as.example", audience: "https://api.example" };

fn key() -> SigningKey {
    SigningKey::es256_from_seed([1; 32]).unwrap()
}

fn token(kind: TokenKind) -> AccessToken {
    let is = |kinds: &[TokenKind]| kinds.contains(&kind);
    let text = |wanted: bool, text: &str| wanted.then(|| text.to_owned());
    AccessToken {
        iss: EXPECT.issuer.into(),
        aud: EXPECT.audience.into(),
        sub: if is(&[TokenKind::Client]) { "cli_1" } else { "usr_1" }.into(),
        client_id: "cli_1".into(),
        jti: "jti_1".into(),
        partner_id: "par_1".into(),
        iat: NOW,
        exp: NOW.plus(300),
        kind,
        scope: if is(&[TokenKind::OneTime]) {
            Scope::default()
        } else {
            "transfers:execute".parse().unwrap()
        },
        sid: text(!is(&[TokenKind::Client, TokenKind::OneTime]), "ses_1"),
        act: is(&[TokenKind::Exchanged]).then(|| json!({"sub": "cli_1"})),
        cnf_jkt: None,
        cnf_x5t: None,
        operation: is(&[TokenKind::OneTime]).then(|| OperationGrant {
            method: "POST".into(),
            uri: "https://api.example/v1/transfers".into(),
            money: Some(Money { amount: 1_000, currency: "EUR".into() }),
            entity_id: Some("ent_1".into()),
        }),
        process_id: text(is(&[TokenKind::Process]), "prc_1"),
        roles: if is(&[TokenKind::Employee]) { vec!["Officer".into()] } else { Vec::new() },
        acr: text(is(&[TokenKind::Employee]), "mfa"),
        auth_time: is(&[TokenKind::Employee]).then_some(NOW),
        external_id: text(is(&[TokenKind::User]), "u-1"),
    }
}

fn verify_at(token: &str, now: UnixSeconds) -> Result<AccessToken, TokenRefusal> {
    let key_for = |kid: &str| (kid == key().kid()).then(|| key().public_jwk().verifying_key());
    AccessToken::verify(token, &EXPECT, key_for, now)
}

fn verify(token: &str) -> Result<AccessToken, TokenRefusal> {
    verify_at(token, NOW)
}

/// Truly signed claims of a `user` token with one of them replaced, or taken out by `null`.
fn with_claim(name: &str, value: &Value) -> Result<AccessToken, TokenRefusal> {
    with_claim_of(TokenKind::User, name, value)
}

fn with_claim_of(kind: TokenKind, name: &str, value: &Value) -> Result<AccessToken, TokenRefusal> {
    let mut claims = token(kind).to_claims();
    match value {
        Value::Null => claims.remove(name),
        value => claims.insert(name.to_owned(), value.clone()),
    };
    verify(&jws::sign(&key(), kind.typ(), &claims).unwrap())
}

#[test]
fn tokens_of_every_kind_read_back() {
    for kind in TokenKind::ALL {
        let mut token = token(kind);
        assert_eq!(verify(&token.sign(&key()).unwrap()), Ok(token.clone()), "{kind}");
        token.cnf_jkt = Some("thumb".into());
        token.cnf_x5t = Some("print".into());
        token.scope = if kind == TokenKind::OneTime { Scope::default() } else { "b a".parse().unwrap() };
        assert_eq!(verify(&token.sign(&key()).unwrap()), Ok(token), "{kind}");
    }
}

#[test]
fn the_wire_form_is_the_contracts() {
    let claims = Value::Object(token(TokenKind::OneTime).to_claims());
    assert_eq!(
        claims,
        json!({
            "iss": "https://as.example", "aud": "https://api.example", "sub": "usr_1", "client_id": "cli_1",
            "jti": "jti_1", "partner_id": "par_1", "iat": NOW.0, "exp": NOW.0 + 300, "token_kind": "one_time",
            "authorization_details": [{"type": "operation", "actions": ["POST"],
                "locations": ["https://api.example/v1/transfers"],
                "money": {"amount": 1000, "currency": "EUR"}, "entity_id": "ent_1"}],
        })
    );
    let client = token(TokenKind::Client).sign(&key()).unwrap();
    let compact = jws::Compact::parse(&client).unwrap();
    assert_eq!(compact.header().typ.as_deref(), Some("at+jwt"));
}

#[test]
fn another_type_of_token_is_no_access_token() {
    let claims = token(TokenKind::User).to_claims();
    for typ in ["JWT", "dpop+jwt", "client-authentication+jwt", "logout+jwt", "AT+JWT", "application/at+jwt"]
    {
        let token = jws::sign(&key(), typ, &claims).unwrap();
        assert_eq!(verify(&token), Err(TokenRefusal::WrongType), "{typ}");
    }
    let untyped = jws::sign_with(&key(), &[], &serde_json::to_vec(&claims).unwrap()).unwrap();
    assert_eq!(verify(&untyped), Err(TokenRefusal::WrongType));
    // The kind and the type go together.
    let user_as_operation = jws::sign(&key(), TYP_OPERATION, &claims).unwrap();
    assert_eq!(verify(&user_as_operation), Err(TokenRefusal::WrongType));
    let operation_as_user = jws::sign(&key(), TYP_ACCESS, &token(TokenKind::OneTime).to_claims()).unwrap();
    assert_eq!(verify(&operation_as_user), Err(TokenRefusal::WrongType));
}

#[test]
fn only_a_known_key_verifies() {
    let good = token(TokenKind::User);
    let stranger = SigningKey::es256_from_seed([2; 32]).unwrap();
    assert_eq!(verify(&good.sign(&stranger).unwrap()), Err(TokenRefusal::UnknownKey));
    let forged = good.sign(&stranger.with_kid(key().kid()).unwrap()).unwrap();
    assert_eq!(verify(&forged), Err(TokenRefusal::BadSignature));
    for kid in ["../../etc/passwd", "' OR 1=1 --", "\u{0}", "k"] {
        let token = good.sign(&key().with_kid(kid).unwrap()).unwrap();
        assert_eq!(verify(&token), Err(TokenRefusal::UnknownKey), "{kid}");
    }
    let rsa = SigningKey::generate_rsa(2048).unwrap().with_kid(key().kid()).unwrap();
    assert_eq!(rsa.alg(), Algorithm::Rs256);
    assert_eq!(
        verify(&good.sign(&rsa).unwrap()),
        Err(TokenRefusal::BadSignature),
        "the same kid, another algorithm"
    );
    for bad in ["", "x", "a.b.c", "a.b.c.d.e"] {
        assert!(matches!(verify(bad), Err(TokenRefusal::Malformed(_))), "{bad}");
    }
}

#[test]
fn issuer_and_audience_are_exactly_ours() {
    for other in ["https://as.example/", "https://AS.example", "http://as.example", "x"] {
        assert_eq!(with_claim("iss", &json!(other)), Err(TokenRefusal::WrongIssuer), "{other}");
    }
    let auds = [
        json!("https://api.example/"),
        json!("https://as.example"),
        json!(["https://api.example", "https://other.example"]),
        json!(["https://api.example"]),
        json!([]),
        json!(""),
        json!(1),
        Value::Null,
    ];
    for aud in auds {
        assert_eq!(with_claim("aud", &aud), Err(TokenRefusal::WrongAudience), "{aud}");
    }
}

#[test]
fn a_token_lives_until_exp_and_not_before_iat() {
    let text = token(TokenKind::User).sign(&key()).unwrap();
    for (shift, refusal) in [
        (-11, Some(TokenRefusal::NotYetValid)),
        (-10, None),
        (0, None),
        (299, None),
        (300, Some(TokenRefusal::Expired)),
        (310, Some(TokenRefusal::Expired)),
    ] {
        assert_eq!(verify_at(&text, NOW.plus(shift)).err(), refusal, "{shift}");
    }
    assert!(with_claim("nbf", &json!(NOW.0 + 10)).is_ok());
    assert_eq!(with_claim("nbf", &json!(NOW.0 + 11)), Err(TokenRefusal::NotYetValid));
    assert_eq!(with_claim("exp", &json!(NOW.0 + 1)).map(|token| token.exp), Ok(NOW.plus(1)));
    let after_exp = json!(NOW.0 + 5);
    let mut claims = token(TokenKind::User).to_claims();
    claims.insert("iat".into(), after_exp.clone());
    claims.insert("exp".into(), after_exp);
    assert_eq!(verify(&jws::sign(&key(), TYP_ACCESS, &claims).unwrap()), Err(TokenRefusal::BadClaim("exp")));
}

#[test]
fn times_are_integers_or_the_token_is_refused() {
    let bads = ["1", "1.5", "-1", "[1]", "{}", "true", "\"1700000300\"", "1700000300.0", "9007199254740992"];
    for name in ["exp", "iat", "nbf", "auth_time"] {
        for bad in bads.iter().filter(|bad| **bad != "1") {
            let value = serde_json::from_str(bad).unwrap();
            assert_eq!(with_claim(name, &value), Err(TokenRefusal::BadClaim(name)), "{name} {bad}");
        }
    }
    for name in ["exp", "iat"] {
        assert_eq!(with_claim(name, &Value::Null), Err(TokenRefusal::BadClaim(name)), "{name} missing");
    }
    // 2^63 and an explicit null, as JSON text.
    let claims = serde_json::to_string(&token(TokenKind::User).to_claims()).unwrap();
    for bad in ["9223372036854775808", "18446744073709551616", "1e300", "null"] {
        let payload = claims.replace(&format!("\"exp\":{}", NOW.0 + 300), &format!("\"exp\":{bad}"));
        assert_ne!(payload, claims);
        let token = jws::sign_with(&key(), &[("typ", TYP_ACCESS)], payload.as_bytes()).unwrap();
        assert!(matches!(verify(&token), Err(TokenRefusal::BadClaim(_))), "{bad}");
    }
}

#[test]
fn texts_are_required_with_their_type() {
    for name in ["iss", "sub", "client_id", "jti", "partner_id", "token_kind"] {
        for bad in [Value::Null, json!(""), json!(1), json!(["usr_1"]), json!({})] {
            assert_eq!(with_claim(name, &bad), Err(TokenRefusal::BadClaim(name)), "{name} {bad}");
        }
    }
    for name in ["sid", "acr", "external_id", "process_id"] {
        assert_eq!(with_claim(name, &json!(1)), Err(TokenRefusal::BadClaim(name)));
    }
    for (name, bad) in [
        ("scope", json!(["a"])),
        ("scope", json!("a\"b")),
        ("scope", Value::Null),
        ("token_kind", json!("refresh")),
        ("act", json!("cli_1")),
        ("cnf", json!("thumb")),
        ("cnf", json!({"jkt": 1})),
        ("cnf", json!({"x5t#S256": ""})),
        ("roles", json!("Officer")),
    ] {
        assert_eq!(with_claim(name, &bad), Err(TokenRefusal::BadClaim(name)), "{name} {bad}");
    }
}

#[test]
fn claims_go_with_the_kind() {
    let operation = token(TokenKind::OneTime).to_claims()["authorization_details"].clone();
    for (kind, name, value) in [
        (TokenKind::Client, "sub", json!("usr_1")),
        (TokenKind::User, "sub", json!("cli_1")),
        (TokenKind::Employee, "sub", json!("cli_1")),
        (TokenKind::Client, "sid", json!("ses_1")),
        (TokenKind::User, "sid", Value::Null),
        (TokenKind::OneTime, "sid", json!("ses_1")),
        (TokenKind::OneTime, "scope", json!("transfers:execute")),
        (TokenKind::OneTime, "authorization_details", Value::Null),
        (TokenKind::User, "authorization_details", operation),
        (TokenKind::Process, "process_id", Value::Null),
        (TokenKind::User, "process_id", json!("prc_1")),
        (TokenKind::User, "roles", json!(["Administrator"])),
    ] {
        assert_eq!(with_claim_of(kind, name, &value), Err(TokenRefusal::BadClaim(name)), "{kind} {name}");
    }
}

#[test]
fn an_operation_is_read_whole_or_not_at_all() {
    let good =
        json!({"type": "operation", "actions": ["POST"], "locations": ["https://api.example/v1/transfers"]});
    let with = |change: fn(&mut Value)| {
        let mut entry = good.clone();
        change(&mut entry);
        with_claim_of(TokenKind::OneTime, "authorization_details", &json!([entry]))
    };
    assert!(with(|_| ()).unwrap().operation.unwrap().money.is_none());
    let changes: [fn(&mut Value); 13] = [
        |entry| entry["type"] = json!("payment"),
        |entry| entry["actions"] = json!([]),
        |entry| entry["actions"] = json!(["POST", "PUT"]),
        |entry| entry["actions"] = json!("POST"),
        |entry| entry["actions"] = json!([""]),
        |entry| entry["locations"] = json!(["a", "b"]),
        |entry| entry["money"] = json!({"amount": "1", "currency": "EUR"}),
        |entry| entry["money"] = json!({"amount": 1.5, "currency": "EUR"}),
        |entry| entry["money"] = json!({"amount": 1, "currency": "EUR", "more": 1}),
        |entry| entry["money"] = json!(null),
        |entry| entry["entity_id"] = json!(1),
        |entry| entry["unknown_limit"] = json!(1),
        |entry| *entry = json!("operation"),
    ];
    for (index, change) in changes.into_iter().enumerate() {
        assert_eq!(with(change), Err(TokenRefusal::BadClaim("authorization_details")), "{index}");
    }
    for bad in [json!([]), json!([good, good]), json!(good), json!("x")] {
        let refused = with_claim_of(TokenKind::OneTime, "authorization_details", &bad);
        assert_eq!(refused, Err(TokenRefusal::BadClaim("authorization_details")), "{bad}");
    }
}

proptest! {
    #[test]
    fn any_payload_gives_an_answer(payload in r#"\{("(iss|exp|aud)":[ -~]{0,10},?){0,3}\}"#) {
        let token = jws::sign_with(&key(), &[("typ", TYP_ACCESS)], payload.as_bytes()).unwrap();
        prop_assert!(verify(&token).is_err());
    }
}
