//! The extractors: what fits is taken, what has two readings is refused with its place.

use crate::world::World;

const JSON: &str = "application/json";
const FORM: &str = "application/x-www-form-urlencoded";

#[tokio::test]
async fn a_fitting_json_body_is_taken() {
    let world = World::start().await;
    let reply = world.post("/orders", JSON, br#"{"amount":5,"lines":[{"text":"a"},{"text":"b"}]}"#).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "5 a+b 48"));
}

#[tokio::test]
async fn json_with_two_readings_or_a_wrong_shape_is_refused_with_its_place() {
    let world = World::start().await;
    for (body, status, code, pointer) in [
        (&br#"{"amount":1,"amount":2}"#[..], 400, "duplicate_member", Some("/amount")),
        (b"\xEF\xBB\xBF{\"amount\":1}", 400, "byte_order_mark", None),
        (br#"{"amount":1} x"#, 400, "not_json", None),
        (br#"{"amount":1}{}"#, 400, "not_json", None),
        (b"", 400, "not_json", None),
        (b"{\"amount\":1,\"lines\":[{\"text\":\"\xff\"}]}", 400, "not_json", None),
        (br#"{"amount":"1"}"#, 400, "wrong_type", Some("/amount")),
        (br#"{"amount":1.0}"#, 400, "wrong_type", Some("/amount")),
        (br#"{"amount":null}"#, 400, "wrong_type", Some("/amount")),
        (br#"{"amount":1,"lines":[{"text":"a"},{"text":7}]}"#, 400, "wrong_type", Some("/lines/1/text")),
        (br#"{"amount":1,"status":"hunter2"}"#, 400, "unknown_field", Some("/status")),
        (br#"{"lines":[]}"#, 400, "missing_field", Some("/amount")),
    ] {
        let reply = world.post("/orders", JSON, body).await;
        let problem = reply.is_problem(status, code);
        assert_eq!(problem["errors"][0]["pointer"].as_str(), pointer, "{problem}");
        assert!(!reply.text.contains("hunter2"));
    }
}

#[tokio::test]
async fn json_under_another_media_type_is_refused() {
    let world = World::start().await;
    for media_type in ["text/plain", FORM, "application/json; charset=utf-16", "application/jsonp"] {
        world.post("/orders", media_type, br#"{"amount":1}"#).await.is_problem(415, "unsupported_media_type");
    }
    world.send("POST", "/orders", &[], br#"{"amount":1}"#).await.is_problem(415, "unsupported_media_type");
    let twice = [("Content-Type", JSON), ("Content-Type", "text/plain")];
    world.send("POST", "/orders", &twice, br#"{"amount":1}"#).await.is_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_form_is_taken_with_empty_as_absent_and_only_resource_repeated() {
    let world = World::start().await;
    let body = b"grant_type=client_credentials&scope=&other=1&resource=a&resource=b";
    let reply = world.post("/form", FORM, body).await;
    assert_eq!((reply.status, reply.text.as_str()), (200, "client_credentials None a+b"));
}

#[tokio::test]
async fn a_form_with_a_repeated_or_missing_parameter_is_refused() {
    let world = World::start().await;
    for (body, code, name) in [
        (&b"grant_type=a&grant_type=a"[..], "repeated_parameter", Some("grant_type")),
        (b"grant_type=a&scope=x&sco%70e=y", "repeated_parameter", Some("scope")),
        (b"grant_type=", "missing_field", Some("grant_type")),
        (b"grant_type=%f", "bad_encoding", None),
    ] {
        let problem = world.post("/form", FORM, body).await.is_problem(400, code);
        assert_eq!(problem["errors"][0]["pointer"].as_str(), name, "{problem}");
    }
    world.post("/form", JSON, b"{}").await.is_problem(415, "unsupported_media_type");
}

#[tokio::test]
async fn a_query_follows_the_rules_of_a_form() {
    let world = World::start().await;
    assert_eq!(world.get("/page?limit=7&x=1").await.text, "Some(7)");
    assert_eq!(world.get("/page").await.text, "None");
    world.get("/page?limit=1&limit=2").await.is_problem(400, "repeated_parameter");
    world.get("/page?limit=many").await.is_problem(400, "invalid_value");
}

#[tokio::test]
async fn the_raw_body_is_byte_for_byte_what_was_sent() {
    let world = World::start().await;
    let reply = world.post("/raw", "application/octet-stream", b" {\"a\" : 1}\r\n\t ").await;
    assert_eq!(reply.text, " {\"a\" : 1}\r\n\t ");
    assert_eq!(world.post("/raw", JSON, b"").await.text, "");
}
