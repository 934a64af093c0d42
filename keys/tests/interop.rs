//! What we sign, another implementation verifies with the key set we publish.

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{DecodingKey, Validation, decode};
use keys::{Algorithm, SigningKey, jws};
use serde_json::{Value, json};

#[test]
fn jsonwebtoken_verifies_our_tokens_with_our_published_keys() {
    let rsa = SigningKey::generate_rsa(2048).unwrap();
    let mut keys: Vec<_> = Algorithm::ALL.into_iter().filter_map(|alg| rsa.with_alg(alg).ok()).collect();
    keys.push(SigningKey::es256_from_seed([4; 32]).unwrap());
    keys.push(SigningKey::ed25519_from_seed([4; 32]).unwrap());
    assert_eq!(keys.len(), Algorithm::ALL.len());
    for key in keys {
        let token = jws::sign(&key, "at+jwt", &json!({"sub": "usr_1", "aud": "api"})).unwrap();
        let jwk: Jwk = serde_json::from_value(key.public_jwk().to_value()).unwrap();
        let decoding_key = DecodingKey::from_jwk(&jwk).unwrap();
        let mut validation = Validation::new(key.alg().as_str().parse().unwrap());
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        validation.set_audience(&["api"]);
        let decoded = decode::<Value>(&token, &decoding_key, &validation).unwrap();
        assert_eq!(decoded.claims["sub"], "usr_1", "{}", key.alg());
        assert_eq!(decoded.header.kid.as_deref(), Some(key.kid()));
        assert_eq!(decoded.header.typ.as_deref(), Some("at+jwt"));

        let other = jws::sign(&key, "at+jwt", &json!({"sub": "usr_2", "aud": "api"})).unwrap();
        let forged = [other.rsplit_once('.').unwrap().0, token.rsplit_once('.').unwrap().1].join(".");
        assert!(decode::<Value>(&forged, &decoding_key, &validation).is_err());
    }
}
