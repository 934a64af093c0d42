//! How resources look on the wire. No view of a customer holds personal data.

use chassis::Fault;
use chassis::claim::StoredAnswer;
use serde::Serialize;
use utoipa::ToSchema;

use crate::domain::customer::Customer;
use crate::domain::entity::EntityWithBalance;
use crate::domain::kyc::{KycProfile, LEVEL_BY_RULES_MAX};
use crate::domain::transfer::Transfer;

/// Money in integer minor units.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct MoneyView {
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
}

/// A customer without personal data.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct CustomerView {
    /// `cus_…`
    pub id: String,
    /// The subject at the authorization server.
    pub sub: String,
    /// The partner's own id.
    pub external_id: String,
    /// `person` or `business`.
    pub kind: &'static str,
    /// Residence, ISO 3166-1 alpha-2, when known.
    pub country: Option<String>,
    /// `active`, `restricted`, `blocked` or `closed`.
    pub status: &'static str,
    /// Identity level that holds now.
    pub kyc_level: i64,
    /// Where the identity check stands.
    pub kyc_status: &'static str,
    /// 0 before the first personal data, then one more with every change.
    pub pii_version: i64,
    /// One more with every change.
    pub version: i64,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub updated_at: i64,
}

impl From<&Customer> for CustomerView {
    fn from(customer: &Customer) -> Self {
        Self {
            id: customer.customer_id.clone(),
            sub: customer.sub.clone(),
            external_id: customer.external_id.clone(),
            kind: customer.kind.as_str(),
            country: customer.country.clone(),
            status: customer.status.as_str(),
            kyc_level: customer.kyc_level,
            kyc_status: customer.kyc_status.as_str(),
            pii_version: customer.pii_version,
            version: customer.version,
            created_at: customer.created_at.0,
            updated_at: customer.updated_at.0,
        }
    }
}

/// A customer's identity check.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct KycView {
    /// `cus_…`
    pub customer_id: String,
    /// 0 nothing known, 1 complete and plausible, 2 and more by a decision.
    pub level: i64,
    /// Where the check stands.
    pub status: &'static str,
    /// What the level rests on: `offline_syntax` proves no identity, `decision` is a person's; `null` at level 0.
    pub basis: Option<&'static str>,
    /// Fields still needed for the next level that rules can give.
    pub missing_fields: Vec<String>,
    /// Why, as codes.
    pub reason_codes: Vec<String>,
    /// The version of the personal data that is stored.
    pub pii_version: i64,
    /// The version that was looked at last; smaller while a check is under way.
    pub checked_pii_version: i64,
    /// Unix seconds of the last look; `null` before the first.
    pub updated_at: Option<i64>,
}

impl KycView {
    /// The view of a customer's profile.
    pub fn new(customer: &Customer, profile: Option<KycProfile>) -> Self {
        let basis = match customer.kyc_level {
            0 => None,
            level if level <= LEVEL_BY_RULES_MAX => Some("offline_syntax"),
            _ => Some("decision"),
        };
        let (missing_fields, reason_codes, checked, updated_at) = match profile {
            Some(profile) => {
                let updated_at = Some(profile.updated_at.0);
                (profile.missing_fields, profile.reason_codes, profile.pii_version, updated_at)
            }
            None => (Vec::new(), Vec::new(), 0, None),
        };
        Self {
            customer_id: customer.customer_id.clone(),
            level: customer.kyc_level,
            status: customer.kyc_status.as_str(),
            basis,
            missing_fields,
            reason_codes,
            pii_version: customer.pii_version,
            checked_pii_version: checked,
            updated_at,
        }
    }
}

/// What personal data a customer has, never the data.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PiiView {
    /// `cus_…`
    pub customer_id: String,
    /// One more with every change.
    pub pii_version: i64,
    /// Whether this submission changed anything.
    pub changed: bool,
}

/// Balances of an entity, minor units.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct BalancesView {
    /// Booked.
    pub posted: i64,
    /// Held for it by others.
    pub pending_in: i64,
    /// Held from it.
    pub pending_out: i64,
    /// What can still be spent.
    pub available: i64,
    /// Number of its newest entry: two answers with the same number show the same `posted`.
    pub as_of_seq: i64,
}

/// A wallet, or a partner's own account.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct EntityView {
    /// `ent_…`
    pub id: String,
    /// `identification`, `processing` or `customer`.
    pub kind: &'static str,
    /// The owning customer's id, or the partner's.
    pub owner: String,
    /// The owner's name for it.
    pub label: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// What it may do.
    pub status: &'static str,
    /// What is in it.
    pub balances: BalancesView,
    /// One more with every change.
    pub version: i64,
    /// Unix seconds.
    pub created_at: i64,
}

impl From<&EntityWithBalance> for EntityView {
    fn from(found: &EntityWithBalance) -> Self {
        let EntityWithBalance { entity, account } = found;
        Self {
            id: entity.entity_id.clone(),
            kind: entity.kind.as_str(),
            owner: entity.owner_id.clone(),
            label: entity.label.clone(),
            currency: entity.currency.clone(),
            status: entity.status.as_str(),
            balances: BalancesView {
                posted: account.posted,
                pending_in: account.pending_in,
                pending_out: account.pending_out,
                available: account.available(),
                as_of_seq: account.last_seq,
            },
            version: entity.version,
            created_at: entity.created_at.0,
        }
    }
}

/// A transfer.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct TransferView {
    /// `trf_…`
    pub id: String,
    /// `fast`
    pub mode: String,
    /// Entity that paid.
    pub source: String,
    /// Entity that was paid.
    pub destination: String,
    /// How much.
    pub money: MoneyView,
    /// Two digits.
    pub category: Option<String>,
    /// The partner's own reference.
    pub client_reference: Option<String>,
    /// `completed`
    pub state: String,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds.
    pub completed_at: Option<i64>,
}

impl From<&Transfer> for TransferView {
    fn from(transfer: &Transfer) -> Self {
        Self {
            id: transfer.transfer_id.clone(),
            mode: transfer.mode.clone(),
            source: transfer.source_entity_id.clone(),
            destination: transfer.destination_entity_id.clone(),
            money: MoneyView { amount: transfer.amount, currency: transfer.currency.clone() },
            category: transfer.category.clone(),
            client_reference: transfer.client_reference.clone(),
            state: transfer.state.clone(),
            created_at: transfer.created_at.0,
            completed_at: transfer.completed_at.map(|moment| moment.0),
        }
    }
}

/// One page of a list, newest first.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct PageView<T> {
    /// The rows.
    pub data: Vec<T>,
    /// Whether there is a next page.
    pub has_more: bool,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// An answer that is stored with the operation, so that a repeat gets the same bytes.
///
/// # Errors
/// A fault when the view cannot be written as JSON.
pub fn created(view: &impl Serialize) -> Result<StoredAnswer, Fault> {
    let body = serde_json::to_string(view).map_err(chassis::while_doing("write an answer"))?;
    Ok(StoredAnswer { status: 201, body })
}
