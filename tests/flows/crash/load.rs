//! A partner under load: customers who pay in once, twice at a time, and with one-time tokens that somebody else tries
//! too; and who pay each other.

use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;

use super::history::{History, Operation};
use super::rig::Running;
use crate::process::{Answer, Wallet};

/// Apps that try the same one-time token for different orders at the same moment.
const RIVALS: usize = 3;

/// Clients that work at the same time, each on customers of its own, until told to stop or the process is gone.
pub(crate) struct Load<'a> {
    pub(crate) running: &'a Running,
    pub(crate) history: &'a History,
    /// Begins every reference, so that no two rounds share one.
    pub(crate) prefix: String,
    pub(crate) stop: &'a AtomicBool,
}

/// Somebody who pays, with a token for one order.
pub(crate) struct Customer {
    name: String,
    wallet: Wallet,
    token: String,
}

impl Load<'_> {
    /// The first customer of each client, before the clock runs: orders are what the load is to be made of.
    pub(crate) async fn prepare(&self, clients: usize) -> Vec<Customer> {
        let made =
            join_all((0..clients).map(|client| self.meet(format!("{}-{client}-0", self.prefix)))).await;
        made.into_iter().map(|customer| customer.expect("a customer")).collect()
    }

    /// Works until stopped.
    pub(crate) async fn run(&self, customers: Vec<Customer>) {
        let clients = customers.into_iter().enumerate();
        join_all(clients.map(|(client, customer)| self.client(client, customer))).await;
    }

    async fn client(&self, client: usize, first: Customer) {
        let (mut customer, mut earlier) = (Some(first), None);
        for number in 1.. {
            let Some(now) = customer else { return };
            if self.visit(&now, earlier.as_ref()).await.is_none() {
                return;
            }
            earlier = Some(now.wallet);
            customer = self.meet(format!("{}-{client}-{number}", self.prefix)).await;
        }
    }

    async fn meet(&self, name: String) -> Option<Customer> {
        let wallet = self.running.wallet(&name).await?;
        let token = self.running.one_time(&name).await?;
        self.goes_on(Some(Customer { name, wallet, token }))
    }

    /// One customer's visit; `None` once there is nobody to talk to.
    async fn visit(&self, customer: &Customer, earlier: Option<&Wallet>) -> Option<()> {
        let Customer { name, wallet, token } = customer;
        let (running, reference) = (self.running, |operation: &str| format!("{name}-{operation}"));
        let order = |operation: &str, amount, instrument| {
            Operation::order(wallet, &reference(operation), amount, instrument)
        };
        // A caller that is impatient sends the same request twice at once.
        self.twice(order("hasty", 500, "tok_success")).await?;
        self.goes_on(self.history.send(running, order("plain", 300, "tok_success")).await)?;
        let rivals = (0..RIVALS).map(|rival| {
            let operation = order(&format!("rival{rival}"), 200, "tok_success").with_token(token);
            self.history.send(running, operation)
        });
        let rivals: Vec<Option<Answer>> = join_all(rivals).await;
        self.goes_on(rivals.into_iter().all(|answer| answer.is_some()).then_some(()))?;
        self.goes_on(self.history.send(running, order("declined", 400, "tok_decline")).await)?;
        if let Some(earlier) = earlier {
            let transfer = Operation::transfer(wallet, earlier, &reference("transfer"), 50);
            self.goes_on(self.history.send(running, transfer).await)?;
        }
        Some(())
    }

    async fn twice(&self, operation: Operation) -> Option<()> {
        let key = operation.reference.clone();
        let again = operation.body.clone();
        let path = operation.path();
        let (running, history) = (self.running, self.history);
        let (first, _) = tokio::join!(
            history.send(running, operation),
            running.dev.post(&running.token, path, &key, &again)
        );
        self.goes_on(first.map(drop))
    }

    /// Hands a value on while the load runs.
    fn goes_on<T>(&self, value: Option<T>) -> Option<T> {
        value.filter(|_| !self.stop.load(Ordering::Relaxed))
    }
}
