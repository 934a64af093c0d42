//! An operation that happens once, whatever the number of requests: the bracket around its rule.

use std::sync::Arc;

use chassis::claim::StoredAnswer;
use chassis::failpoint::reach;
use chassis::{Fault, Outcome, Tx};
use futures_util::future::BoxFuture;

use super::Failure;
use crate::app::App;
use crate::auth::{Attempt, Begun, Bound, begin, finish, still_running};
use crate::domain::refusal::Refusal;

/// What a rule answers inside the transaction.
pub(super) type Ruled = Result<Result<StoredAnswer, Refusal>, Fault>;

/// Runs `rule` in one transaction together with the use of the caller's one-time token or `Idempotency-Key`.
///
/// A repeat of the request gets the first answer. A refusal of the rule leaves nothing behind, so the token or key
/// is still good. `resource_id` was drawn before; `bound` is what a one-time token may be bound to.
///
/// # Errors
/// [`Failure`].
pub async fn once<R>(
    app: &App,
    attempt: Attempt,
    resource_id: String,
    bound: Bound,
    rule: R,
) -> Result<StoredAnswer, Failure>
where
    R: for<'t> Fn(&'t mut Tx) -> BoxFuture<'t, Ruled> + Send + Sync + 'static,
{
    let shared = Arc::new((attempt, resource_id, bound, rule));
    let unit = app.db.write_or_undo(move |tx| {
        let shared = Arc::clone(&shared);
        Box::pin(async move {
            let (attempt, resource_id, bound, rule) = &*shared;
            match begin(tx, attempt, resource_id, bound).await? {
                Begun::Fresh => {}
                Begun::Answered(answer) => return Ok(Outcome::Commit(Ok(answer))),
                Begun::Running { .. } => return Ok(Outcome::Undo(Err(still_running()))),
                Begun::Refused(refusal) => return Ok(Outcome::Undo(Err(refusal))),
            }
            let answer = match rule(tx).await? {
                Ok(answer) => answer,
                Err(refusal) => return Ok(Outcome::Undo(Err(refusal))),
            };
            finish(tx, attempt, &answer).await?;
            reach("once.in_unit").await;
            Ok(Outcome::Commit(Ok(answer)))
        })
    });
    let answer: StoredAnswer = unit.await??;
    reach("once.after_commit").await;
    app.outbox.wake();
    Ok(answer)
}
