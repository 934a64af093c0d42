//! Another tenant's things: to whoever asks they are not there, exactly as things that never were.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::guarded;
use super::operation::{Operation, Service};
use super::refusals::Refusals;
use crate::world::{Call, Customer, Reply, World, eventually};

/// Members of a refusal that name the one request.
const OF_THE_REQUEST: [&str; 2] = ["error_id", "request_id"];

/// A refusal without what names the request.
fn same(reply: &Reply) -> (u16, Value) {
    let mut body = reply.body.clone();
    for member in OF_THE_REQUEST {
        body.as_object_mut().expect("an object").remove(member);
    }
    (reply.status, body)
}

/// One real id of the partner `ta` for every parameter, by path up to it.
struct Theirs(HashMap<&'static str, String>);

impl Theirs {
    /// Makes one of everything.
    async fn make(world: &World) -> Self {
        let customer = world.customer().await;
        let other = world.customer().await;
        world.fund(&customer, 5_000).await;
        let transfer = World::transfer(&customer.wallet, &other.wallet, 100);
        let transfer = world.post_as("ta/backend", "/v1/transfers", &transfer, 201).await;
        let endpoint = json!({ "url": "http://127.0.0.1:9/webhooks" });
        let endpoint = world.post_as("ta/backend", "/v1/webhook-endpoints", &endpoint, 201).await;
        let order = world.order_ids("ta").await.remove(0);
        let refund = json!({ "amount": 1, "reason": "a test" });
        let refund =
            world.post_as("ta/backend", &format!("/v1/fiat-ins/{order}/refunds"), &refund, 201).await;
        let charges = world.get_as("ta/backend", "/v1/charges").await;
        let text = |body: &Value| body["id"].as_str().expect("id").to_owned();
        let ids = HashMap::from([
            ("/v1/customers/", customer.customer_id.clone()),
            ("/v1/entities/", customer.wallet.clone()),
            ("/v1/fiat-ins/", order),
            ("/v1/fiat-ins/{id}/refunds/", text(&refund)),
            ("/v1/charges/", text(&charges["data"][0])),
            ("/v1/transfers/", text(&transfer)),
            ("/v1/webhook-endpoints/", text(&endpoint)),
            ("/v1/events/", Self::event(world).await),
            ("/v1/reviews/", Self::review(world, &other).await),
            ("/v1/users/", customer.sub.clone()),
            ("/v1/clients/", world.client("ta/backend").client_id.clone()),
            ("/v1/partners/", world.client("ta/backend").partner_id.clone()),
            ("/users/", customer.external_id.clone()),
            ("/users/{userId}/wallets/", customer.wallet.clone()),
            ("/users/{userId}/kycs/", "kyd_00000000000000000000000000000001".to_owned()),
            ("/users/{userId}/transactionLogs/", world.order_ids("ta").await.remove(0)),
            ("/clients/", world.client("ta/backend").client_id.clone()),
            ("/users/{userId}/wallets/fiat/", customer.wallet),
        ]);
        Self(ids)
    }

    async fn event(world: &World) -> String {
        eventually("an event is numbered", || async {
            let events = world.get_as("ta/backend", "/v1/events").await;
            events["data"].as_array()?.first()?["id"].as_str().map(str::to_owned)
        })
        .await
    }

    /// VEL-1 lets five payments of a customer through within the hour.
    async fn review(world: &World, customer: &Customer) -> String {
        world.verified(customer, 3).await;
        for _ in 0..6 {
            world.order(customer, 100, "tok_success").await;
        }
        let reviews = world.get_as("ta/reviewer", "/v1/reviews").await;
        reviews["data"][0]["id"].as_str().unwrap_or_else(|| panic!("no review: {reviews}")).to_owned()
    }

    /// The URL of the operation with the real id in the last parameter's place, or in all.
    fn url(&self, world: &World, operation: &Operation) -> String {
        operation.url(world, |name| {
            let before = operation.path.split(&format!("{{{name}}}")).next().expect("a beginning");
            let id = self.0.get(before);
            id.unwrap_or_else(|| panic!("{operation}: say here what {name} another tenant has")).clone()
        })
    }
}

/// An id of the same shape that nobody has.
fn nobodys(id: &str) -> String {
    let prefix = id.split_once('_').map_or("", |(prefix, _)| prefix);
    format!("{prefix}_ffffffffffffffffffffffffffffffff")
}

/// A client of `tb` that may do everything a partner's client may do at the authorization server.
async fn administrator_of_tb(world: &World) -> (String, String) {
    let new = json!({
        "alias": "administrator", "partner_id": world.client("tb/backend").partner_id,
        "token_endpoint_auth_method": "client_secret_basic", "grant_types": ["client_credentials"],
        "scope": "clients:read clients:write partners:write users:read users:write",
    });
    let token = world.token("platform/admin", "clients:write").await;
    let made =
        world.send(Call::post(format!("{}/v1/clients", world.issuer), &new).bearer(&token)).await.expect(201);
    let text = |member: &str| made[member].as_str().expect("text").to_owned();
    (text("client_id"), text("client_secret"))
}

/// A token of `tb` for the operation, as its client would get it.
async fn token_of_tb(world: &World, operation: &Operation, administrator: &(String, String)) -> String {
    let scope = operation.scopes.join(" ");
    if operation.is_of_api() {
        let decides = scope.starts_with("reviews:") || scope.ends_with(":decide");
        let client = if decides { "tb/reviewer" } else { "tb/backend" };
        return world.token(client, &scope).await;
    }
    let form = [("grant_type", "client_credentials"), ("scope", &scope)];
    let (id, secret) = administrator;
    let basic = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"))
    };
    let call = Call::form(format!("{}/oauth2/token", world.issuer), &form);
    let granted = world.send(call.header("authorization", &format!("Basic {basic}"))).await.expect(200);
    granted["access_token"].as_str().expect("access_token").to_owned()
}

flows! {
    async fn another_tenants_things_are_answered_like_things_that_never_were(world: &mut World) {
        let theirs = Theirs::make(world).await;
        let administrator = administrator_of_tb(world).await;
        let before = world.order_ids("ta").await;
        let mut refusals = Refusals::default();
        let with_ids: Vec<Operation> =
            guarded(world).await.into_iter().filter(|operation| !operation.parameters().is_empty()).collect();
        assert!(with_ids.len() > 20, "only {}", with_ids.len());
        for operation in &with_ids {
            let foreign = theirs.url(world, operation);
            let unknown = operation.url(world, |name| {
                let before = operation.path.split(&format!("{{{name}}}")).next().expect("a beginning");
                nobodys(&theirs.0[before])
            });
            let mut replies = Vec::new();
            for url in [&foreign, &unknown] {
                let call = operation.call_to(world, url.clone());
                // In the dialect the request's own signature says who asks.
                let call = if operation.dialect {
                    operation.signed(world, funding(operation, call))
                } else {
                    call.bearer(&token_of_tb(world, operation, &administrator).await)
                };
                let reply = world.send(call).await;
                refusals.keep(&reply, &format!("{operation}: {}", reply.text));
                replies.push(reply);
            }
            assert_eq!(same(&replies[0]), same(&replies[1]), "{operation} tells them apart");
            // What is the platform's alone says so before it looks for anything.
            let expected = if replies[0].body["code"] == "platform_only" { 403 } else { 404 };
            assert_eq!(replies[0].status, expected, "{operation}: {}", replies[0].text);
        }
        assert_eq!(world.order_ids("ta").await, before);
        let still = world.token("ta/backend", "entities:read").await;
        assert!(!still.is_empty(), "nothing of theirs was disabled");
        refusals.are_logged().await;
    }

    async fn another_tenants_things_named_in_a_body_are_not_found_either(world: &mut World) {
        let (ours, theirs) = (world.customer_of("tb").await, world.customer().await);
        world.fund(&theirs, 5_000).await;
        let order = |customer: &str, entity: &str| json!({
            "entity_id": entity, "customer": customer, "client_reference": world.unique("order"),
            "money": { "amount": 100, "currency": "EUR" }, "payment_method": { "token": "tok_success" },
        });
        let wallet = |owner: &str| json!({ "kind": "customer", "owner": owner, "currency": "EUR", "label": "other" });
        let attempts = [
            ("/v1/fiat-ins", order(&ours.customer_id, &theirs.wallet), order(&ours.customer_id, &nobodys(&theirs.wallet))),
            ("/v1/fiat-ins", order(&theirs.customer_id, &ours.wallet), order(&nobodys(&theirs.customer_id), &ours.wallet)),
            (
                "/v1/transfers",
                World::transfer(&theirs.wallet, &ours.wallet, 100),
                World::transfer(&nobodys(&theirs.wallet), &ours.wallet, 100),
            ),
            (
                "/v1/transfers",
                World::transfer(&ours.wallet, &theirs.wallet, 100),
                World::transfer(&ours.wallet, &nobodys(&theirs.wallet), 100),
            ),
            ("/v1/entities", wallet(&theirs.customer_id), wallet(&nobodys(&theirs.customer_id))),
        ];
        for (path, foreign, unknown) in attempts {
            let ask = async |body: &Value| world.send(world.call_as("tb/backend", "POST", path, Some(body)).await).await;
            let (foreign, unknown) = (ask(&foreign).await, ask(&unknown).await);
            foreign.refused(404, "not_found");
            assert_eq!(same(&foreign), same(&unknown), "{path} tells them apart");
        }
        assert_eq!(world.available(&theirs).await, 5_000);
    }
}

/// The vendor's orders need a well-formed body to come to the question of whose wallet it is.
fn funding(operation: &Operation, call: Call) -> Call {
    let body = match (operation.service, operation.path.rsplit('/').next()) {
        (Service::Api, Some("funding")) => json!({
            "id": "order-1", "amount": 1,
            "sourceMethod": { "currency": "EUR", "paymentInformation": { "token": "tok_success" } },
        }),
        (Service::Api, Some("transactionLogs")) if operation.method == "POST" => {
            json!({ "type": "FUNDING", "id": "log-1", "amount": 1, "sourceMethod": { "currency": "EUR" } })
        }
        (Service::Api, Some("wallets")) if operation.method == "POST" => {
            json!({ "type": "FIAT_WALLET", "name": "main", "currency": "EUR" })
        }
        _ => return call,
    };
    Call::post(call.url, &body)
}
