//! The printed table: ratios first, with the absolute microseconds beside them.

/// One measured row.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// CPU microseconds of the server a request.
    pub(crate) cpu_us: f64,
    pub(crate) per_second: f64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// The floor's name, its CPU microseconds and what we hold ourselves to, as a ratio.
    pub(crate) against: Option<(&'static str, f64, f64)>,
    /// What else belongs to the row.
    pub(crate) remark: String,
}

/// Prints the rows as a Markdown table, so that it can be kept in `docs/performance.md`.
pub(crate) fn print(rows: &[Row]) {
    println!("| operation | ratio | target | CPU µs | floor µs | per second | p50 / p99 ms | |");
    println!("|---|---|---|---|---|---|---|---|");
    for row in rows {
        let (ratio, target, floor) = match row.against {
            Some((floor, us, target)) => {
                (format!("{:.2} × {floor}", row.cpu_us / us), format!("≤ {target:.1}"), format!("{us:.0}"))
            }
            None => ("floor".to_owned(), String::new(), String::new()),
        };
        println!(
            "| {} | {ratio} | {target} | {:.0} | {floor} | {:.0} | {} / {} | {} |",
            row.name,
            row.cpu_us,
            row.per_second,
            milliseconds(row.p50_us),
            milliseconds(row.p99_us),
            row.remark
        );
    }
}

#[allow(clippy::cast_precision_loss, reason = "latencies of seconds at most")]
fn milliseconds(us: u64) -> String {
    format!("{:.1}", us as f64 / 1000.0)
}
