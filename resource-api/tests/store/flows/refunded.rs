//! Verbs of the refund tests: an order that was paid in, refunds of it, and what must hold afterwards.

use std::collections::BTreeMap;
use std::time::Duration;

use chassis::sqlx;
use chassis::{on, while_doing};
use resource_api::ledger;
use resource_api::sandbox::RefundOutcome;
use serde_json::{Value, json};

use super::world::{Ask, Reply, World, order};

/// A completed order of the customer `alice` of `acme`.
#[derive(Debug, Clone)]
pub(crate) struct Paid {
    pub(crate) fiat_in: String,
    pub(crate) charge: String,
    pub(crate) wallet: String,
    pub(crate) customer: String,
}

impl Paid {
    pub(crate) fn path(&self) -> String {
        format!("/v1/fiat-ins/{}/refunds", self.fiat_in)
    }
}

impl World {
    /// Sends it again while the answer is "try again", as a client would on a busy machine.
    pub(crate) async fn insist(&self, ask: Ask) -> Reply {
        for _ in 0..10 {
            let reply = self.call(ask.clone()).await;
            if reply.status != 503 {
                return reply;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        self.call(ask).await
    }

    /// Pays into the wallet of a new customer.
    pub(crate) async fn paid(&self, amount: i64) -> Paid {
        let (customer, wallet) = self.customer("alice").await;
        self.paid_again((&customer, &wallet), amount).await
    }

    /// Pays into a wallet that is there.
    pub(crate) async fn paid_again(&self, (customer, wallet): (&str, &str), amount: i64) -> Paid {
        let body = order(wallet, amount, "tok_success", &self.app.platform.new_id("order"));
        let ask = Ask::post("/v1/fiat-ins", &body).bearer(&self.one_time("alice", None));
        let told = self.insist(ask).await.json();
        assert_eq!(told["state"], "completed", "{told}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        Paid {
            fiat_in: text(&told["id"]),
            charge: text(&told["charge"]["id"]),
            wallet: wallet.to_owned(),
            customer: customer.to_owned(),
        }
    }

    /// A request for a refund under a key of its own.
    pub(crate) fn refund_ask(&self, paid: &Paid, body: &Value) -> Ask {
        let key = self.app.platform.new_id("key");
        Ask::post(&paid.path(), body).bearer(&self.client("backend")).key(&key)
    }

    /// Refunds this much.
    pub(crate) async fn refund(&self, paid: &Paid, amount: i64) -> Reply {
        self.insist(self.refund_ask(paid, &json!({ "amount": amount, "reason": "a test" }))).await
    }

    /// A request that spends money of the wallet, under a key of its own.
    pub(crate) fn transfer_ask(&self, paid: &Paid, to: &str, amount: i64) -> Ask {
        let money = json!({ "amount": amount, "currency": "EUR" });
        let body = json!({ "source": paid.wallet, "destination": to, "money": money });
        let key = self.app.platform.new_id("key");
        Ask::post("/v1/transfers", &body).bearer(&self.client("backend")).key(&key)
    }

    pub(crate) async fn read(&self, path: &str) -> Value {
        let reply = self.call(Ask::get(path).bearer(&self.client("backend"))).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()
    }

    pub(crate) async fn order(&self, paid: &Paid) -> Value {
        self.read(&format!("/v1/fiat-ins/{}", paid.fiat_in)).await
    }

    /// State of the order, what went back, what is on its way.
    pub(crate) async fn standing(&self, paid: &Paid) -> (String, i64, i64) {
        let order = self.order(paid).await;
        let number = |name: &str| order["refunds"][name].as_i64().unwrap();
        (order["state"].as_str().unwrap().to_owned(), number("refunded"), number("in_flight"))
    }

    /// What is in a wallet and can be spent.
    pub(crate) async fn spendable(&self, wallet: &str) -> i64 {
        self.read(&format!("/v1/entities/{wallet}")).await["balances"]["available"].as_i64().unwrap()
    }

    /// Lets time pass until a refund is in a state; the recovery worker looks every half second.
    pub(crate) async fn wait_for_refund(&self, paid: &Paid, id: &Value, state: &str) -> Value {
        let path = format!("{}/{}", paid.path(), id.as_str().unwrap());
        let mut last = Value::Null;
        for _ in 0..150 {
            last = self.read(&path).await;
            if last["state"] == state {
                return last;
            }
            self.clock.advance(31);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the refund did not get {state}: {last}");
    }

    /// Lets time pass until no refund of the order is under way.
    pub(crate) async fn wait_for_all_refunds(&self, paid: &Paid) {
        for _ in 0..150 {
            if self.standing(paid).await.2 == 0 {
                return;
            }
            self.clock.advance(31);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("refunds stay open: {}", self.read(&paid.path()).await);
    }

    /// The posted balance of an account of `acme`, positive on its normal side.
    pub(crate) async fn posted(&self, account: &str) -> i64 {
        let account = account.to_owned();
        let found: Option<(i64,)> = self
            .app
            .db
            .read(move |tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query_as(
                        "SELECT posted FROM ledger_account WHERE partner_id = 'acme' AND account_id = $1")
                        .bind(account.as_str()).fetch_optional(conn).await)
                    .map_err(while_doing("read a test's balance"))
                })
            })
            .await
            .unwrap();
        found.map_or(0, |(posted,)| posted)
    }

    /// The books are sound, what was booked as refunded is what the gateway gave back, and no charge gave back more
    /// than it collected.
    pub(crate) async fn assert_refunds_agree(&self) {
        let report = ledger::verify(&self.app.db).await.unwrap();
        assert!(report.is_sound(), "{report}");
        let gone = self.sandbox.refunds().into_iter();
        let gone = gone.filter(|refund| refund.outcome == RefundOutcome::Succeeded);
        let (mut at_gateway, mut of_charge) = (BTreeMap::new(), BTreeMap::<String, i64>::new());
        for refund in gone {
            *of_charge.entry(refund.charge).or_default() += refund.amount;
            at_gateway.insert(refund.reference, refund.amount);
        }
        let booked: Vec<(String, i64)> = self
            .app
            .db
            .read(|tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query_as(
                        "SELECT t.reference, e.amount FROM ledger_txn t
                        JOIN ledger_entry e ON e.partner_id = t.partner_id AND e.txn_id = t.txn_id
                        WHERE t.kind = 'refund' AND e.side = 'credit'").fetch_all(conn).await)
                    .map_err(while_doing("read a test's refunds"))
                })
            })
            .await
            .unwrap();
        let id = |reference: String| reference.strip_prefix("refund:").unwrap().to_owned();
        let booked: BTreeMap<String, i64> =
            booked.into_iter().map(|(reference, amount)| (id(reference), amount)).collect();
        assert_eq!(booked, at_gateway);
        for charge in self.sandbox.charges() {
            let gone = of_charge.get(&charge.reference).copied().unwrap_or_default();
            assert!(gone <= charge.amount, "{charge:?} gave back {gone}");
        }
    }
}
