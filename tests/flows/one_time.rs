//! One-time, operation-bound user tokens: what they bind, what spends them, when they end.

use keys::token::TokenKind;
use serde_json::{Value, json};

use crate::world::{Call, Customer, World};

/// A token for a fiat-in of 10.00 into the customer's wallet, and the body that fits it.
async fn token_and_body(world: &World, customer: &Customer) -> (String, Value) {
    (world.payment_token(customer, 1_000).await, world.payment(customer, 1_000, "tok_success"))
}

/// The token is unspent: the right body goes through with it.
async fn assert_unspent(world: &World, token: &str, body: &Value) {
    assert_eq!(world.pay(token, body).await.expect(201)["state"], "completed");
}

/// The token is spent: the right body no longer goes through.
async fn assert_spent(world: &World, token: &str, body: &Value) {
    world.pay(token, body).await.refused(401, "token_already_used");
}

flows! {
    async fn a_changed_bound_field_is_a_mismatch_and_spends_the_token(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        let dollars = world.open_wallet("ta", &customer.customer_id, "USD").await;
        let changes: [(&str, Value); 6] = [
            ("/money/amount", json!(999)),
            ("/money/amount", json!(1_001)),
            ("/money/currency", json!("USD")),
            ("/money/currency", json!("JPY")),
            ("/entity_id", json!(other.wallet)),
            ("/entity_id", json!(dollars)),
        ];
        for (pointer, value) in changes {
            let (token, body) = token_and_body(world, &customer).await;
            let mut changed = body.clone();
            *changed.pointer_mut(pointer).expect("a member") = value;
            let refused = world.pay(&token, &changed).await;
            refused.refused(403, "operation_mismatch");
            assert_eq!(world.pay(&token, &changed).await.same(), refused.same(), "the refusal is on record");
            assert_spent(world, &token, &body).await;
        }
        assert!(world.order_ids("ta").await.is_empty());
        assert!(world.sandbox.charges().is_empty());
    }

    async fn unbound_fields_may_vary_before_the_first_use_and_never_after(world: &mut World) {
        let customer = world.customer().await;
        let token = world.open_token(&customer).await;
        let body = world.payment(&customer, 700, "tok_success");
        let first = world.pay(&token, &body).await;
        assert_eq!(first.status, 201, "{}", first.text);
        for (pointer, value) in [("/money/amount", json!(701)), ("/client_reference", json!("another"))] {
            let mut other = body.clone();
            *other.pointer_mut(pointer).expect("a member") = value;
            assert_spent(world, &token, &other).await;
        }
        let spaced = Call::post_text(format!("{}/v1/fiat-ins", world.resource), format!("{body} "));
        world.send(spaced.bearer(&token)).await.refused(401, "token_already_used");
        assert_eq!(world.pay(&token, &body).await.same(), first.same());
        assert_eq!(world.available(&customer).await, 700);
    }

    async fn an_unknown_field_is_refused_and_leaves_the_token_unspent(world: &mut World) {
        let customer = world.customer().await;
        let (token, body) = token_and_body(world, &customer).await;
        for (member, value) in [
            ("fee", json!(1)), ("memo", json!("x")), ("balance", json!(5)), ("status", json!("completed")),
            ("partner_id", json!("ptn_x")), ("kyc_level", json!(3)), ("entity_ids", json!([])),
        ] {
            let mut widened = body.clone();
            widened[member] = value;
            assert_eq!(world.pay(&token, &widened).await.status, 400, "{member}");
        }
        let mut nested = body.clone();
        nested["money"]["fee"] = json!(1);
        assert_eq!(world.pay(&token, &nested).await.status, 400);
        assert_unspent(world, &token, &body).await;
    }

    async fn only_the_one_canonical_form_of_an_amount_is_read(world: &mut World) {
        let customer = world.customer().await;
        let (token, body) = token_and_body(world, &customer).await;
        let url = format!("{}/v1/fiat-ins", world.resource);
        let text = body.to_string();
        let twins = [
            "1000.0", "1000.00", "1e3", "1E3", "+1000", "01000", "\"1000\"", "\" 1000\"", "١٠٠٠", "-0", "NaN", "null",
            "Infinity", "1000.005", "true", "[1000]", "18446744073709551616",
        ];
        for twin in twins {
            let spoiled = text.replace("\"amount\":1000", &format!("\"amount\":{twin}"));
            assert_ne!(spoiled, text);
            let reply = world.send(Call::post_text(url.as_str(), spoiled).bearer(&token)).await;
            assert_eq!(reply.status, 400, "{twin}: {}", reply.text);
            assert!(reply.body["error_id"].is_string(), "{twin}: {}", reply.text);
        }
        for (value, code) in [("0", "amount_not_positive"), ("-1000", "amount_not_positive"), ("9007199254740992", "amount_too_large")] {
            let spoiled = text.replace("\"amount\":1000", &format!("\"amount\":{value}"));
            let reply = world.send(Call::post_text(url.as_str(), spoiled).bearer(&token)).await;
            reply.refused(422, code);
            reply.points_at("/money/amount");
        }
        let doubled = text.replace("\"amount\":1000", "\"amount\":1000,\"amount\":1000");
        let twice = format!("{text}{text}");
        let marked = format!("\u{feff}{text}");
        let trailing = format!("{text}\0");
        for spoiled in [doubled, twice, marked, trailing, String::new(), "[]".to_owned(), "null".to_owned()] {
            let reply = world.send(Call::post_text(url.as_str(), spoiled.clone()).bearer(&token)).await;
            assert_eq!(reply.status, 400, "{spoiled}: {}", reply.text);
        }
        assert_unspent(world, &token, &body).await;
    }

    async fn a_payee_that_only_looks_the_same_is_another_payee(world: &mut World) {
        let customer = world.customer().await;
        for twin in [customer.wallet.to_uppercase(), format!("{}\u{301}", customer.wallet), format!(" {}", customer.wallet)] {
            let (token, body) = token_and_body(world, &customer).await;
            let mut changed = body.clone();
            changed["entity_id"] = json!(twin);
            world.pay(&token, &changed).await.refused(403, "operation_mismatch");
            assert_spent(world, &token, &body).await;
        }
    }

    async fn refusals_that_made_no_order_leave_the_token_unspent(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        let stranger = world.customer_of("tb").await;
        let token = world.open_token(&customer).await;
        let body = world.payment(&customer, 1_000, "tok_success");
        for wallet in [&other.wallet, &stranger.wallet, "ent_unknown"] {
            let mut changed = body.clone();
            changed["entity_id"] = json!(wallet);
            world.pay(&token, &changed).await.refused(404, "not_found");
        }
        let mut dollars = body.clone();
        dollars["money"]["currency"] = json!("USD");
        world.pay(&token, &dollars).await.refused(422, "currency_mismatch");
        let mut both = body.clone();
        both["payment_method"] = json!({});
        world.pay(&token, &both).await.refused(422, "payment_method_invalid");
        let mut named = body.clone();
        named["customer"] = json!(other.customer_id);
        world.pay(&token, &named).await.refused(422, "customer_mismatch");
        assert_unspent(world, &token, &body).await;
    }

    async fn a_refused_order_spends_the_token_too(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 900_000).await;
        let body = world.payment(&customer, 900_000, "tok_success");
        let refused = world.pay(&token, &body).await;
        assert_eq!((refused.status, &refused.body["state"]), (201, &json!("refused")), "{}", refused.text);
        assert_eq!(world.pay(&token, &body).await.same(), refused.same());
        assert_spent(world, &token, &world.payment(&customer, 900_000, "tok_success")).await;
        assert!(world.sandbox.charges().is_empty());
    }

    async fn a_token_for_one_operation_is_refused_and_spent_at_another(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        world.fund(&customer, 2_000).await;
        let (token, body) = token_and_body(world, &customer).await;
        let transfer = World::transfer(&customer.wallet, &other.wallet, 1_000);
        let call = Call::post(format!("{}/v1/transfers", world.resource), &transfer).bearer(&token);
        world.send(call).await.refused(403, "operation_mismatch");
        assert_spent(world, &token, &body).await;
        assert_eq!(world.available(&customer).await, 2_000);
    }

    async fn a_transfer_token_moves_money_from_the_own_wallet_once(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        world.fund(&customer, 2_000).await;
        world.fund(&other, 2_000).await;
        let url = format!("{}/v1/transfers", world.resource);
        let asked = json!({ "method": "POST", "url": url });
        let token = world.user_token(&customer, &asked).await;
        let theirs = Call::post(url.as_str(), &World::transfer(&other.wallet, &customer.wallet, 500)).bearer(&token);
        world.send(theirs).await.refused(404, "not_found");
        let own = Call::post(url.as_str(), &World::transfer(&customer.wallet, &other.wallet, 500)).bearer(&token);
        let first = world.send(own.clone()).await;
        assert_eq!((first.status, &first.body["state"]), (201, &json!("completed")), "{}", first.text);
        assert_eq!(world.send(own).await.same(), first.same());
        assert_eq!((world.available(&customer).await, world.available(&other).await), (1_500, 2_500));
    }

    async fn as_a_bearer_anywhere_else_it_is_no_token(world: &mut World) {
        let customer = world.customer().await;
        let (token, body) = token_and_body(world, &customer).await;
        let gets = [
            format!("{}/v1/customers/{}", world.resource, customer.customer_id),
            format!("{}/v1/entities/{}", world.resource, customer.wallet),
            format!("{}/v1/events", world.resource),
            format!("{}/v1/users/{}", world.issuer, customer.sub),
            format!("{}/v1/directory", world.issuer),
        ];
        for url in gets {
            let reply = world.send(Call::get(url.as_str()).bearer(&token)).await;
            assert_eq!(reply.status, 401, "{url}: {}", reply.text);
            assert!(reply.header("www-authenticate").starts_with("Bearer"), "{url}");
        }
        let mint = Call::post(format!("{}/v1/user-tokens", world.issuer), &json!({})).bearer(&token);
        assert_eq!(world.send(mint).await.status, 401);
        let exchange = "urn:ietf:params:oauth:grant-type:token-exchange";
        for (grant, member) in [(exchange, "subject_token"), ("refresh_token", "refresh_token")] {
            let form = [("grant_type", grant), (member, token.as_str())];
            let reply = world.ask_token(world.client("ta/backend"), &form).await;
            assert_eq!(reply.status, 400, "{}", reply.text);
        }
        // In a header that only the dialect reads, it is as good as absent.
        let call = Call::post(format!("{}/v1/fiat-ins", world.resource), &body).header("x-pti-token", &token);
        assert_eq!(world.send(call).await.status, 401);
        assert_unspent(world, &token, &body).await;
    }

    async fn a_token_reads_the_order_it_made_and_no_other(world: &mut World) {
        let customer = world.customer().await;
        let (token, body) = token_and_body(world, &customer).await;
        let made = world.pay(&token, &body).await.expect(201);
        let other = world.order(&customer, 500, "tok_success").await.expect(201);
        let read = |id: &Value| {
            Call::get(format!("{}/v1/fiat-ins/{}", world.resource, id.as_str().expect("an id"))).bearer(&token)
        };
        assert_eq!(world.send(read(&made["id"])).await.expect(200)["id"], made["id"]);
        world.send(read(&other["id"])).await.refused(404, "not_found");
        let status = Call::get(format!("{}/v1/fiat-ins/{}", world.resource, other["id"].as_str().expect("an id")));
        let foreign = status.bearer(made["status_token"].as_str().expect("a status token"));
        world.send(foreign).await.refused(401, "invalid_token");
    }

    async fn it_ends_by_the_clock_and_its_answer_a_day_later(world: &mut World) {
        let customer = world.customer().await;
        let (spent, spent_body) = token_and_body(world, &customer).await;
        let (late, late_body) = token_and_body(world, &customer).await;
        let first = world.pay(&spent, &spent_body).await;
        assert_eq!(first.status, 201, "{}", first.text);
        world.clock.advance(299);
        let (young, young_body) = token_and_body(world, &customer).await;
        world.clock.advance(1);
        world.pay(&late, &late_body).await.refused(401, "invalid_token");
        assert_eq!(world.pay(&spent, &spent_body).await.same(), first.same(), "expired, and the answer is still there");
        world.pay(&spent, &late_body).await.refused(401, "token_already_used");
        assert_unspent(world, &young, &young_body).await;
        world.clock.advance(86_399);
        assert_eq!(world.pay(&spent, &spent_body).await.same(), first.same());
        world.clock.advance(1);
        world.pay(&spent, &spent_body).await.refused(401, "invalid_token");
        assert_eq!(world.order_ids("ta").await.len(), 2);
    }

    async fn its_life_is_thirty_to_nine_hundred_seconds(world: &mut World) {
        let customer = world.customer().await;
        let url = format!("{}/v1/fiat-ins", world.resource);
        let ask = |life: i64| {
            json!({ "external_id": customer.external_id, "method": "POST", "url": url, "expires_in": life })
        };
        for life in [29, 901, 0, -1, i64::MAX] {
            let reply = world.ask_user_token("ta/signed", &ask(life)).await;
            assert_eq!(reply.status, 422, "{life}: {}", reply.text);
        }
        let granted = world.ask_user_token("ta/signed", &ask(900)).await.expect(201);
        let token = granted["access_token"].as_str().expect("access_token").to_owned();
        world.clock.advance(900);
        let reply = world.pay(&token, &world.payment(&customer, 1_000, "tok_success")).await;
        reply.refused(401, "invalid_token");
        let short = world.ask_user_token("ta/signed", &ask(30)).await.expect(201);
        assert_eq!(short["expires_in"], 30);
    }

    async fn a_token_with_another_mark_than_its_kind_is_no_token(world: &mut World) {
        let customer = world.customer().await;
        let body = world.payment(&customer, 1_000, "tok_success");
        let good = world.claims(TokenKind::OneTime, "ta/signed", Some(&customer), "");
        let mut without = good.to_claims();
        without.remove("authorization_details");
        let mut scoped = good.to_claims();
        scoped.insert("scope".to_owned(), json!("fiat_ins:execute"));
        let mut two = good.to_claims();
        let detail = two["authorization_details"][0].clone();
        two.insert("authorization_details".to_owned(), json!([detail, detail]));
        let mut texted = good.to_claims();
        texted.insert("exp".to_owned(), json!(world.now().plus(60).0.to_string()));
        let mut endless = good.to_claims();
        endless.remove("exp");
        let mut elsewhere = good.to_claims();
        elsewhere.insert("aud".to_owned(), json!(world.issuer));
        let key = world.signing_key().await;
        for claims in [&without, &scoped, &two, &texted, &endless, &elsewhere] {
            let token = keys::jws::sign(key, "operation+jwt", claims).expect("a token");
            world.pay(&token, &body).await.refused(401, "invalid_token");
        }
        for typ in ["at+jwt", "JWT", "operation+JWT2", "id_token+jwt"] {
            let token = keys::jws::sign(key, typ, &good.to_claims()).expect("a token");
            world.pay(&token, &body).await.refused(401, "invalid_token");
        }
        let token = world.mint(&good).await;
        assert_unspent(world, &token, &body).await;
    }
}
