//! `countersign explain ERROR_ID`: what was refused, when, for whom, why, and what to do about it.

mod advice;

use std::process::ExitCode;

use chassis::audit::{AuditRow, find_audit_of_request};
use chassis::db::{Db, DbOptions};
use chassis::outbox::rfc3339;
use keys::UnixSeconds;
use serde_json::Value;

use super::place::Where;

/// Prints everything that is known of a request; status 1 when it is nothing.
pub(super) async fn explain(error_id: &str, place: Where) -> anyhow::Result<ExitCode> {
    let Some(error_id) = full_id(error_id) else {
        anyhow::bail!("an error_id is err_ and 32 hexadecimal digits; the digits are the x-request-id");
    };
    let mut found = false;
    for (service, url) in place.databases()? {
        let db = Db::open(&url, &DbOptions::default()).await?;
        let wanted = error_id.clone();
        let rows = db.read(move |tx| {
            let wanted = wanted.clone();
            Box::pin(async move { find_audit_of_request(tx, &wanted).await })
        });
        let rows = rows.await?;
        db.close().await;
        for row in &rows {
            found = true;
            print!("{}", told(service, row));
        }
    }
    if found {
        return Ok(ExitCode::SUCCESS);
    }
    println!("nothing is known of {error_id}.");
    println!("{}", advice::NOT_FOUND);
    Ok(ExitCode::FAILURE)
}

/// The id as it is stored, whether it was quoted from a body or from the header `x-request-id`.
fn full_id(text: &str) -> Option<String> {
    let digits = text.strip_prefix("err_").unwrap_or(text);
    let hexadecimal = digits.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    (digits.len() == 32 && hexadecimal).then(|| format!("err_{digits}"))
}

/// One row, for a person.
fn told(service: &str, row: &AuditRow) -> String {
    let details: Value = serde_json::from_str(&row.details).unwrap_or_default();
    let text = |name: &str| details[name].as_str().unwrap_or_default().to_owned();
    let mut lines = vec![
        format!("{}  {}", row.error_id, row.action),
        format!("  when    {}", rfc3339(UnixSeconds(row.occurred_at_s))),
        format!("  where   {service} on {}", row.node()),
        format!("  who     {}", who(row)),
    ];
    if row.outcome == "done" {
        lines.push(format!("  what    {} {}", row.object_id, row.details));
        return lines.join("\n") + "\n";
    }
    let code = text("code");
    lines.push(format!(
        "  what    {} {} was answered {} {code}",
        text("method"),
        text("path"),
        details["status"]
    ));
    let reason = text("reason");
    if !reason.is_empty() {
        lines.push(format!("  why     {reason}"));
    }
    // A refusal that is on record with a token says its code as the reason.
    let advice = advice::of(&code).or_else(|| advice::of(&reason)).unwrap_or(advice::OTHER);
    lines.push(format!("  do      {advice}"));
    lines.join("\n") + "\n"
}

fn who(row: &AuditRow) -> String {
    let named = |name: &str, id: &str| if id.is_empty() { String::new() } else { format!("{name} {id} ") };
    let who = named("client", &row.client_id)
        + &named("of partner", &row.partner_id)
        + &named("for user", &row.sub);
    if who.is_empty() { "nobody known".to_owned() } else { who.trim_end().to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_from_a_body_or_a_header() {
        let digits = "0123456789abcdef0123456789abcdef";
        assert_eq!(full_id(digits), full_id(&format!("err_{digits}")));
        assert_eq!(full_id(digits).as_deref(), Some("err_0123456789abcdef0123456789abcdef"));
        for bad in ["", "err_", "0123", "err_0123456789ABCDEF0123456789abcdef", "' OR 1=1"] {
            assert_eq!(full_id(bad), None, "{bad}");
        }
    }
}
