//! A partner: the tenant to which clients and subjects belong.

use super::{Status, text_enum};

text_enum! {
    /// A vendor's request shapes that this build can answer.
    Dialect {
        /// PTI's user-token endpoints.
        Pti = "pti",
    }
}

/// A partner as it is cached and published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partner {
    /// `par_…`, the tenant id on both services.
    pub id: String,
    /// The operator's own name for it, unique.
    pub alias: String,
    /// For people.
    pub name: String,
    /// Whether its clients and subjects may be used.
    pub status: Status,
    /// Its clients may act for other partners.
    pub is_platform: bool,
    /// Vendor shapes switched on.
    pub dialects: Vec<Dialect>,
}

impl Partner {
    /// Whether `dialect` is switched on.
    pub fn speaks(&self, dialect: Dialect) -> bool {
        self.dialects.contains(&dialect)
    }
}
