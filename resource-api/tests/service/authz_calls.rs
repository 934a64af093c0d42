//! Calls to the authorization server over HTTP.

use std::sync::atomic::Ordering;

use chassis::testing::{TestDatabase, platform};
use guard::Standing;
use resource_api::auth::RegisterFault;
use resource_api::directory::poller::poll;
use resource_api::open;
use serde_json::json;

use crate::world::{Issuer, config, snapshot};

#[tokio::test]
async fn the_feed_is_polled_from_the_stored_number_on() {
    let (database, issuer) = (TestDatabase::sqlite(), Issuer::start().await);
    let app = open(config(&database, &issuer.url), platform().0).await.unwrap();
    issuer.will_feed(snapshot(7));
    issuer.will_feed(json!({"schema_version": 1, "snapshot": false, "seq": 7, "entries": []}));
    for _ in 0..3 {
        poll(&app.directory, &app.authz, &app.platform).await.unwrap();
    }
    app.directory.reread().await.unwrap();
    assert!(app.directory.client("cli_a").is_some());
    assert_eq!(*issuer.shared.asked.lock().unwrap(), ["", "after_seq=7&wait_s=2", "after_seq=7&wait_s=2"]);
    assert_eq!(
        issuer.shared.tokens.load(Ordering::SeqCst),
        1,
        "one token serves until it is about to expire"
    );
}

#[tokio::test]
async fn a_token_that_is_no_longer_accepted_is_replaced() {
    let (database, issuer) = (TestDatabase::sqlite(), Issuer::start().await);
    let app = open(config(&database, &issuer.url), platform().0).await.unwrap();
    issuer.will_feed(snapshot(7));
    poll(&app.directory, &app.authz, &app.platform).await.unwrap();
    issuer.shared.tokens.fetch_add(1, Ordering::SeqCst);
    poll(&app.directory, &app.authz, &app.platform).await.unwrap();
    assert_eq!(issuer.shared.tokens.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_token_is_renewed_before_it_expires() {
    let (database, issuer) = (TestDatabase::sqlite(), Issuer::start().await);
    let (platform, clock) = platform();
    let app = open(config(&database, &issuer.url), platform).await.unwrap();
    issuer.will_feed(snapshot(7));
    for (after_s, tokens) in [(0, 1), (569, 1), (1, 2)] {
        clock.advance(after_s);
        poll(&app.directory, &app.authz, &app.platform).await.unwrap();
        assert_eq!(issuer.shared.tokens.load(Ordering::SeqCst), tokens);
    }
}

#[tokio::test]
async fn a_poll_that_fails_changes_nothing() {
    let (database, issuer) = (TestDatabase::sqlite(), Issuer::start().await);
    let app = open(config(&database, &issuer.url), platform().0).await.unwrap();
    issuer.will_feed(snapshot(7));
    poll(&app.directory, &app.authz, &app.platform).await.unwrap();
    app.directory.reread().await.unwrap();
    issuer.shared.down.store(true, Ordering::SeqCst);
    let fault = poll(&app.directory, &app.authz, &app.platform).await.unwrap_err();
    assert!(fault.to_string().contains("503"), "{fault}");
    assert!(app.directory.client("cli_a").is_some());
}

#[tokio::test]
async fn a_user_is_registered_or_refused_for_its_own_id_only() {
    let (database, issuer) = (TestDatabase::sqlite(), Issuer::start().await);
    let app = open(config(&database, &issuer.url), platform().0).await.unwrap();
    let user = app.authz.register_user("par_a", "u-1").await.unwrap();
    assert_eq!((user.sub.as_str(), user.external_id.as_str()), ("usr_u-1", "u-1"));
    let refused = app.authz.register_user("par_a", "a b").await.unwrap_err();
    assert!(matches!(&refused, RegisterFault::Refused(refusal) if refusal.code == "external_id_invalid"));
    let unclear = app.authz.register_user("par_a", "broken").await.unwrap_err();
    assert!(matches!(unclear, RegisterFault::Unavailable(_)));
}
