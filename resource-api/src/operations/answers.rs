//! Answers of operations that end after the request that began them.

use std::time::Duration;

use chassis::claim::{ClaimRef, StoredAnswer, find_answer_of, record_answer_of};
use chassis::{Fault, Tx, while_doing};

use crate::app::App;

/// How long a repeat waits for the answer of the first request. Below the request deadline, and long enough for work
/// whose holder died to be taken up by another process.
const REPEAT_WAIT: Duration = Duration::from_secs(8);

/// First and longest pause between looks for that answer.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LONGEST: Duration = Duration::from_millis(160);

/// The first request's answer; `None` when it does not come in time.
///
/// # Errors
/// The store's fault.
pub(super) async fn wait_for_answer(app: &App, claim: ClaimRef) -> Result<Option<StoredAnswer>, Fault> {
    let look = async {
        let mut pause = LOOK_FIRST;
        loop {
            let claim = claim.clone();
            let found =
                app.db.read(move |tx| Box::pin(async move { find_answer_of(tx, &claim).await })).await?;
            if found.is_some() {
                return Ok(found);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_LONGEST);
        }
    };
    tokio::time::timeout(REPEAT_WAIT, look).await.unwrap_or(Ok(None))
}

/// Records an answer unless one was recorded before, and returns the one that stands. `claim` is a stored
/// [`ClaimRef`]; without one nobody asks, and the answer is only told.
///
/// # Errors
/// The store's fault; a stored claim that is none.
pub(super) async fn record_first(
    tx: &mut Tx,
    claim: Option<&str>,
    told: StoredAnswer,
) -> Result<StoredAnswer, Fault> {
    let Some(claim) = claim else { return Ok(told) };
    let claim: ClaimRef = serde_json::from_str(claim).map_err(while_doing("read where an answer is kept"))?;
    if record_answer_of(tx, &claim, &told).await? {
        return Ok(told);
    }
    // A claim that has expired and was swept: nobody can ask for the answer any more.
    Ok(find_answer_of(tx, &claim).await?.unwrap_or(told))
}
