//! Tokens that must not verify, whatever their signature says (RFC 8725).

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::PublicJwk;

fn key() -> SigningKey {
    SigningKey::es256_from_seed([1; 32]).unwrap()
}

/// A token with any header text, truly signed by [`key`].
fn signed_with_header(header: &str) -> String {
    let signing_input = format!("{}.{}", b64::encode(header), b64::encode("{}"));
    let signature = key().sign(signing_input.as_bytes()).unwrap();
    format!("{signing_input}.{}", b64::encode(signature))
}

#[test]
fn a_signed_token_verifies_and_has_its_header() {
    let token = sign(&key(), "at+jwt", &json!({"iss": "x"})).unwrap();
    let compact = Compact::parse(&token).unwrap();
    assert_eq!(
        compact.header(),
        &Header {
            alg: Algorithm::Es256,
            kid: Some(key().kid().to_owned()),
            typ: Some("at+jwt".into()),
            cid: None,
        }
    );
    assert_eq!(compact.verify(&key().public_jwk().verifying_key()).unwrap(), br#"{"iss":"x"}"#);
    assert_eq!(compact.unverified_payload(), br#"{"iss":"x"}"#);
    assert!(token.starts_with(compact.signing_input()));
    let other = SigningKey::es256_from_seed([2; 32]).unwrap().public_jwk().verifying_key();
    assert_eq!(compact.verify(&other), Err(BadJws::Signature));
}

/// RFC 7515 appendix A.3 and RFC 8037 appendix A.4.
#[test]
fn the_examples_of_the_rfcs_verify() {
    let es256 = json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"});
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    let key = PublicJwk::try_from(&es256).unwrap().verifying_key();
    assert!(Compact::parse(token).unwrap().verify(&key).is_ok());

    let ed25519 = json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let key = SigningKey::from_private_jwk(&ed25519).unwrap();
    let token = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    let compact = Compact::parse(token).unwrap();
    assert_eq!(compact.verify(&key.public_jwk().verifying_key()).unwrap(), b"Example of Ed25519 signing");
    assert_eq!(
        b64::encode(key.sign(compact.signing_input().as_bytes()).unwrap()),
        token.rsplit_once('.').unwrap().1
    );
}

#[test]
fn unsigned_and_foreign_algorithms_are_refused() {
    for alg in ["none", "None", "nOnE", "HS256", "HS512", "ES384", "ES256K", "RSA-OAEP", "dir", "es256", ""] {
        let token = signed_with_header(&format!(r#"{{"alg":"{alg}"}}"#));
        assert_eq!(Compact::parse(&token).unwrap_err(), BadJws::Algorithm, "{alg}");
    }
    for header in ["{}", r#"{"alg":null}"#, r#"{"alg":["ES256"]}"#, r#"{"alg":1}"#, r#"{"ALG":"ES256"}"#] {
        assert_eq!(Compact::parse(&signed_with_header(header)).unwrap_err(), BadJws::Algorithm, "{header}");
    }
    let unsigned = format!("{}.{}.", b64::encode(r#"{"alg":"ES256"}"#), b64::encode("{}"));
    let key = key().public_jwk().verifying_key();
    assert_eq!(Compact::parse(&unsigned).unwrap().verify(&key), Err(BadJws::Signature));
}

#[test]
fn the_key_decides_the_algorithm() {
    let key = key().public_jwk().verifying_key();
    for alg in ["RS256", "RS512", "PS256", "PS512", "EdDSA"] {
        let token = signed_with_header(&format!(r#"{{"alg":"{alg}"}}"#));
        assert_eq!(Compact::parse(&token).unwrap().verify(&key), Err(BadJws::Signature), "{alg}");
    }
    // The public key's bytes as an HMAC secret: the algorithm does not exist here.
    let token = signed_with_header(r#"{"alg":"HS256"}"#);
    assert_eq!(Compact::parse(&token).unwrap_err(), BadJws::Algorithm);
}

#[test]
fn headers_that_choose_their_own_key_or_encoding_are_refused() {
    let public = crate::SigningKey::es256_from_seed([1; 32]).unwrap().public_jwk().to_value();
    for (member, value) in [
        ("crit", json!(["exp"])),
        ("crit", json!([])),
        ("b64", json!(false)),
        ("b64", json!(true)),
        ("jwk", public),
        ("jku", json!("https://evil.example/jwks")),
        ("x5u", json!("https://evil.example/cert")),
        ("x5c", json!(["MIIB"])),
        ("zip", json!("DEF")),
        ("enc", json!("A256GCM")),
        ("cty", json!("JWT")),
        ("p2c", json!(1_000_000_000)),
    ] {
        let header = json!({"alg": "ES256", member: value});
        let refused = Compact::parse(&signed_with_header(&header.to_string())).unwrap_err();
        assert_eq!(refused, BadJws::Header(member), "{header}");
    }
}

#[test]
fn headers_with_two_readings_or_wrong_types_are_refused() {
    for header in [
        r#"{"alg":"ES256","alg":"none"}"#,
        r#"{"alg":"none","alg":"ES256"}"#,
        r#"{"alg":"ES256","kid":"a","kid":"b"}"#,
        r#"{"alg":"ES256","kid":1}"#,
        r#"{"alg":"ES256","kid":""}"#,
        r#"{"alg":"ES256","kid":null}"#,
        r#"{"alg":"ES256","typ":["at+jwt"]}"#,
        r#"{"alg":"ES256","cid":{}}"#,
        r#"{"alg":"ES256"} x"#,
        "\u{FEFF}{\"alg\":\"ES256\"}",
        r#"["ES256"]"#,
        "ES256",
        "",
    ] {
        let refused = Compact::parse(&signed_with_header(header)).unwrap_err();
        assert!(matches!(refused, BadJws::Header(_)), "{header} {refused}");
    }
    let long_kid = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, "k".repeat(257));
    assert_eq!(Compact::parse(&signed_with_header(&long_kid)).unwrap_err(), BadJws::Header("kid"));
    let deep = format!(r#"{{"alg":"ES256","x":{}1{}}}"#, "[".repeat(1_000), "]".repeat(1_000));
    assert_eq!(Compact::parse(&signed_with_header(&deep)).unwrap_err(), BadJws::Header("too_deep"));
}

#[test]
fn there_are_exactly_three_canonical_parts() {
    let token = sign(&key(), "at+jwt", &json!({})).unwrap();
    for bad in ["", ".", "a.b", "a.b.c.d", "a.b.c.d.e", &format!("{token}.x"), &token.replace('.', "")] {
        assert_eq!(Compact::parse(bad).unwrap_err(), BadJws::NotCompact, "{bad}");
    }
    for bad in [format!("{token}="), format!("{token}\n"), format!(" {token}"), format!("{token} ")] {
        assert_eq!(Compact::parse(&bad).unwrap_err(), BadJws::Encoding, "{bad:?}");
    }
    let longer = format!("{token}A");
    let verified =
        Compact::parse(&longer).unwrap().verify(&key().public_jwk().verifying_key()).map(<[u8]>::len);
    assert_eq!(verified, Err(BadJws::Signature));
    for part in 0..3 {
        let parts = token.split('.').enumerate();
        let changed =
            parts.map(|(index, text)| if index == part { format!("{text}=") } else { text.to_owned() });
        let token = changed.collect::<Vec<_>>().join(".");
        assert_eq!(Compact::parse(&token).unwrap_err(), BadJws::Encoding, "{part}");
    }
}

#[test]
fn long_tokens_are_refused_before_anything_else() {
    for bad in [".".repeat(1 << 20), "a".repeat(TOKEN_BYTES_MAX + 1), format!("a.b.{}", "A".repeat(1 << 20))]
    {
        assert_eq!(Compact::parse(&bad).unwrap_err(), BadJws::TooLong);
    }
    assert_eq!(Compact::parse(&".".repeat(TOKEN_BYTES_MAX)).unwrap_err(), BadJws::NotCompact);
}

#[test]
fn no_character_of_a_token_can_be_changed() {
    let token = sign(&key(), "at+jwt", &json!({"sub": "alice"})).unwrap();
    let key = key().public_jwk().verifying_key();
    for index in 0..token.len() {
        for replacement in [b'A', b'B', b'_', b'.'] {
            let mut changed = token.clone().into_bytes();
            if changed[index] == replacement {
                continue;
            }
            changed[index] = replacement;
            let changed = String::from_utf8(changed).unwrap();
            let verified = Compact::parse(&changed).map(|compact| compact.verify(&key).is_ok());
            assert_ne!(verified, Ok(true), "{index}");
        }
    }
}

proptest! {
    #[test]
    fn any_text_gives_an_answer(text in "\\PC{0,200}") {
        prop_assert!(Compact::parse(&text).is_err());
    }

    #[test]
    fn any_header_gives_an_answer(header in r"\{[ -~]{0,60}\}") {
        let token = signed_with_header(&header);
        if let Ok(compact) = Compact::parse(&token) {
            prop_assert_eq!(compact.verify(&key().public_jwk().verifying_key()).is_ok(), compact.header().alg == Algorithm::Es256);
        }
    }

    #[test]
    fn any_payload_comes_back(payload in prop::collection::vec(any::<u8>(), 0..500)) {
        let token = sign_with(&key(), &[], &payload).unwrap();
        let compact = Compact::parse(&token).unwrap();
        prop_assert_eq!(compact.verify(&key().public_jwk().verifying_key()).unwrap(), payload);
    }
}
