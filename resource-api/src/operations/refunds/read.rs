//! Refunds as a partner reads them.

use super::super::Failure;
use super::view::RefundView;
use crate::app::App;
use crate::domain::caller::Caller;
use crate::domain::cursor::{self, ListScope, Page};
use crate::domain::refund::Refund;
use crate::domain::refusal::Refusal;
use crate::store::fiat_ins::find_fiat_in;
use crate::store::refund_resolutions::find_refund_resolution;
use crate::store::refunds::{find_refund, list_refunds};

/// A refund of one of the partner's orders, with how a person settled it if one did.
///
/// # Errors
/// 404 for one that does not exist, is of another order, or is another tenant's.
pub(crate) async fn find(
    app: &App,
    caller: &Caller,
    (fiat_in_id, refund_id): (String, String),
) -> Result<RefundView, Failure> {
    let partner_id = caller.partner_id.clone();
    let found = app.db.read(move |tx| {
        Box::pin(async move {
            let refund = find_refund(tx, &partner_id, (&fiat_in_id, &refund_id)).await?;
            let Some(refund) = refund else { return Ok(None) };
            let resolution = find_refund_resolution(tx, &partner_id, &refund_id).await?;
            Ok(Some(RefundView::from(&refund).resolved(resolution)))
        })
    });
    found.await?.ok_or_else(|| Refusal::not_found("refund").into())
}

/// What pages a list of refunds.
#[derive(Debug, Clone, Default)]
pub(crate) struct RefundQuery {
    /// Rows at most.
    pub(crate) limit: Option<i64>,
    /// Where to go on.
    pub(crate) cursor: Option<String>,
}

/// The refunds of an order, newest first.
///
/// # Errors
/// 404 when the partner has no such order; 400 `invalid_cursor` or `invalid_limit`.
pub(crate) async fn list(
    app: &App,
    caller: &Caller,
    (fiat_in_id, query): (String, RefundQuery),
) -> Result<Page<Refund>, Failure> {
    let limit = cursor::checked_limit(query.limit)?;
    let narrowed = fiat_in_id.clone();
    let scope = ListScope { partner_id: &caller.partner_id, list: "refunds", filter: &narrowed };
    let after =
        query.cursor.map(|text| cursor::open(&app.cursor_key, scope, &text)).transpose()?.unwrap_or_default();
    let partner_id = caller.partner_id.clone();
    let found = app.db.read(move |tx| {
        Box::pin(async move {
            if find_fiat_in(tx, &partner_id, &fiat_in_id).await?.is_none() {
                return Ok(None);
            }
            let order = (partner_id.as_str(), fiat_in_id.as_str());
            list_refunds(tx, order, &after, limit.saturating_add(1)).await.map(Some)
        })
    });
    let rows = found.await?.ok_or_else(|| Refusal::not_found("fiat-in"))?;
    Ok(cursor::page(rows, limit, |refund| cursor::sign(&app.cursor_key, scope, &refund.refund_id)))
}
