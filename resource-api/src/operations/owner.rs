//! Whose wallets and transfers a caller may see.

use chassis::{Fault, Tx};

use crate::domain::caller::Caller;
use crate::store;

/// The owner a caller is limited to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Owner {
    /// None: it acts for the whole partner.
    Any,
    /// A user who is no customer yet, and so owns nothing.
    Nobody,
    /// The customer of its subject.
    Customer(String),
}

impl Owner {
    /// Looks up the customer of a user; costs nothing for a backend.
    pub(super) async fn of(tx: &mut Tx, caller: &Caller) -> Result<Self, Fault> {
        let Some(sub) = caller.own_sub() else { return Ok(Self::Any) };
        let customer = store::customers::find_by_subject(tx, &caller.partner_id, sub).await?;
        Ok(customer.map_or(Self::Nobody, |customer| Self::Customer(customer.customer_id)))
    }
}
