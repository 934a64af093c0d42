//! Fiat-in orders: rows of `fiat_in`, read together with their charge and their customer's names.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::Listing;
use crate::domain::fiat_in::{ChargeView, FiatIn, FiatInState, Origin};
use crate::domain::money::Money;
use crate::monitoring::Outcome;

struct Row {
    fiat_in_id: String,
    partner_id: String,
    customer_id: String,
    sub: String,
    external_id: String,
    entity_id: String,
    client_id: String,
    token_jti: Option<String>,
    amount: i64,
    currency: String,
    limit_value: Option<i64>,
    client_reference: String,
    method_brand: Option<String>,
    method_last4: Option<String>,
    method_country: Option<String>,
    ip_country: Option<String>,
    device_hash: Option<String>,
    state: String,
    state_reason: Option<String>,
    decision: String,
    version: i64,
    created_at_s: i64,
    updated_at_s: i64,
    expires_at_s: Option<i64>,
    charge_id: Option<String>,
    charge_state: Option<String>,
    decline_code: Option<String>,
    decline_category: Option<String>,
    action_url: Option<String>,
}

row!(Row {
    fiat_in_id,
    partner_id,
    customer_id,
    sub,
    external_id,
    entity_id,
    client_id,
    token_jti,
    amount,
    currency,
    limit_value,
    client_reference,
    method_brand,
    method_last4,
    method_country,
    ip_country,
    device_hash,
    state,
    state_reason,
    decision,
    version,
    created_at_s,
    updated_at_s,
    expires_at_s,
    charge_id,
    charge_state,
    decline_code,
    decline_category,
    action_url,
});

fn outcome(text: &str) -> Result<Outcome, Fault> {
    [Outcome::Accept, Outcome::Review, Outcome::Refuse]
        .into_iter()
        .find(|outcome| outcome.as_str() == text)
        .ok_or_else(|| Fault::new("read the decision of a fiat-in"))
}

impl TryFrom<Row> for FiatIn {
    type Error = Fault;

    fn try_from(row: Row) -> Result<Self, Fault> {
        let currency = row.currency.parse().map_err(|_| Fault::new("read the currency of a fiat-in"))?;
        let charge = match (row.charge_id, row.charge_state) {
            (Some(charge_id), Some(state)) => Some(ChargeView {
                charge_id,
                state: state.parse().map_err(|_| Fault::new("read the state of a charge"))?,
                decline_code: row.decline_code,
                decline_category: row.decline_category,
                action_url: row.action_url,
            }),
            _ => None,
        };
        Ok(Self {
            fiat_in_id: row.fiat_in_id,
            partner_id: row.partner_id,
            customer_id: row.customer_id,
            sub: row.sub,
            external_id: row.external_id,
            entity_id: row.entity_id,
            client_id: row.client_id,
            token_jti: row.token_jti,
            money: Money { amount: row.amount, currency },
            limit_value: row.limit_value,
            client_reference: row.client_reference,
            origin: Origin {
                brand: row.method_brand,
                last4: row.method_last4,
                instrument_country: row.method_country,
                ip_country: row.ip_country,
                device_hash: row.device_hash,
            },
            state: row.state.parse().map_err(|_| Fault::new("read the state of a fiat-in"))?,
            state_reason: row.state_reason,
            decision: outcome(&row.decision)?,
            version: row.version,
            created_at: UnixSeconds(row.created_at_s),
            updated_at: UnixSeconds(row.updated_at_s),
            expires_at: row.expires_at_s.map(UnixSeconds),
            charge,
        })
    }
}

const INSERT: &str = "INSERT INTO fiat_in (fiat_in_id, partner_id, customer_id, entity_id, client_id, token_jti,
        amount, currency, limit_value, client_reference, method_brand, method_last4, method_country, ip_country,
        device_hash, state, state_reason, decision, claim, version, created_at_s, updated_at_s,
        expires_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23)
    ON CONFLICT (partner_id, client_reference) DO NOTHING";

/// Adds an order. `claim` says where the answer to its request is kept. `false`: the partner has an
/// order of that client reference already, and nothing was written.
pub async fn insert_fiat_in(tx: &mut Tx, order: &FiatIn, claim: &str) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(INSERT)
        .bind(&order.fiat_in_id)
        .bind(&order.partner_id)
        .bind(&order.customer_id)
        .bind(&order.entity_id)
        .bind(&order.client_id)
        .bind(&order.token_jti)
        .bind(order.money.amount)
        .bind(order.money.currency.code())
        .bind(order.limit_value)
        .bind(&order.client_reference)
        .bind(&order.origin.brand)
        .bind(&order.origin.last4)
        .bind(&order.origin.instrument_country)
        .bind(&order.origin.ip_country)
        .bind(&order.origin.device_hash)
        .bind(order.state.as_str())
        .bind(&order.state_reason)
        .bind(order.decision.as_str())
        .bind(claim)
        .bind(order.version)
        .bind(order.created_at.0)
        .bind(order.updated_at.0)
        .bind(order.expires_at.map(|at| at.0))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("insert fiat-in"))?;
    Ok(done == 1)
}

/// The columns of [`Row`], and where they come from.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT f.fiat_in_id, f.partner_id, f.customer_id, c.sub, c.external_id, f.entity_id, f.client_id,
                f.token_jti, f.amount, f.currency, f.limit_value, f.client_reference, f.method_brand, f.method_last4,
                f.method_country, f.ip_country, f.device_hash, f.state, f.state_reason, f.decision, f.version,
                f.created_at_s, f.updated_at_s, f.expires_at_s, g.charge_id, g.state AS charge_state, g.decline_code,
                g.decline_category, g.action_url
            FROM fiat_in f
            JOIN customer c ON c.partner_id = f.partner_id AND c.customer_id = f.customer_id
            LEFT JOIN charge g ON g.fiat_in_id = f.fiat_in_id ",
            $rest
        )
    };
}

const FIND: &str = select!("WHERE f.partner_id = $1 AND f.fiat_in_id = $2");

/// A partner's order.
pub async fn find_fiat_in(tx: &mut Tx, partner_id: &str, fiat_in_id: &str) -> Result<Option<FiatIn>, Fault> {
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(FIND)
        .bind(partner_id)
        .bind(fiat_in_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find fiat-in"))?;
    row.map(TryInto::try_into).transpose()
}

const FIND_ANY: &str = select!("WHERE f.fiat_in_id = $1");

/// An order of whatever partner: for a `status_token`, which names it, and for the workers.
pub async fn find_any_fiat_in(tx: &mut Tx, fiat_in_id: &str) -> Result<Option<FiatIn>, Fault> {
    let row: Option<Row> =
        on!(tx, conn => sqlx::query_as(FIND_ANY).bind(fiat_in_id).fetch_optional(conn).await)
            .map_err(while_doing("find fiat-in by its id alone"))?;
    row.map(TryInto::try_into).transpose()
}

const ID_BY_REFERENCE: &str =
    "SELECT fiat_in_id FROM fiat_in WHERE partner_id = $1 AND client_reference = $2";

/// The id of the partner's order with a client reference.
pub async fn find_fiat_in_id(
    tx: &mut Tx,
    partner_id: &str,
    client_reference: &str,
) -> Result<Option<String>, Fault> {
    let found: Option<(String,)> = on!(tx, conn => sqlx::query_as(ID_BY_REFERENCE)
        .bind(partner_id)
        .bind(client_reference)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find fiat-in by client reference"))?;
    Ok(found.map(|(id,)| id))
}

/// What a list of orders is limited to.
#[derive(Debug, Clone, Default)]
pub struct FiatInFilter {
    /// Only orders of the customer with this subject.
    pub sub: Option<String>,
    /// Only orders that spent this one-time token.
    pub token_jti: Option<String>,
}

const LIST: &str = select!("");

/// Orders of a partner, newest first, at most `limit`, after the id `after` (empty: from the newest).
pub async fn list_fiat_ins(
    tx: &mut Tx,
    partner_id: &str,
    filter: &FiatInFilter,
    after: &str,
    limit: i64,
) -> Result<Vec<FiatIn>, Fault> {
    let (sql, texts) = Listing::new(LIST, "f.partner_id =", partner_id)
        .and("c.sub =", filter.sub.as_deref())
        .and("f.token_jti =", filter.token_jti.as_deref())
        .newest_first("f.fiat_in_id", "f.fiat_in_id <", after);
    let rows: Vec<Row> = on!(tx, conn => {
        let mut query = sqlx::query_as(sql);
        for text in &texts {
            query = query.bind(text);
        }
        query.bind(limit).fetch_all(conn).await
    })
    .map_err(while_doing("list fiat-ins"))?;
    rows.into_iter().map(TryInto::try_into).collect()
}

/// A step of an order from one state to another.
#[derive(Debug, Clone)]
pub struct Move<'a> {
    /// Which order.
    pub fiat_in_id: &'a str,
    /// The state it must be in.
    pub from: FiatInState,
    /// The state it goes to.
    pub to: FiatInState,
    /// Why, as a public code.
    pub reason: Option<&'a str>,
    /// What monitoring last said.
    pub decision: Outcome,
    /// When.
    pub now: UnixSeconds,
}

const MOVE: &str = "UPDATE fiat_in SET state = $3, state_reason = $4, decision = $5, updated_at_s = $6,
        version = version + 1, expires_at_s = NULL
    WHERE fiat_in_id = $1 AND state = $2
    RETURNING claim";

/// Moves an order; `None` when it was not in the state it must be in, else where its answer is kept.
pub async fn move_fiat_in(tx: &mut Tx, step: &Move<'_>) -> Result<Option<String>, Fault> {
    let moved: Option<(String,)> = on!(tx, conn => sqlx::query_as(MOVE)
        .bind(step.fiat_in_id)
        .bind(step.from.as_str())
        .bind(step.to.as_str())
        .bind(step.reason)
        .bind(step.decision.as_str())
        .bind(step.now.0)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("move fiat-in to its next state"))?;
    Ok(moved.map(|(claim,)| claim))
}

const CLAIM: &str = "SELECT claim FROM fiat_in WHERE fiat_in_id = $1";

/// Where the answer to an order's request is kept.
pub async fn find_claim(tx: &mut Tx, fiat_in_id: &str) -> Result<Option<String>, Fault> {
    let found: Option<(String,)> =
        on!(tx, conn => sqlx::query_as(CLAIM).bind(fiat_in_id).fetch_optional(conn).await)
            .map_err(while_doing("find where a fiat-in's answer is kept"))?;
    Ok(found.map(|(claim,)| claim))
}
