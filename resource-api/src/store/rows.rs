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

/// Larger than every id in every collation: where a list begins.
pub const FIRST_PAGE: &str = "zzzz";

/// A list query whose conditions are only those that were asked for, so that each can use its index.
#[derive(Debug)]
pub struct Listing {
    sql: String,
    texts: Vec<String>,
}

impl Listing {
    /// Begins with a `SELECT … FROM …` and its first condition, such as `("SELECT * FROM customer", "partner_id =", id)`.
    pub fn new(select: &'static str, condition: &'static str, value: &str) -> Self {
        Self { sql: format!("{select} WHERE {condition} $1"), texts: vec![value.to_owned()] }
    }

    /// Adds a condition, if there is a value for it.
    #[must_use]
    pub fn and(mut self, condition: &'static str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.texts.push(value.to_owned());
            // Writing to a String does not fail.
            let _ = write!(self.sql, " AND {condition} ${}", self.texts.len());
        }
        self
    }

    /// Orders by an id, newest first, after `after` (empty: from the newest). The last placeholder is the limit.
    pub fn newest_first(self, id: &'static str, less: &'static str, after: &str) -> (SqlStr, Vec<String>) {
        let after = if after.is_empty() { FIRST_PAGE } else { after };
        let Self { sql, texts } = self.and(less, Some(after));
        let limit = texts.len() + 1;
        (AssertSqlSafe(format!("{sql} ORDER BY {id} DESC LIMIT ${limit}")).into_sql_str(), texts)
    }
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

    #[test]
    fn a_listing_asks_only_for_what_was_asked_for() {
        let listing = Listing::new("SELECT * FROM t", "p =", "acme").and("a =", None).and("b =", Some("x"));
        let (sql, texts) = listing.newest_first("id", "id <", "");
        assert_eq!(
            sql.as_str(),
            "SELECT * FROM t WHERE p = $1 AND b = $2 AND id < $3 ORDER BY id DESC LIMIT $4"
        );
        assert_eq!(texts, ["acme", "x", FIRST_PAGE]);
    }
}
