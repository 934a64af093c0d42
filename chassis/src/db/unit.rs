//! A unit of work on its way through a writer: the caller's closure, its result, and who waits for it.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::fault::{Fault, Kind};
use super::tx::Tx;

/// How a unit ends that may have to leave nothing behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<T> {
    /// What the unit did stays.
    Commit(T),
    /// What the unit did is rolled back; the value is the answer all the same.
    Undo(T),
}

impl<T> Outcome<T> {
    /// The answer, whether it was committed or undone.
    pub fn into_inner(self) -> T {
        match self {
            Self::Commit(value) | Self::Undo(value) => value,
        }
    }
}

/// What to do with the transaction after a unit ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Commit,
    Undo,
}

/// A unit whose result type is hidden, so that units of many kinds can share one queue.
pub(crate) trait Unit: Send {
    /// Runs it once and keeps its result. It may be run again after a rollback.
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<Verdict, Fault>>;
    /// Whether it declared that it may end in [`Outcome::Undo`].
    fn may_undo(&self) -> bool;
    /// How long one run may take.
    fn limit(&self) -> Duration;
    /// Whether its caller left before it first ran: nobody would learn the result, so it is not begun.
    fn is_abandoned(&self) -> bool;
    /// Tells the caller: the kept result, or a fault.
    fn answer(self: Box<Self>, ending: Result<(), Fault>);
}

/// What a unit is allowed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) may_undo: bool,
    pub(crate) limit: Duration,
}

pub(crate) struct Ask<F, R> {
    work: F,
    terms: Terms,
    verdict_on: fn(&R) -> Verdict,
    began: bool,
    result: Option<R>,
    reply: oneshot::Sender<Result<R, Fault>>,
}

impl<F, R> Ask<F, R> {
    pub(crate) fn new(
        work: F,
        terms: Terms,
        verdict_on: fn(&R) -> Verdict,
    ) -> (Self, oneshot::Receiver<Result<R, Fault>>) {
        let (reply, answer) = oneshot::channel();
        (Self { work, terms, verdict_on, began: false, result: None, reply }, answer)
    }
}

impl<F, R> Unit for Ask<F, R>
where
    F: for<'t> FnMut(&'t mut Tx) -> BoxFuture<'t, Result<R, Fault>> + Send,
    R: Send,
{
    fn run<'t>(&'t mut self, tx: &'t mut Tx) -> BoxFuture<'t, Result<Verdict, Fault>> {
        Box::pin(async move {
            self.began = true;
            let result = (self.work)(tx).await?;
            let verdict = (self.verdict_on)(&result);
            self.result = Some(result);
            Ok(verdict)
        })
    }

    fn may_undo(&self) -> bool {
        self.terms.may_undo
    }

    fn limit(&self) -> Duration {
        self.terms.limit
    }

    fn is_abandoned(&self) -> bool {
        !self.began && self.reply.is_closed()
    }

    fn answer(self: Box<Self>, ending: Result<(), Fault>) {
        let Self { result, reply, .. } = *self;
        let missing = || Fault::new("a unit ended without a result");
        // The caller may have left since: then nobody wants the answer.
        drop(reply.send(ending.and_then(|()| result.ok_or_else(missing))));
    }
}

/// Runs a unit once within its limit. A panic inside it becomes a fault, so that the writer lives on.
pub(crate) async fn attempt(unit: &mut dyn Unit, tx: &mut Tx) -> Result<Verdict, Fault> {
    let limit = unit.limit();
    match tokio::time::timeout(limit, AssertUnwindSafe(unit.run(tx)).catch_unwind()).await {
        Ok(Ok(ending)) => ending,
        Ok(Err(_panic)) => Err(Fault::of(Kind::Panicked, "run a unit: it panicked")),
        Err(_elapsed) => Err(Fault::of(Kind::Timeout, "run a unit: it took longer than its limit")),
    }
}
