//! What a key that is sent to us may not be.

use super::*;

fn es256() -> Value {
    json!({"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0", "kid": "k1", "alg": "ES256", "use": "sig"})
}

fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"})
}

/// RFC 7638 §3.1.
fn rsa() -> Value {
    json!({"kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29", "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"})
}

fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Result<PublicJwk, BadJwk> {
    jwk[name] = value.into();
    PublicJwk::try_from(&jwk)
}

#[test]
fn keys_of_every_type_read_back_with_their_thumbprints() {
    for (jwk, thumbprint) in [
        (es256(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"),
        (ed25519(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"),
        (rsa(), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"),
    ] {
        let key = PublicJwk::try_from(&jwk).unwrap();
        assert_eq!(key.thumbprint(), thumbprint);
        let written = key.to_value();
        assert_eq!(written["use"], "sig");
        assert_eq!(PublicJwk::try_from(&written).unwrap(), key);
        assert_eq!(written.to_string().parse::<PublicJwk>().unwrap(), key);
        assert_eq!(key.clone().with_kid("other").kid(), Some("other"));
        assert_ne!(key.clone().with_kid("other"), key);
    }
    let key = PublicJwk::try_from(&es256()).unwrap();
    assert_eq!((key.kid(), key.alg()), (Some("k1"), Some(Algorithm::Es256)));
}

#[test]
fn a_key_says_or_leaves_open_its_algorithm() {
    let algorithms =
        |jwk: &Value| PublicJwk::try_from(jwk).unwrap().verifying_key().algorithms().collect::<Vec<_>>();
    assert_eq!(algorithms(&es256()), [Algorithm::Es256]);
    assert_eq!(algorithms(&ed25519()), [Algorithm::EdDsa]);
    assert_eq!(algorithms(&rsa()), [Algorithm::Rs256]);
    let mut open = rsa();
    open.as_object_mut().unwrap().remove("alg");
    assert_eq!(algorithms(&open).len(), 4);
    for (jwk, alg) in
        [(es256(), "EdDSA"), (es256(), "RS256"), (ed25519(), "ES256"), (rsa(), "ES256"), (rsa(), "none")]
    {
        assert!(matches!(with(jwk, "alg", alg), Err(BadJwk::Unsupported(_))), "{alg}");
    }
    for alg in ["HS256", "RSA-OAEP-256", "ES384", ""] {
        assert_eq!(with(rsa(), "alg", alg), Err(BadJwk::Unsupported("alg")), "{alg}");
    }
}

#[test]
fn private_members_are_refused_and_told_apart() {
    for name in PRIVATE_MEMBERS {
        assert_eq!(with(es256(), name, "AAAA"), Err(BadJwk::Private), "{name}");
        assert_eq!(with(rsa(), name, Value::Null), Err(BadJwk::Private), "{name}");
    }
}

#[test]
fn other_types_curves_and_uses_are_refused() {
    for kty in ["oct", "EC2", "ec", "AKP", ""] {
        assert_eq!(with(es256(), "kty", kty), Err(BadJwk::Unsupported("kty or crv")), "{kty}");
    }
    for crv in ["P-384", "secp256k1", "Ed25519", "p-256"] {
        assert_eq!(with(es256(), "crv", crv), Err(BadJwk::Unsupported("kty or crv")), "{crv}");
    }
    assert_eq!(with(ed25519(), "crv", "X25519"), Err(BadJwk::Unsupported("kty or crv")));
    assert_eq!(with(es256(), "use", "enc"), Err(BadJwk::Unsupported("use")));
    assert!(with(es256(), "x5c", json!(["MIIB"])).is_ok(), "members we do not know are ignored");
}

#[test]
fn members_of_the_wrong_form_are_refused() {
    for name in ["kty", "crv", "x", "y", "kid", "alg", "use"] {
        for bad in [Value::Null, json!(1), json!([]), json!({})] {
            assert_eq!(with(es256(), name, bad.clone()), Err(BadJwk::Malformed(name)), "{name} {bad}");
        }
    }
    for (name, bad) in
        [("x", ""), ("x", "AA"), ("y", "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU="), ("y", "+/8")]
    {
        assert_eq!(with(es256(), name, bad), Err(BadJwk::Malformed(name)), "{bad}");
    }
    for bad in ["", "a\nb", "a\u{0}b"] {
        assert_eq!(with(es256(), "kid", bad), Err(BadJwk::Malformed("kid")), "{bad:?}");
    }
    assert_eq!(with(es256(), "kid", "k".repeat(KID_BYTES_MAX + 1)), Err(BadJwk::Malformed("kid")));
    for text in ["", "[]", "{}", "null", r#"{"kty":"EC","kty":"EC"}"#] {
        assert!(matches!(text.parse::<PublicJwk>(), Err(BadJwk::Malformed(_))), "{text}");
    }
}

#[test]
fn points_that_are_no_keys_are_refused() {
    let zero = b64::encode([0; 32]);
    for (name, value) in [("x", zero.as_str()), ("y", &zero), ("x", &b64::encode([0xFF; 32]))] {
        assert_eq!(with(es256(), name, value), Err(BadJwk::Weak("not a point on P-256")), "{value}");
    }
    let mut order_8 = [0_u8; 32];
    let hex = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05";
    for (index, byte) in order_8.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&hex[index * 2..index * 2 + 2], 16).unwrap();
    }
    let padded = |first: u8, middle: u8, last: u8| {
        let mut point = [middle; 32];
        (point[0], point[31]) = (first, last);
        point
    };
    let lows = [
        padded(0, 0, 0),
        padded(0, 0, 0x80),
        padded(1, 0, 0),
        padded(1, 0, 0x80),
        padded(0xEC, 0xFF, 0x7F),
        padded(0xED, 0xFF, 0x7F),
        padded(0xEE, 0xFF, 0xFF),
        padded(0xFF, 0xFF, 0x7F),
        order_8,
    ];
    for low in lows {
        let refused = with(ed25519(), "x", b64::encode(low)).unwrap_err();
        assert_eq!(refused, BadJwk::Weak("low-order or non-canonical Ed25519 point"), "{low:?}");
    }
    assert!(with(ed25519(), "x", b64::encode(padded(3, 0, 0))).is_ok(), "an ordinary point");
}

#[test]
fn weak_rsa_numbers_are_refused() {
    let odd = |bytes: usize, first: u8| {
        let mut n = vec![0x5B; bytes];
        (n[0], n[bytes - 1]) = (first, 0x5B);
        b64::encode(n)
    };
    for (n, why) in [
        (odd(128, 0xC1), "RSA modulus size"),
        (odd(256, 0x7F), "RSA modulus size"),
        (odd(513, 0x01), "RSA modulus size"),
        (odd(100_000, 0x80), "RSA modulus size"),
        (b64::encode([0xF0; 256]), "even RSA modulus"),
    ] {
        assert_eq!(with(rsa(), "n", n), Err(BadJwk::Weak(why)));
    }
    for e in [&[1][..], &[3], &[0xFF, 0xFF], &[1, 0, 0], &[1, 0, 0, 0, 1], &[0xFF; 256]] {
        assert_eq!(with(rsa(), "e", b64::encode(e)), Err(BadJwk::Weak("RSA exponent")), "{e:?}");
    }
    for bad in ["", "AAEAAQ"] {
        assert_eq!(with(rsa(), "e", bad), Err(BadJwk::Malformed("e")), "{bad}");
    }
}
