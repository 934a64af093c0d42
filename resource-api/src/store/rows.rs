//! What multi-row statements and rows share.

use std::fmt::Write as _;

use chassis::Fault;
use chassis::sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

/// `($1, $2), ($3, $4), …`: placeholders of `rows` rows with `columns` columns, the first one numbered `first`.
pub fn placeholders(first: usize, rows: usize, columns: usize) -> String {
    let mut text = String::with_capacity(rows * columns * 6);
    for row in 0..rows {
        text.push_str(if row == 0 { "(" } else { ", (" });
        for column in 0..columns {
            let number = first + row * columns + column;
            let comma = if column == 0 { "" } else { ", " };
            // Writing to a String does not fail.
            let _ = write!(text, "{comma}${number}");
        }
        text.push(')');
    }
    text
}

/// A statement whose only varying part is the number of placeholders: `before`, the placeholders, `after`.
pub fn many(before: &str, placeholders: &str, after: &str) -> SqlStr {
    AssertSqlSafe(format!("{before} {placeholders} {after}")).into_sql_str()
}

/// Reads a stored word back.
///
/// # Errors
/// A fault that names the column: the row was written by something that knows other words.
pub fn word<T: std::str::FromStr>(text: &str, column: &'static str) -> Result<T, Fault> {
    text.parse().map_err(|_| Fault::new(format!("column {column} holds a word this version does not know")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_numbered_row_by_row() {
        assert_eq!(placeholders(1, 2, 2), "($1, $2), ($3, $4)");
        assert_eq!(placeholders(4, 1, 1), "($4)");
    }
}
