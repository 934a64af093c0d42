//! How one event becomes one line.

use std::fmt::{self, Write};

use serde::Deserialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::http::ErrorId;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object for each line.
    #[default]
    Json,
    /// For people: time, level, target, message, then `name=value`.
    Text,
}

/// Values under these names are secrets or personal data and are never written.
const HIDDEN: [&str; 26] = [
    "access_token",
    "api_key",
    "assertion",
    "authorization",
    "body",
    "card_number",
    "client_assertion",
    "client_secret",
    "code_verifier",
    "cookie",
    "email",
    "headers",
    "iban",
    "id_token",
    "master_key",
    "otp",
    "pan",
    "password",
    "phone",
    "pin",
    "private_jwk",
    "query",
    "refresh_token",
    "secret",
    "signing_key",
    "token",
];

/// Writes events as lines.
pub(super) struct Line(pub(super) Format);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (level, target) = (event.metadata().level(), event.metadata().target());
        match self.0 {
            Format::Json => {
                out.write_str("{\"time\":\"")?;
                SystemTime.format_time(&mut out)?;
                write!(out, "\",\"level\":\"{level}\",\"target\":\"{target}\"")?;
            }
            Format::Text => {
                SystemTime.format_time(&mut out)?;
                write!(out, " {level:>5} {target}:")?;
            }
        }
        let mut fields = Fields { out: &mut out, format: self.0, named: false, ended: Ok(()) };
        event.record(&mut fields);
        if let (false, Some(id)) = (fields.named, ErrorId::of_request()) {
            fields.plain("request_id", format_args!("\"{}\"", id.request_id()));
        }
        fields.ended?;
        out.write_str(if self.0 == Format::Json { "}\n" } else { "\n" })
    }
}

struct Fields<'w, 'f> {
    out: &'w mut Writer<'f>,
    format: Format,
    /// Whether a field already names the request.
    named: bool,
    ended: fmt::Result,
}

impl Fields<'_, '_> {
    /// A value that needs no escaping.
    fn plain(&mut self, name: &str, value: fmt::Arguments<'_>) {
        let format = self.format;
        self.write(|out| match format {
            Format::Json => write!(out, ",\"{name}\":{value}"),
            Format::Text => write!(out, " {name}={value}"),
        });
    }

    fn text(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let name = field.name();
        self.named |= matches!(name, "request_id" | "error_id");
        if HIDDEN.contains(&name) {
            return self.plain(name, format_args!("\"[hidden]\""));
        }
        let bare = self.format == Format::Text && name == "message";
        let json = self.format == Format::Json;
        self.write(|out| {
            match (bare, json) {
                (true, _) => out.write_str(" ")?,
                (_, true) => write!(out, ",\"{name}\":\"")?,
                (_, false) => write!(out, " {name}=\"")?,
            }
            write!(Escaped(out), "{value}")?;
            if bare { Ok(()) } else { out.write_str("\"") }
        });
    }

    fn number(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if HIDDEN.contains(&field.name()) {
            return self.plain(field.name(), format_args!("\"[hidden]\""));
        }
        self.plain(field.name(), value);
    }

    fn write(&mut self, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.ended.is_ok() {
            self.ended = write(self.out);
        }
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.text(field, format_args!("{value:?}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.number(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.number(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.number(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        if value.is_finite() {
            self.number(field, format_args!("{value}"));
        } else {
            self.text(field, format_args!("{value}"));
        }
    }
}

/// Escapes as JSON does (RFC 8259 §7), so that a value cannot end its line, its field or the terminal's colours.
struct Escaped<'w, 'f>(&'w mut Writer<'f>);

impl fmt::Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut clean_from = 0;
        for (at, letter) in text.char_indices() {
            let control = letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}');
            if !control && letter != '"' && letter != '\\' {
                continue;
            }
            self.0.write_str(&text[clean_from..at])?;
            clean_from = at + letter.len_utf8();
            match letter {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                '\n' => self.0.write_str("\\n")?,
                '\r' => self.0.write_str("\\r")?,
                '\t' => self.0.write_str("\\t")?,
                _ => write!(self.0, "\\u{:04x}", u32::from(letter))?,
            }
        }
        self.0.write_str(&text[clean_from..])
    }
}
