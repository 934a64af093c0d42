//! The users of `dev`, registered as a partner's backend would, and the webhook sink as their partners' endpoint.

use anyhow::{Context, bail, ensure};
use chassis::Platform;
use chassis::outbox;
use resource_api::app::App;
use resource_api::domain::webhook_format::{PTI, PTI_FAMILIES};
use resource_api::operations::kyc::{LevelDecision, set_level};
use resource_api::store::customers::find_by_external_id;
use serde_json::{Value, json};

use super::credentials::{Credentials, User};
use super::services::Running;
use crate::tour::client::{Call, Http, basic};

/// The client that gets webhooks in its vendor's envelope.
const PTI_CLIENT: &str = "pti-backend";
/// The partner they belong to.
const PARTNER: &str = "acme";
/// Who is seeded, the KYC level of each, and whether the user is disabled.
const USERS: &[(&str, i64, bool)] = &[("alice", 2, false), ("bob", 2, false), ("carol", 0, true)];

/// Registers the users that are not there yet and points every partner's webhooks to the sink.
pub(crate) async fn register(credentials: &mut Credentials, running: &Running) -> anyhow::Result<()> {
    let app = &running.resource_api.app;
    for partner in &credentials.partners {
        let pti =
            credentials.clients.iter().find(|one| one.alias == PTI_CLIENT && one.partner == partner.alias);
        let recipient = pti.map(|client| client.client_id.as_str());
        deliver_to_sink(app, &partner.id, &credentials.webhook_sink, recipient).await?;
    }
    let http = Http::new(credentials.ca_file.as_deref())?;
    let at_authz = token(&http, credentials, "users:write").await?;
    let at_resource = token(&http, credentials, "customers:write").await?;
    let partner =
        credentials.partners.iter().find(|partner| partner.alias == PARTNER).context("the partner")?;
    let partner_id = partner.id.clone();
    let mut users = Vec::new();
    for (alias, level, disabled) in USERS {
        let url = format!("{}/v1/users", credentials.issuer);
        let user =
            post(&http, Call::post_json(&url, &json!({ "external_id": alias }))?.bearer(&at_authz)?).await?;
        let sub = user["sub"].as_str().context("sub")?.to_owned();
        if *disabled {
            post(&http, Call::post_json(&format!("{url}/{sub}/disable"), &json!({}))?.bearer(&at_authz)?)
                .await?;
        } else {
            customer(&http, credentials, &at_resource, alias).await?;
            verified(app, &partner_id, alias, *level).await?;
        }
        let alias = (*alias).to_owned();
        users.push(User { external_id: alias.clone(), alias, partner: PARTNER.to_owned(), sub });
    }
    credentials.users = users;
    Ok(())
}

/// A token of `acme-backend`.
async fn token(http: &Http, credentials: &Credentials, scope: &str) -> anyhow::Result<String> {
    let fields = [("grant_type", "client_credentials"), ("scope", scope)];
    let call = Call::post_form(&format!("{}/oauth2/token", credentials.issuer), &fields)?
        .header("authorization", &basic(credentials.client("acme-backend")?)?)?;
    let answer = post(http, call).await?;
    answer["access_token"].as_str().map(str::to_owned).context("access_token")
}

async fn post(http: &Http, call: Call) -> anyhow::Result<Value> {
    let answer = http.quiet(&call).await?;
    ensure!((200..300).contains(&answer.status), "answered {}: {}", answer.status, answer.body);
    Ok(answer.body)
}

/// The user as a customer of the payments API; at a later start it is one already.
async fn customer(http: &Http, credentials: &Credentials, token: &str, alias: &str) -> anyhow::Result<()> {
    let body = json!({ "external_id": alias, "kind": "person", "country": "DE" });
    let call = Call::post_json(&format!("{}/v1/customers", credentials.resource), &body)?
        .bearer(token)?
        .header("idempotency-key", &keys::b64::encode(Platform::system(true).random::<16>()))?;
    let answer = http.quiet(&call).await?;
    if answer.status != 201 && answer.body["code"] != "external_id_taken" {
        bail!("register {alias}: answered {}: {}", answer.status, answer.body);
    }
    Ok(())
}

/// Raises the user's KYC level by a decision, unless it has it.
async fn verified(app: &App, partner_id: &str, external_id: &str, level: i64) -> anyhow::Result<()> {
    let (decision_id, event_id, now) =
        (app.platform.new_id("kyd"), app.platform.new_id("evt"), app.platform.now());
    let (partner_id, external_id) = (partner_id.to_owned(), external_id.to_owned());
    app.db
        .write(move |tx| {
            let (partner_id, external_id) = (partner_id.clone(), external_id.clone());
            let (decision_id, event_id) = (decision_id.clone(), event_id.clone());
            Box::pin(async move {
                let Some(customer) = find_by_external_id(tx, &partner_id, &external_id).await? else {
                    return Ok(());
                };
                if customer.kyc_level >= level {
                    return Ok(());
                }
                let decision = LevelDecision {
                    partner_id,
                    customer_id: customer.customer_id,
                    level,
                    decided_by: "dev".to_owned(),
                    decision_id,
                    event_id,
                    now,
                };
                set_level(tx, &decision).await.map(drop)
            })
        })
        .await
        .context("set the KYC level")
}

/// One enabled endpoint of the partner at the sink's present address; those of earlier ports are switched off. With a
/// recipient, deliveries come in PTI's envelope.
async fn deliver_to_sink(
    app: &App,
    partner_id: &str,
    sink: &str,
    recipient: Option<&str>,
) -> anyhow::Result<()> {
    let kinds =
        recipient.map_or_else(Vec::new, |_| PTI_FAMILIES.map(|family| format!("{family}.*")).to_vec());
    let new = app
        .outbox
        .prepare_endpoint(partner_id, sink, kinds)
        .await
        .map_err(|refused| anyhow::anyhow!("the webhook sink: {refused:?}"))?;
    let new = if let Some(recipient) = recipient { new.in_format(PTI, recipient) } else { new };
    let (partner_id, sink) = (partner_id.to_owned(), sink.to_owned());
    app.db
        .write(move |tx| {
            let (partner_id, sink, new) = (partner_id.clone(), sink.clone(), new.clone());
            Box::pin(async move {
                let mut there = false;
                for known in outbox::list_endpoints(tx, &partner_id).await? {
                    if known.url == sink && known.format == new.endpoint.format {
                        there = true;
                        outbox::enable_endpoint(tx, &partner_id, &known.endpoint_id).await?;
                    } else if known.url.ends_with("/dev/webhooks") {
                        outbox::disable_endpoint(tx, &partner_id, &known.endpoint_id).await?;
                    }
                }
                if !there {
                    outbox::insert_endpoint(tx, &new).await?;
                }
                Ok(())
            })
        })
        .await
        .context("the webhook sink")
}
