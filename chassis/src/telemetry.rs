//! Logs: one line for each event, as JSON for machines or as text for a terminal, to standard error.
//!
//! A line never waits for the terminal or the disk: it goes into a bounded buffer that a thread of its own writes
//! out. What must never stand in a log is kept out in three ways: our code logs ids and codes only, fields with
//! telling names are masked here, and libraries that would print headers or statements are held at warnings.

use std::fmt;
use std::io;
use std::panic::PanicHookInfo;
use std::sync::Arc;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

mod line;
mod sink;

use line::Line;
use sink::Sink;

pub use line::Format;

/// Libraries whose finer lines hold headers, statements or addresses of customers.
const HELD_BACK: &str = "h2=warn,hyper=error,hyper_util=warn,reqwest=warn,rustls=warn,rustls_platform_verifier=warn,\
                         sqlx=warn,tungstenite=warn";

/// Logs cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not in the syntax `info,authz=debug`.
    #[error("the log filter is not understood")]
    Filter,
    /// Something else in this process writes logs already.
    #[error("logs are set up already")]
    Twice,
    /// The writing thread cannot be started.
    #[error("no thread for writing logs: {0}")]
    Thread(#[from] io::Error),
}

/// Keeps the log being written. Dropping it writes what is left. Lines wait at most some 20 ms.
#[must_use = "dropping it ends the log"]
pub struct LogGuard(Arc<Sink>);

impl fmt::Debug for LogGuard {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("LogGuard")
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.0.flush();
    }
}

/// Starts the log of this process on standard error, and takes over what a panic prints: its place, and its words only
/// where they are a literal of the program, since a formatted message may quote data. `filter` is a level or a list
/// such as `info,authz=debug`.
///
/// # Errors
/// A filter that is not understood, or a log that was started before.
pub fn init(format: Format, filter: &str) -> Result<LogGuard, TelemetryError> {
    init_to(format, filter, Box::new(io::stderr()))
}

/// [`init`], writing to somewhere else.
///
/// # Errors
/// As [`init`].
pub fn init_to(
    format: Format,
    filter: &str,
    out: Box<dyn io::Write + Send>,
) -> Result<LogGuard, TelemetryError> {
    let filter = EnvFilter::try_new(format!("{filter},{HELD_BACK}")).map_err(|_| TelemetryError::Filter)?;
    let sink = Sink::start(out)?;
    let written = Arc::clone(&sink);
    let lines = tracing_subscriber::fmt::layer()
        .event_format(Line(format))
        .with_writer(move || written.writer())
        .log_internal_errors(false);
    tracing_subscriber::registry().with(filter).with(lines).try_init().map_err(|_| TelemetryError::Twice)?;
    std::panic::set_hook(Box::new(report));
    Ok(LogGuard(sink))
}

fn report(panic: &PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let said =
        panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(formatted message withheld)");
    tracing::error!(place, said, "panic");
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Runs `work` with a log of its own and returns what was written.
    fn logged(format: Format, work: impl FnOnce()) -> String {
        let kept = Kept::default();
        let sink = Sink::start(Box::new(kept.clone())).unwrap();
        let written = Arc::clone(&sink);
        let lines =
            tracing_subscriber::fmt::layer().event_format(Line(format)).with_writer(move || written.writer());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), work);
        sink.flush();
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_json_line_is_one_object_whatever_the_values_hold() {
        let odd = "a\r\nb\u{1b}[31m\"c\" \\ ö";
        let text = logged(Format::Json, || {
            tracing::info!(user_agent = odd, tries = 3, ok = true, ?odd, "said {odd}");
        });
        assert_eq!(text.matches('\n').count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["user_agent"], odd);
        assert_eq!(line["odd"], format!("{odd:?}"));
        assert_eq!((&line["tries"], &line["ok"]), (&serde_json::json!(3), &serde_json::json!(true)));
        assert_eq!(line["message"], format!("said {odd}"));
        assert_eq!((&line["level"], &line["target"]), (&"INFO".into(), &"chassis::telemetry::tests".into()));
        assert!(line["time"].as_str().unwrap().ends_with('Z'));
    }

    #[test]
    fn a_text_line_cannot_be_broken_or_coloured_by_its_values() {
        let text = logged(Format::Text, || tracing::warn!(agent = "x\n\u{1b}[31mfake", "odd"));
        assert_eq!(text.matches('\n').count(), 1);
        assert!(!text.contains('\u{1b}') && text.contains("agent=\"x\\n\\u001b[31mfake\""), "{text}");
    }

    #[test]
    fn fields_with_telling_names_are_masked() {
        for format in [Format::Json, Format::Text] {
            let text = logged(format, || {
                tracing::info!(password = "hunter2", client_secret = %"hunter2", access_token = ?"hunter2", pin = 77231, "x");
            });
            assert!(
                !text.contains("hunter2") && !text.contains("77231") && text.contains("[hidden]"),
                "{text}"
            );
        }
    }

    #[tokio::test]
    async fn lines_inside_a_request_carry_its_id() {
        let id = crate::http::ErrorId::current();
        let sink_text = id.scope(async { logged(Format::Json, || tracing::info!("inside")) }).await;
        assert!(sink_text.contains(&id.request_id()), "{sink_text}");
        assert!(!logged(Format::Json, || tracing::info!("outside")).contains("request_id"));
    }

    #[test]
    fn a_filter_that_is_not_understood_is_refused() {
        assert!(matches!(init(Format::Json, "authz=loudly"), Err(TelemetryError::Filter)));
    }
}
