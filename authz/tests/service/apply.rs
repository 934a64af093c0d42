//! Applying a platform file.

use authz::{
    PlatformFile,
    apply::{ApplyError, apply},
    domain::Status,
};
use chassis::testing::TestDatabase;
use reqwest::StatusCode;

use crate::{platform::platform_file, world::World};

#[tokio::test]
async fn applying_twice_changes_nothing() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        assert_eq!(world.applied.changes.len(), 19);
        assert!(world.applied.changes.iter().all(|change| change.created));
        assert!(world.applied.to_string().starts_with("+ partner platform\n"));
        let again = apply(&world.config, &world.platform, &platform_file()).await.unwrap();
        assert_eq!(again.changes, []);
        assert_eq!(again.to_string(), "nothing to do\n");
        assert_eq!(again.client("acme", "backend").unwrap().id, world.id("acme", "backend"));
        assert!(again.client("acme", "backend").unwrap().secret.is_none());
        world.stop().await;
    }
}

#[tokio::test]
async fn a_difference_is_printed_and_reaches_the_running_service() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let mut file = platform_file();
        let acme = &mut file.partners[1];
        acme.clients[0].scope = "fiat_ins:read".parse().unwrap();
        acme.clients[0].secret = Some("a-secret-of-the-operators-own-making".to_owned().into());
        acme.clients[1].status = Status::Disabled;
        let applied = apply(&world.config, &world.platform, &file).await.unwrap();
        assert_eq!(
            applied.to_string(),
            "~ client acme/backend\n    scope: fiat_ins:execute fiat_ins:read transfers:execute users:read \
             users:write -> fiat_ins:read\n    secret: replaced\n~ client acme/post\n    status: active -> disabled\n"
        );
        let form = [("grant_type", "client_credentials")];
        let id = world.id("acme", "backend");
        let mut granted = world.token_basic(&id, "a-secret-of-the-operators-own-making", &form).await;
        for _ in 0..40 {
            if granted.status == StatusCode::OK {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            world.clock.advance(7); // the attempts before the change came in count as failures
            granted = world.token_basic(&id, "a-secret-of-the-operators-own-making", &form).await;
        }
        assert_eq!(granted.json["scope"], "fiat_ins:read", "{}", granted.json);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_partners_own_allow_list_replaces_the_default() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let mut file = platform_file();
    file.partners[1].operations = PlatformFile::parse(
        "[[partner]]\nalias = \"x\"\noperations = [{ method = \"POST\", path = \"/v1/transfers\", scope = \
         \"transfers:execute\" }]\n",
    )
    .unwrap()
    .partners[0]
        .operations
        .clone();
    let applied = apply(&world.config, &world.platform, &file).await.unwrap();
    assert_eq!(applied.to_string(), "~ partner acme\n    operations: 0 -> 1\n");
    let issuer = world.issuer.clone();
    world.stop().await;
    let world = World::node(&database, 2, Some(&issuer)).await;
    // World::node applies the file without the list again: the list is gone, which is the file's word.
    assert_eq!(world.applied.to_string(), "~ partner acme\n    operations: 1 -> 0\n");
    world.stop().await;
}

#[tokio::test]
async fn a_file_with_problems_changes_nothing() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let mut file = platform_file();
    file.partners[0].name = Some("Renamed".to_owned());
    file.partners[1].clients[0].scope = "no:such".parse().unwrap();
    file.partners[1].clients[1].alias = "Not An Alias".to_owned();
    let refused = apply(&world.config, &world.platform, &file).await.unwrap_err();
    let ApplyError::File(problems) = refused else { panic!("{refused}") };
    assert_eq!(
        problems,
        ["client acme/backend: scope: unknown_scope", "client acme/Not An Alias: alias: malformed"]
    );
    let again = apply(&world.config, &world.platform, &platform_file()).await.unwrap();
    assert_eq!(again.changes, []);
    world.stop().await;
}
