//! Columns whose texts are sealed under the master key: where each text belongs, and how all of them move to another
//! master key.
//!
//! A [`SealedColumn`] is the only way to a place for sealing, and every one stands in a list ([`COLUMNS`] here, one in
//! each service that has its own), so no column can be forgotten when the master key changes. A source test holds this.

mod rekey;

use keys::seal::Aad;

pub use rekey::{Progress, Rekeyed, rekey};

/// A column of sealed texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedColumn {
    /// The table.
    pub table: &'static str,
    /// The column with the sealed text; it may be NULL.
    pub column: &'static str,
    /// The column that names the partner; `None` for data of no partner.
    pub tenant: Option<&'static str>,
    /// The column that names the row, together with the partner and the field.
    pub row: &'static str,
    /// The field of the place.
    pub field: SealedField,
}

/// The field of a sealed text's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealedField {
    /// The same in every row.
    Named(&'static str),
    /// What this column of the row says.
    Column(&'static str),
}

impl SealedColumn {
    /// Where a text of this column belongs. `field` counts only where the row says it ([`SealedField::Column`]).
    pub fn place<'a>(&self, tenant: &'a str, row: &'a str, field: &'a str) -> Aad<'a> {
        let field = match self.field {
            SealedField::Named(name) => name,
            SealedField::Column(_) => field,
        };
        Aad { tenant, table: self.table, row, field }
    }

    /// The columns by which a row is found, in the order of the place.
    fn key(&self) -> impl Iterator<Item = &'static str> {
        let field = match self.field {
            SealedField::Named(_) => None,
            SealedField::Column(name) => Some(name),
        };
        self.tenant.into_iter().chain([self.row]).chain(field)
    }
}

/// Private signing keys.
pub(crate) const SIGNING_KEY: SealedColumn = SealedColumn {
    table: "signing_key",
    column: "sealed_jwk",
    tenant: None,
    row: "kid",
    field: SealedField::Named("sealed_jwk"),
};

/// Seeds that sign webhooks.
pub(crate) const WEBHOOK_SEED: SealedColumn = SealedColumn {
    table: "webhook_endpoint",
    column: "secret_sealed",
    tenant: Some("partner_id"),
    row: "endpoint_id",
    field: SealedField::Named("secret"),
};

/// Seeds that sign webhooks until a rotation ends. A seed keeps its place when it moves here.
pub(crate) const PREVIOUS_WEBHOOK_SEED: SealedColumn =
    SealedColumn { column: "previous_sealed", ..WEBHOOK_SEED };

/// What a service drew for itself.
pub(crate) const SERVICE_SECRET: SealedColumn = SealedColumn {
    table: "service_secret",
    column: "sealed",
    tenant: None,
    row: "name",
    field: SealedField::Named("sealed"),
};

/// The sealed columns that every service has.
pub const COLUMNS: &[SealedColumn] = &[SIGNING_KEY, WEBHOOK_SEED, PREVIOUS_WEBHOOK_SEED, SERVICE_SECRET];
