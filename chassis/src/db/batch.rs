//! Batch commands: all waiting commands of one kind are decided by one function in one unit, so that it can
//! write one multi-row statement per table instead of several statements per command.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::Db;
use super::fault::{Fault, Kind};
use super::tx::Tx;

/// Commands that one unit takes at most.
const COMMANDS_MAX: usize = 256;

/// Decides the commands in order and returns one result each, in the same order.
type Decide<C, R> = dyn for<'t> Fn(&'t mut Tx, Vec<C>) -> BoxFuture<'t, Result<Vec<R>, Fault>> + Send + Sync;

/// Collects commands of one kind and hands them to one function. Cheap to clone.
///
/// What every command of a batch did is durable before any of them is answered. A fault is not blamed on the
/// neighbours: the batch is halved until the faulty command is alone.
pub struct Batch<C, R>(Arc<Shared<C, R>>);

struct Shared<C, R> {
    name: &'static str,
    db: Db,
    decide: Arc<Decide<C, R>>,
    line: Mutex<Line<C, R>>,
}

struct Line<C, R> {
    waiting: VecDeque<Waiting<C, R>>,
    /// Whether a task serves the line.
    served: bool,
}

struct Waiting<C, R> {
    command: C,
    reply: oneshot::Sender<Result<R, Fault>>,
}

/// Commands taken out of the line by a unit, kept for its second run and for the replies.
type Taken<C, R> = Arc<Mutex<Vec<Waiting<C, R>>>>;

impl<C, R> Clone for Batch<C, R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl Db {
    /// A batch command. `decide` gets up to 256 commands and must return as many results in their order; it may
    /// run again with the same or fewer commands after a rollback, like any unit.
    pub fn batch<C, R, F>(&self, name: &'static str, decide: F) -> Batch<C, R>
    where
        F: for<'t> Fn(&'t mut Tx, Vec<C>) -> BoxFuture<'t, Result<Vec<R>, Fault>> + Send + Sync + 'static,
        C: Clone + Send + 'static,
        R: Send + 'static,
    {
        let line = Mutex::new(Line { waiting: VecDeque::new(), served: false });
        Batch(Arc::new(Shared { name, db: self.clone(), decide: Arc::new(decide), line }))
    }
}

impl<C: Clone + Send + 'static, R: Send + 'static> Batch<C, R> {
    /// Adds a command and waits for its result, which is durable by then. A command whose caller leaves before
    /// its unit began is skipped.
    ///
    /// # Errors
    /// As for [`Db::write`].
    pub async fn submit(&self, command: C) -> Result<R, Fault> {
        let (reply, answer) = oneshot::channel();
        {
            let mut line = lock(&self.0.line);
            if line.waiting.len() >= self.0.db.0.options.queue_max {
                return Err(Fault::of(Kind::Full, "submit a command: too many are waiting"));
            }
            line.waiting.push_back(Waiting { command, reply });
            if !std::mem::replace(&mut line.served, true) {
                tokio::spawn(self.clone().serve());
            }
        }
        answer.await.unwrap_or_else(|_gone| Err(Fault::of(Kind::Closed, "submit a command: it was dropped")))
    }

    /// Runs unit after unit until the line is empty. Only one task does so at a time.
    async fn serve(self) {
        loop {
            let taken = Taken::default();
            // The unit takes the commands when it begins, so those that arrive while it waits join it.
            let ending = self.run(&taken, true).await;
            let mut commands = std::mem::take(&mut *lock(&taken));
            if ending.is_err() && commands.is_empty() {
                commands = take(&self.0.line); // it never began: whoever waits learns why
            }
            self.settle(commands, ending).await;
            let mut line = lock(&self.0.line);
            if line.waiting.is_empty() {
                line.served = false;
                return;
            }
        }
    }

    /// Answers a batch, halving one that failed through a fault that may be one command's own.
    async fn settle(&self, commands: Vec<Waiting<C, R>>, ending: Result<Vec<R>, Fault>) {
        let mut stack = vec![(commands, Some(ending))];
        while let Some((commands, ending)) = stack.pop() {
            let (mut commands, ending) = match ending {
                Some(ending) => (commands, ending),
                None => self.run_again(commands).await,
            };
            match ending {
                Ok(results) => {
                    for (waiting, result) in commands.into_iter().zip(results) {
                        drop(waiting.reply.send(Ok(result)));
                    }
                }
                Err(fault) if commands.len() > 1 && may_be_one_commands_own(&fault) => {
                    let second = commands.split_off(commands.len() / 2);
                    stack.push((second, None));
                    stack.push((commands, None));
                }
                Err(fault) => {
                    tracing::warn!(batch = self.0.name, commands = commands.len(), %fault, "batch failed");
                    for waiting in commands {
                        drop(waiting.reply.send(Err(fault.clone())));
                    }
                }
            }
        }
    }

    async fn run_again(&self, commands: Vec<Waiting<C, R>>) -> (Vec<Waiting<C, R>>, Result<Vec<R>, Fault>) {
        let taken: Taken<C, R> = Arc::new(Mutex::new(commands));
        let ending = self.run(&taken, false).await;
        let commands = std::mem::take(&mut *lock(&taken));
        (commands, ending)
    }

    /// One unit over the taken commands; if `fill`, it takes them from the line as it begins.
    async fn run(&self, taken: &Taken<C, R>, fill: bool) -> Result<Vec<R>, Fault> {
        let (shared, taken) = (Arc::clone(&self.0), Arc::clone(taken));
        let unit = self.0.db.write(move |tx| {
            let commands: Vec<C> = {
                let mut held = lock(&taken);
                if fill && held.is_empty() {
                    *held = take(&shared.line);
                }
                held.iter().map(|waiting| waiting.command.clone()).collect()
            };
            Box::pin(decide(Arc::clone(&shared.decide), tx, commands))
        });
        unit.await
    }
}

async fn decide<C, R>(decide: Arc<Decide<C, R>>, tx: &mut Tx, commands: Vec<C>) -> Result<Vec<R>, Fault> {
    let asked = commands.len();
    if asked == 0 {
        return Ok(Vec::new());
    }
    let results = decide(tx, commands).await?;
    if results.len() == asked {
        Ok(results)
    } else {
        Err(Fault::new(format!("a batch of {asked} commands gave {} results", results.len())))
    }
}

/// Takes the commands whose callers still wait, oldest first.
fn take<C, R>(line: &Mutex<Line<C, R>>) -> Vec<Waiting<C, R>> {
    let mut line = lock(line);
    let mut taken = Vec::new();
    while taken.len() < COMMANDS_MAX {
        match line.waiting.pop_front() {
            Some(waiting) if waiting.reply.is_closed() => {}
            Some(waiting) => taken.push(waiting),
            None => break,
        }
    }
    taken
}

/// A lock, a full disk or a lost connection is nobody's own; halving would only repeat the wait.
fn may_be_one_commands_own(fault: &Fault) -> bool {
    matches!(fault.kind(), Kind::Other | Kind::Panicked | Kind::Timeout)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
