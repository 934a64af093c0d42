//! What the tour shows: numbered steps, each request as it could be typed, each answer, each check.

use serde_json::Value;

/// Tokens and other long strings are shown by their beginning.
const STRING_SHOWN_MAX: usize = 96;

/// Begins a chapter.
pub(crate) fn chapter(title: &str) {
    println!("\n━━ {title}");
}

/// Begins a step of a chapter.
pub(crate) fn step(number: &str, what: &str) {
    println!("\n {number:>3}  {what}");
}

/// A request line with what matters of its headers and body.
pub(crate) fn request(method: &str, url: &str, headers: &[(&str, String)], body: Option<&str>) {
    println!("      → {method} {url}");
    for (name, value) in headers {
        println!("        {name}: {}", shortened(value));
    }
    if let Some(body) = body {
        println!("        {}", shown_body(body));
    }
}

/// An answer's status and body.
pub(crate) fn answer(status: u16, body: &Value) {
    println!("      ← {status} {}", shown(body));
}

/// Something that was checked and held.
pub(crate) fn held(what: &str) {
    println!("      ✓ {what}");
}

/// A line of explanation.
pub(crate) fn note(what: &str) {
    println!("        {what}");
}

fn shown_body(body: &str) -> String {
    serde_json::from_str(body).map_or_else(|_| shortened(body), |value: Value| shown(&value))
}

fn shown(value: &Value) -> String {
    shorten_strings(value).to_string()
}

fn shorten_strings(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(shortened(text)),
        Value::Array(items) => Value::Array(items.iter().map(shorten_strings).collect()),
        Value::Object(members) => Value::Object(
            members.iter().map(|(name, value)| (name.clone(), shorten_strings(value))).collect(),
        ),
        other => other.clone(),
    }
}

/// The first characters of a long text and how long it is.
fn shortened(text: &str) -> String {
    if text.chars().count() <= STRING_SHOWN_MAX {
        return text.to_owned();
    }
    let head: String = text.chars().take(40).collect();
    format!("{head}… ({} characters)", text.chars().count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn long_strings_are_shown_by_their_beginning() {
        let token = "a".repeat(500);
        let text = shown(&json!({ "access_token": token, "expires_in": 300 }));
        assert!(text.contains("500 characters") && text.contains("300"), "{text}");
        assert!(text.len() < 200);
    }
}
