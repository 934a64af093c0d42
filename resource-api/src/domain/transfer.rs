//! Transfers between two entities of one partner.

use keys::UnixSeconds;

use super::entity::Entity;
use super::money::Money;
use super::refusal::Refusal;
use super::route;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferOrder {
    /// Entity that pays.
    pub source: String,
    /// Entity that is paid.
    pub destination: String,
    /// How much.
    pub money: Money,
    /// Two digits, free for the partner's own statistics.
    pub category: Option<String>,
    /// The partner's own reference, unique among its transfers.
    pub client_reference: Option<String>,
}

impl TransferOrder {
    /// What can be said without looking anything up.
    ///
    /// # Errors
    /// 422 `same_entity`, `category_not_allowed`, `client_reference_not_allowed`.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.source == self.destination {
            let detail = "an entity does not pay itself";
            return Err(Refusal::unprocessable("same_entity", "/destination", detail));
        }
        let digits = |text: &String| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        if !self.category.as_ref().is_none_or(digits) {
            return Err(Refusal::unprocessable(
                "category_not_allowed",
                "/category",
                "a category is two digits",
            ));
        }
        if !self.client_reference.as_deref().is_none_or(is_reference) {
            let detail = "1 to 64 of A-Z a-z 0-9 . _ - : /";
            return Err(Refusal::unprocessable("client_reference_not_allowed", "/client_reference", detail));
        }
        Ok(())
    }

    /// What the two entities allow.
    ///
    /// # Errors
    /// 422 `currency_mismatch`, `route_not_allowed`, or what [`Entity::may_send`] and [`Entity::may_receive`] say.
    pub fn check_entities(&self, source: &Entity, destination: &Entity) -> Result<(), Refusal> {
        let currency = self.money.currency.code();
        if source.currency != currency || destination.currency != currency {
            let pointer = if source.currency == currency { "/destination" } else { "/source" };
            return Err(Refusal::unprocessable(
                "currency_mismatch",
                pointer,
                "an entity holds one currency only",
            ));
        }
        source.may_send("/source")?;
        destination.may_receive("/destination")?;
        if route::is_allowed(source.kind, destination.kind) {
            return Ok(());
        }
        let detail = format!("{} does not pay {}", source.kind, destination.kind);
        Err(Refusal::unprocessable("route_not_allowed", "/destination", detail))
    }
}

/// Whether the text is fit to be a partner's own reference.
pub fn is_reference(text: &str) -> bool {
    let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'/');
    (1..=64).contains(&text.len()) && text.bytes().all(safe)
}

/// A transfer as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// The tenant.
    pub partner_id: String,
    /// `trf_…`
    pub transfer_id: String,
    /// `fast`: booked in the call that asked for it.
    pub mode: String,
    /// What was asked for.
    pub source_entity_id: String,
    /// Entity that was paid.
    pub destination_entity_id: String,
    /// Owner of the source when it was made.
    pub source_owner_id: String,
    /// Owner of the destination when it was made.
    pub destination_owner_id: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// Two digits.
    pub category: Option<String>,
    /// The partner's own reference.
    pub client_reference: Option<String>,
    /// The client whose token asked for it.
    pub initiator_client_id: String,
    /// The subject of that token.
    pub initiator_sub: String,
    /// `completed` for a fast transfer.
    pub state: String,
    /// The ledger transaction that booked it.
    pub ledger_txn_id: String,
    /// When it was asked for.
    pub created_at: UnixSeconds,
    /// When it was booked.
    pub completed_at: Option<UnixSeconds>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> TransferOrder {
        TransferOrder {
            source: "ent_1".to_owned(),
            destination: "ent_2".to_owned(),
            money: Money::checked(5, "EUR", "/money").unwrap(),
            category: Some("20".to_owned()),
            client_reference: Some("inv/2026-1".to_owned()),
        }
    }

    #[test]
    fn an_order_is_checked_before_anything_is_looked_up() {
        assert_eq!(order().check(), Ok(()));
        let to_itself = TransferOrder { destination: "ent_1".to_owned(), ..order() };
        let bad_category = TransferOrder { category: Some("2a".to_owned()), ..order() };
        let bad_reference = TransferOrder { client_reference: Some("a b".to_owned()), ..order() };
        for (order, code) in [
            (to_itself, "same_entity"),
            (bad_category, "category_not_allowed"),
            (bad_reference, "client_reference_not_allowed"),
        ] {
            assert_eq!(order.check().unwrap_err().code, code);
        }
    }
}
