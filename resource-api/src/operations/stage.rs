//! What the tests of batch commands stand on: a database, customers with a wallet each, and their attempts.

use chassis::testing::{TestDatabase, platform};
use chassis::{Db, Platform};
use guard::{Caller, OneTime};
use keys::UnixSeconds;
use keys::token::{OperationGrant, Scope, TokenKind};

use crate::auth::Attempt;
use crate::domain::customer::CustomerKind;
use crate::domain::entity::EntityKind;
use crate::domain::ledger::{AccountId, Leg, NewPosting, SystemAccount};
use crate::ledger::{find_accounts, open_entity_account, post};
use crate::store::customers::{self, NewCustomer};
use crate::store::entities::{self, NewEntity};
use crate::store::probe;

pub(super) const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

pub(super) struct Stage {
    pub(super) db: Db,
    pub(super) platform: Platform,
    _database: TestDatabase,
}

impl Stage {
    pub(super) async fn set(database: TestDatabase) -> Self {
        let db = database.migrated(&[("resource-api", crate::MIGRATIONS)]).await;
        Self { db, platform: platform().0, _database: database }
    }

    /// Customer `cus_NAME` of `acme` with the subject NAME, at KYC level 3, and its wallet `ent_NAME` with `funds` in it.
    pub(super) async fn customer(&self, name: &str, funds: i64) {
        let customer = NewCustomer {
            partner_id: "acme".to_owned(),
            customer_id: format!("cus_{name}"),
            sub: name.to_owned(),
            external_id: name.to_owned(),
            kind: CustomerKind::Person,
            country: Some("DE".to_owned()),
            now: NOW,
        };
        let wallet = NewEntity {
            partner_id: "acme".to_owned(),
            entity_id: format!("ent_{name}"),
            kind: EntityKind::Customer,
            owner_id: format!("cus_{name}"),
            label: None,
            currency: "EUR".to_owned(),
            now: NOW,
        };
        let clearing = AccountId::system(SystemAccount::GatewayClearing("sandbox"), "EUR");
        let posting = NewPosting {
            partner_id: "acme".to_owned(),
            txn_id: format!("txn_{name}"),
            reference: format!("funds:{name}"),
            kind: "capture",
            currency: "EUR".to_owned(),
            legs: vec![Leg::debit(clearing, funds), Leg::credit(AccountId::entity(&wallet.entity_id), funds)],
            takes_hold: None,
            reverses: None,
        };
        let made = self.db.write(move |tx| {
            let (customer, wallet, posting) = (customer.clone(), wallet.clone(), posting.clone());
            Box::pin(async move {
                customers::insert(tx, &customer).await?;
                entities::insert(tx, &wallet).await?;
                open_entity_account(tx, "acme", &wallet.entity_id, "EUR", NOW).await?;
                if funds > 0 {
                    assert_eq!(post(tx, &[posting], NOW).await?, [Ok(())]);
                }
                probe::raise_levels(tx).await
            })
        });
        made.await.unwrap();
    }

    /// What is in the wallet of a customer.
    pub(super) async fn balance(&self, name: &str) -> i64 {
        let wanted = [("acme".to_owned(), AccountId::entity(&format!("ent_{name}")))];
        let found = self.db.read(move |tx| Box::pin(async move { find_accounts(tx, &wanted).await }));
        found.await.unwrap().iter().map(|account| account.posted).sum()
    }

    /// What a query counts.
    pub(super) async fn count(&self, sql: &'static str) -> i64 {
        let counted = self.db.read(move |tx| Box::pin(async move { probe::count(tx, sql).await }));
        counted.await.unwrap()
    }
}

/// The client `backend` of `acme`.
fn backend() -> Caller {
    Caller {
        kind: TokenKind::Client,
        partner_id: "acme".to_owned(),
        client_id: "backend".to_owned(),
        sub: "backend".to_owned(),
        scope: Scope::default(),
        jti: None,
        process_id: None,
        one_time: None,
    }
}

/// An attempt of the client under an `Idempotency-Key`.
pub(super) fn attempt(key: &str) -> Attempt {
    Attempt::stub(backend(), key, NOW)
}

/// An attempt with a one-time token for a wallet.
pub(super) fn attempt_with_token(jti: &str, sub: &str, entity_id: &str) -> Attempt {
    let token = OneTime {
        issuer: "https://as.example".to_owned(),
        jti: jti.to_owned(),
        expires_at: NOW.plus(300),
        late: false,
        operation: OperationGrant {
            method: "POST".to_owned(),
            uri: "https://rs.example/v1/things".to_owned(),
            money: None,
            entity_id: Some(entity_id.to_owned()),
        },
    };
    let caller = Caller { kind: TokenKind::OneTime, sub: sub.to_owned(), one_time: Some(token), ..backend() };
    Attempt::stub(caller, jti, NOW)
}
