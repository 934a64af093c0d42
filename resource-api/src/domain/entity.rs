//! Digital entities: a customer's wallets and a partner's own accounts, one currency each.

use keys::UnixSeconds;

use super::customer::{CustomerStatus, words};
use super::ledger::Account;
use super::refusal::Refusal;

words! {
    /// What an entity is for; decides which routes money may take ([`super::route`]).
    EntityKind {
        /// Where a partner's value enters and leaves.
        Identification = "identification",
        /// A partner's or branch's working account.
        Processing = "processing",
        /// A customer's wallet.
        Customer = "customer",
    }
}

words! {
    /// What an entity may do.
    EntityStatus {
        /// Made, not yet usable.
        Registered = "registered",
        /// Sends and receives.
        Activated = "activated",
        /// Receives only.
        BlockedDebit = "blocked_debit",
        /// Neither sends nor receives.
        Blocked = "blocked",
        /// Gone for good, with nothing in it.
        Closed = "closed",
    }
}

/// An entity as stored, with what a rule must know of its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entity {
    /// The tenant.
    pub partner_id: String,
    /// `ent_…`
    pub entity_id: String,
    /// What it is for.
    pub kind: EntityKind,
    /// The customer's id for a wallet, else the partner's.
    pub owner_id: String,
    /// The owner's name for it.
    pub label: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// What it may do.
    pub status: EntityStatus,
    /// One more with every change of the row.
    pub version: i64,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it last changed.
    pub updated_at: UnixSeconds,
    /// The owning customer's subject; `None` for a partner's own.
    pub owner_sub: Option<String>,
    /// The owning customer's state; `None` for a partner's own.
    pub owner_status: Option<CustomerStatus>,
}

impl Entity {
    /// Whether the subject owns this wallet.
    pub fn belongs_to(&self, sub: &str) -> bool {
        self.owner_sub.as_deref() == Some(sub)
    }

    /// Whether money may go back from it to the payer. As [`Entity::may_send`], but a customer who may only receive
    /// does not stand in the way: it is the partner that gives the money back.
    ///
    /// # Errors
    /// 422 `entity_closed`, `entity_blocked`, `entity_not_activated` or `customer_blocked`.
    pub fn may_refund(&self, pointer: &str) -> Result<(), Refusal> {
        let sent = self.may_send(pointer);
        sent.or_else(|refusal| if refusal.code == "customer_restricted" { Ok(()) } else { Err(refusal) })
    }

    /// Whether money may leave it now; `pointer` is where the request named it.
    ///
    /// # Errors
    /// 422 `entity_closed`, `entity_blocked`, `customer_blocked` or `customer_restricted`.
    pub fn may_send(&self, pointer: &str) -> Result<(), Refusal> {
        self.may_receive(pointer)?;
        if self.status == EntityStatus::BlockedDebit {
            return Err(Refusal::unprocessable(
                "entity_blocked",
                pointer,
                "the entity is blocked for debits",
            ));
        }
        if self.owner_status == Some(CustomerStatus::Restricted) {
            return Err(Refusal::unprocessable("customer_restricted", pointer, "the customer may not send"));
        }
        Ok(())
    }

    /// Whether money may enter it now; `pointer` is where the request named it.
    ///
    /// # Errors
    /// 422 `entity_closed`, `entity_blocked`, `entity_not_activated` or `customer_blocked`.
    pub fn may_receive(&self, pointer: &str) -> Result<(), Refusal> {
        let refused = |code, detail: &str| Err(Refusal::unprocessable(code, pointer, detail));
        match self.status {
            EntityStatus::Closed => return refused("entity_closed", "the entity is closed"),
            EntityStatus::Blocked => return refused("entity_blocked", "the entity is blocked"),
            EntityStatus::Registered => {
                return refused("entity_not_activated", "the entity is not activated yet");
            }
            EntityStatus::Activated | EntityStatus::BlockedDebit => {}
        }
        match self.owner_status {
            Some(CustomerStatus::Blocked | CustomerStatus::Closed) => {
                refused("customer_blocked", "the owner of the entity is blocked")
            }
            _ => Ok(()),
        }
    }
}

/// An entity together with its ledger account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityWithBalance {
    /// The entity.
    pub entity: Entity,
    /// Its account.
    pub account: Account,
}

/// The largest number of characters of a label.
pub const LABEL_CHARS_MAX: usize = 64;

/// Checks an owner's name for an entity: 1 to 64 printable characters.
///
/// # Errors
/// 422 `label_not_allowed` at `pointer`.
pub fn checked_label(label: &str, pointer: &str) -> Result<(), Refusal> {
    let sized = (1..=LABEL_CHARS_MAX).contains(&label.chars().count());
    if sized && !label.chars().any(char::is_control) && label.trim() == label {
        return Ok(());
    }
    Err(Refusal::unprocessable("label_not_allowed", pointer, "1 to 64 printable characters"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wallet(status: EntityStatus, owner: Option<CustomerStatus>) -> Entity {
        Entity {
            partner_id: "p".to_owned(),
            entity_id: "ent_1".to_owned(),
            kind: EntityKind::Customer,
            owner_id: "cus_1".to_owned(),
            label: None,
            currency: "EUR".to_owned(),
            status,
            version: 1,
            created_at: UnixSeconds(0),
            updated_at: UnixSeconds(0),
            owner_sub: Some("usr_1".to_owned()),
            owner_status: owner,
        }
    }

    #[test]
    fn only_an_activated_entity_of_an_active_owner_sends() {
        use CustomerStatus as Owner;
        use EntityStatus as Status;
        let cases = [
            (Status::Activated, Owner::Active, None, None),
            (Status::Activated, Owner::Restricted, Some("customer_restricted"), None),
            (Status::Activated, Owner::Blocked, Some("customer_blocked"), Some("customer_blocked")),
            (Status::BlockedDebit, Owner::Active, Some("entity_blocked"), None),
            (Status::Blocked, Owner::Active, Some("entity_blocked"), Some("entity_blocked")),
            (Status::Closed, Owner::Active, Some("entity_closed"), Some("entity_closed")),
            (Status::Registered, Owner::Active, Some("entity_not_activated"), Some("entity_not_activated")),
        ];
        for (status, owner, send, receive) in cases {
            let entity = wallet(status, Some(owner));
            assert_eq!(entity.may_send("/source").err().map(|r| r.code), send, "{status} {owner}");
            let refund = send.filter(|code| *code != "customer_restricted");
            assert_eq!(entity.may_refund("/amount").err().map(|r| r.code), refund, "{status} {owner}");
            assert_eq!(entity.may_receive("/destination").err().map(|r| r.code), receive, "{status} {owner}");
        }
    }

    #[test]
    fn a_label_is_short_and_printable() {
        assert!(checked_label("Savings", "/label").is_ok());
        for bad in ["", " x", "a\nb", "x".repeat(65).as_str()] {
            assert_eq!(checked_label(bad, "/label").unwrap_err().code, "label_not_allowed");
        }
    }
}
