//! Vectors of RFC 7518 appendix B.3, a message made by another implementation, and what must not open.

use serde_json::json;

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The RSA key pair printed in RFC 7517 appendix A.2: everybody has its private half.
fn printed_key() -> SigningKey {
    SigningKey::from_private_jwk(&json!({
        "kty": "RSA",
        "n": concat!(
            "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB",
            "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8",
            "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_",
            "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        ),
        "e": "AQAB",
        "d": concat!(
            "X4cTteJY_gn4FYPsXB8rdXix5vwsg1FLN5E3EaG6RJoVH-HLLKD9M7dx5oo7GURknchnrRweUkC7hT5fJLM0WbFAKNLWY2vv7B6N",
            "qXSzUvxT0_YSfqijwp3RTzlBaCxWp4doFk5N2o8Gy_nHNKroADIkJ46pRUohsXywbReAdYaMwFs9tv8d_cPVY3i07a3t8MN6TNwm",
            "0dSawm9v47UiCl3Sk5ZiG7xojPLu4sbg1U2jx4IBTNBznbJSzFHK66jT8bgkuqsk0GjskDJk19Z4qwjwbsnn4j2WBii3RL-Us2lG",
            "VkY8fkFzme1z0HbIkfz0Y6mqnOYtqc0X4jfcKoAC8Q",
        ),
        "p": concat!(
            "83i-7IvMGXoMXCskv73TKr8637FiO7Z27zv8oj6pbWUQyLPQBQxtPVnwD20R-60eTDmD2ujnMt5PoqMrm8RfmNhVWDtjjMmCMjOp",
            "SXicFHj7XOuVIYQyqVWlWEh6dN36GVZYk93N8Bc9vY41xy8B9RzzOGVQzXvNEvn7O0nVbfs",
        ),
        "q": concat!(
            "3dfOR9cuYq-0S-mkFLzgItgMEfFzB2q3hWehMuG0oCuqnb3vobLyumqjVZQO1dIrdwgTnCdpYzBcOfW5r370AFXjiWft_NGEiovo",
            "nizhKpo9VVS78TzFgxkIdrecRezsZ-1kYd_s1qDbxtkDEgfAITAG9LUnADun4vIcb6yelxk",
        ),
        "dp": concat!(
            "G4sPXkc6Ya9y8oJW9_ILj4xuppu0lzi_H7VTkS8xj5SdX3coE0oimYwxIi2emTAue0UOa5dpgFGyBJ4c8tQ2VF402XRugKDTP8ak",
            "YhFo5tAA77Qe_NmtuYZc3C3m3I24G2GvR5sSDxUyAN2zq8Lfn9EUms6rY3Ob8YeiKkTiBj0",
        ),
        "dq": concat!(
            "s9lAH9fggBsoFR8Oac2R_E2gw282rT2kGOAhvIllETE1efrA6huUUvMfBcMpn8lqeW6vzznYY5SSQF7pMdC_agI3nG8Ibp1BUb0J",
            "UiraRNqUfLhcQb_d9GF4Dh7e74WbRsobRonujTYN1xCaP6TO61jvWrX-L18txXw494Q_cgk",
        ),
        "qi": concat!(
            "GyM_p6JrXySiz1toFgKbWV-JdI3jQ4ypu9rbMWx3rQJBfmt0FoYzgUIZEVFEcOqwemRN81zoDAaa-Bk0KWNGDjJHZDdDmFhW3AN7",
            "lI-puxk_mHZGJ11rxyR8O55XLSe3SPmRfKwZI6yU24ZxvQKFYItdldUKGzO6Ia6zTKhAVRU",
        ),
    }))
    .unwrap()
}

/// Made with jwcrypto 1.x for the key above.
const FOREIGN: &str = concat!(
    "eyJhbGciOiAiUlNBLU9BRVAtMjU2IiwgImVuYyI6ICJBMjU2Q0JDLUhTNTEyIiwgImtpZCI6ICIyMDExLTA0LTI5IiwgImN0eSI6",
    "ICJKV1QifQ.OvY_UZbkw5oDOnwGLIH-BLgQR0vZsRoWG-s3ZFNbN5qjt6HJhdDdmpr67WxmW2vBSJt_Z-aYbQRDBC5fXaz4U_luL",
    "pJaRzBSJl-OcgWeJzRiymhJpla13OWpPbWnvKHRUQeewlJ9vqMIIkbYNlFfTdpS2DJ7NgNBhLlKS78a_iJiK33Q_oluBy5WUme3l",
    "W847C7BnW8JzSNUNXvuDFdBydNDkpZYlHGCCx8vvQKP8HJ9rHrzCsbIXzIitXGvkNXw2j-7n2nHWOOPJLGk5AhefRvAv-OjHF8-v",
    "htQKTo0OHjZLL258RSRqeuePbOIaPLjhph-LGR7ei75NcZwmhkg-Q.enhCvE3nXGYOK8KWVvth4A.sDE8YW5PIo-OLp5QLpDgRIb",
    "NLvEhOozz_vOheALypiw.sHaxWyVp-qABxPozVFFZEXsB7D4up4MkRPI1es-KBeU",
);

fn pair() -> (EncryptionKey, DecryptionKey) {
    let key = printed_key();
    (EncryptionKey::new(key.public_jwk()).unwrap(), DecryptionKey::new(&key).unwrap())
}

#[test]
fn the_content_is_sealed_as_in_rfc_7518_appendix_b_3() {
    let cek: Vec<u8> = (0..64).collect();
    let iv = bytes("1af38c2dc2b96ffdd86694092341bc04");
    let plain =
        b"A cipher system must not be required to be secret, and it must be able to fall into the hands of \
        the enemy without inconvenience";
    let aad = b"The second principle of Auguste Kerckhoffs";
    let (content, tag) = seal_content(&cek, &iv, aad, plain).unwrap();
    let expected = concat!(
        "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279c2e6d1",
        "2a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f09b3a3b75e66",
        "2a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d0703b1f6",
    );
    assert_eq!(content, bytes(expected));
    assert_eq!(tag.to_vec(), bytes("4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5"));
    assert_eq!(open_content(&cek, &iv, aad, (content, &tag)).unwrap(), plain);
}

#[test]
fn a_message_of_another_implementation_opens() {
    let (_, key) = pair();
    assert_eq!(key.open(FOREIGN).unwrap(), br#"{"resourceType":"USER"}"#);
}

#[test]
fn a_message_names_its_key_and_algorithms_and_opens_for_its_recipient_only() {
    let (to, key) = pair();
    assert_eq!(to.kid(), printed_key().public_jwk().thumbprint());
    let message = to.encrypt("JWT", b"a.b.c", [7; RANDOM_BYTES]).unwrap();
    assert_eq!(key.open(&message).unwrap(), b"a.b.c");
    let header = b64::decode(message.split('.').next().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    assert_eq!(header, json!({"alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "kid": to.kid(), "cty": "JWT"}));
    let stranger = DecryptionKey::new(&SigningKey::generate_rsa(2048).unwrap()).unwrap();
    assert_eq!(stranger.open(&message), Err(BadJwe::Unreadable));
}

#[test]
fn every_length_opens_and_is_padded_to_whole_blocks() {
    let (to, key) = pair();
    for length in [0, 1, 15, 16, 17, 1_000] {
        let plain = vec![b'x'; length];
        let message = to.encrypt("JWT", &plain, [9; RANDOM_BYTES]).unwrap();
        assert_eq!(key.open(&message).unwrap(), plain);
        let content = b64::decode(message.split('.').nth(3).unwrap()).unwrap();
        assert_eq!(content.len(), (length / 16 + 1) * 16);
    }
}

#[test]
fn a_message_that_was_changed_anywhere_does_not_open() {
    let (to, key) = pair();
    let message = to.encrypt("JWT", b"a.b.c", [7; RANDOM_BYTES]).unwrap();
    let parts: Vec<Vec<u8>> = message.split('.').map(|part| b64::decode(part).unwrap()).collect();
    let written = |parts: &[Vec<u8>]| parts.iter().map(b64::encode).collect::<Vec<_>>().join(".");
    for index in 1..5 {
        for at in [0, parts[index].len() - 1] {
            let mut changed = parts.clone();
            changed[index][at] ^= 1;
            assert_eq!(key.open(&written(&changed)), Err(BadJwe::Unreadable), "part {index}, byte {at}");
        }
        let mut cut = parts.clone();
        cut[index].pop();
        assert_eq!(key.open(&written(&cut)), Err(BadJwe::Unreadable), "part {index} cut");
    }
    let mut other_kid = parts.clone();
    let header = r#"{"alg":"RSA-OAEP-256","enc":"A256CBC-HS512","kid":"other","cty":"JWT"}"#;
    other_kid[0] = header.as_bytes().to_vec();
    assert_eq!(key.open(&written(&other_kid)), Err(BadJwe::Unreadable), "the header is covered");
}

#[test]
fn other_algorithms_and_headers_that_change_the_reading_are_refused() {
    let (to, key) = pair();
    let message = to.encrypt("JWT", b"a.b.c", [7; RANDOM_BYTES]).unwrap();
    let (_, rest) = message.split_once('.').unwrap();
    let cases = [
        (json!({"alg": "RSA1_5", "enc": ENC}), "alg"),
        (json!({"alg": "RSA-OAEP", "enc": ENC}), "alg"),
        (json!({"alg": "dir", "enc": ENC}), "alg"),
        (json!({"enc": ENC}), "alg"),
        (json!({"alg": ALG, "enc": "A128CBC-HS256"}), "enc"),
        (json!({"alg": ALG, "enc": "A256GCM"}), "enc"),
        (json!({"alg": ALG, "enc": ENC, "zip": "DEF"}), "zip"),
        (json!({"alg": ALG, "enc": ENC, "crit": ["x"]}), "crit"),
        (json!({"alg": ALG, "enc": ENC, "jwk": {}}), "jwk"),
    ];
    for (header, name) in cases {
        let spoiled = format!("{}.{rest}", b64::encode(header.to_string()));
        assert_eq!(key.open(&spoiled), Err(BadJwe::Header(name)), "{header}");
    }
    for bad in ["", "a.b.c", "a.b.c.d.e.f", &format!("{message}="), &format!("{message}.")] {
        assert_eq!(key.open(bad), Err(BadJwe::NotCompact), "{bad}");
    }
    let doubled =
        format!("{}.{rest}", b64::encode(format!(r#"{{"alg":"{ALG}","alg":"{ALG}","enc":"{ENC}"}}"#)));
    assert!(matches!(key.open(&doubled), Err(BadJwe::Header(_))), "members are not repeated");
    let long = "a".repeat(MESSAGE_BYTES_MAX + 1);
    assert_eq!(key.open(&long), Err(BadJwe::NotCompact));
}

#[test]
fn only_rsa_keys_take_messages() {
    let curve = SigningKey::es256_from_seed([1; 32]).unwrap();
    assert!(matches!(EncryptionKey::new(curve.public_jwk()), Err(KeyFault::Unsupported(_))));
    assert!(matches!(DecryptionKey::new(&curve), Err(KeyFault::Unsupported(_))));
}

#[test]
fn debug_shows_no_key() {
    let (to, key) = pair();
    assert_eq!(format!("{key:?}"), "DecryptionKey(..)");
    assert!(!format!("{to:?}").contains("OaepPublic"));
}
