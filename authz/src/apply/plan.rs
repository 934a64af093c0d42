//! Comparing what a file wants with what there is, and removing the difference.

use std::collections::{HashMap, HashSet};

use chassis::{Fault, Platform, Tx};
use keys::UnixSeconds;
use secrecy::{ExposeSecret, SecretString};

use super::{
    Applied, AppliedClient, AppliedPartner, Change,
    file::{ClientFile, PartnerFile, PlatformFile},
};
use crate::{
    crypto::secret::{SecretMacs, new_secret},
    domain::{
        Status,
        audience::{Policy, unknown_scopes},
        client::{Client, ClientKey, ClientSettings, KeyUse},
        is_alias,
        operation::AllowedOperation,
        partner::Partner,
    },
    operations::clients::needs_secret,
    store::{
        clients,
        directory::{NewChange, ObjectKind, insert_change},
        operations, partners,
    },
};

/// The file's content in the types of the domain.
#[derive(Debug, Clone)]
pub(super) struct Wanted(Vec<WantedPartner>);

#[derive(Debug, Clone)]
struct WantedPartner {
    file: PartnerFile,
    clients: Vec<WantedClient>,
}

#[derive(Debug, Clone)]
struct WantedClient {
    settings: ClientSettings,
    status: Status,
    secret: Option<SecretString>,
}

/// What a unit may not draw itself: ids, secrets and event ids, by the alias path of their object.
#[derive(Debug, Clone)]
pub(super) struct Draws(HashMap<String, Draw>);

#[derive(Debug, Clone)]
struct Draw {
    id: String,
    event_id: String,
    secret: SecretString,
}

impl Draws {
    pub(super) fn new(platform: &Platform, wanted: &Wanted) -> Self {
        let draw = |prefix| Draw {
            id: platform.new_id(prefix),
            event_id: platform.new_id("dir"),
            secret: new_secret(&*platform.entropy),
        };
        let mut draws = HashMap::new();
        for partner in &wanted.0 {
            draws.insert(partner.file.alias.clone(), draw("par"));
            for client in &partner.clients {
                draws.insert(path(&partner.file.alias, &client.settings.alias), draw("cli"));
            }
        }
        Self(draws)
    }

    fn of(&self, path: &str) -> Result<&Draw, Fault> {
        self.0.get(path).ok_or_else(|| Fault::new("nothing was drawn for an object of the platform file"))
    }
}

fn path(partner: &str, client: &str) -> String {
    format!("{partner}/{client}")
}

impl Wanted {
    /// Checks the file: every problem with its place.
    pub(super) fn from_file(file: &PlatformFile) -> Result<Self, Vec<String>> {
        let mut problems = Vec::new();
        let mut seen = HashSet::new();
        let mut wanted = Vec::new();
        for partner in &file.partners {
            let place = format!("partner {}", partner.alias);
            let mut problem = |text: &str| problems.push(format!("{place}: {text}"));
            if !is_alias(&partner.alias) {
                problem("alias: 1 to 64 of a-z, 0-9, - and _");
            }
            if !seen.insert(partner.alias.clone()) {
                problem("alias: stands twice");
            }
            for operation in &partner.operations {
                if let Some(text) = operation.problem() {
                    problem(&format!("operations: {text}"));
                }
                if !operation.scope.parse().is_ok_and(|scope| unknown_scopes(&scope).is_empty()) {
                    problem(&format!("operations: there is no scope {}", operation.scope));
                }
            }
            let mut clients = Vec::new();
            for client in &partner.clients {
                let place = format!("client {}", path(&partner.alias, &client.alias));
                if !seen.insert(path(&partner.alias, &client.alias)) {
                    problems.push(format!("{place}: alias: stands twice"));
                }
                clients.push(wanted_client(client, &place, &mut problems));
            }
            wanted.push(WantedPartner { file: partner.clone(), clients });
        }
        if problems.is_empty() { Ok(Self(wanted)) } else { Err(problems) }
    }
}

fn wanted_client(file: &ClientFile, place: &str, problems: &mut Vec<String>) -> WantedClient {
    let mut keys = Vec::new();
    let lists = [
        (KeyUse::Assertion, "assertion_keys", &file.assertion_keys),
        (KeyUse::Signature, "signature_keys", &file.signature_keys),
    ];
    for (key_use, member, list) in lists {
        for jwk in list {
            match ClientKey::from_jwk(key_use, jwk) {
                Ok(key) => keys.push(key),
                Err(bad) => problems.push(format!("{place}: {member}: {bad}")),
            }
        }
    }
    let settings = ClientSettings {
        alias: file.alias.clone(),
        auth_method: file.token_endpoint_auth_method,
        scope: Policy::new(file.scope.clone()),
        grant_types: file.grant_types.clone(),
        profile: file.profile,
        allowed_origins: file.allowed_origins.clone(),
        access_token_ttl_s: file.access_token_ttl_s,
        legacy_assertion_audience: file.legacy_assertion_audience,
        dpop_required: file.dpop_required,
        keys,
    };
    for bad in settings.problems() {
        problems.push(format!("{place}: {}: {}", bad.member, bad.code));
    }
    let weak = |secret: &SecretString| !(32..=256).contains(&secret.expose_secret().len());
    if file.secret.as_ref().is_some_and(weak) {
        problems.push(format!("{place}: secret: 32 to 256 characters"));
    }
    if file.secret.is_some() && !needs_secret(file.token_endpoint_auth_method) {
        problems.push(format!("{place}: secret: the method has none"));
    }
    WantedClient { settings, status: file.status, secret: file.secret.clone() }
}

/// Brings the database to what is wanted and says what differed.
pub(super) async fn reach(
    tx: &mut Tx,
    wanted: &Wanted,
    draws: &Draws,
    secrets: &SecretMacs,
    now: UnixSeconds,
) -> Result<Applied, Fault> {
    let mut applied = Applied::default();
    for want in &wanted.0 {
        let draw = draws.of(&want.file.alias)?;
        let (partner, change) = reach_partner(tx, &want.file, draw, now).await?;
        applied.changes.extend(change);
        let mut known =
            AppliedPartner { alias: partner.alias.clone(), id: partner.id.clone(), clients: Vec::new() };
        for client in &want.clients {
            let draw = draws.of(&path(&partner.alias, &client.settings.alias))?;
            let reaching = ReachClient { partner: &partner, want: client, draw, secrets, now };
            let (client, change) = reaching.run(tx).await?;
            applied.changes.extend(change);
            known.clients.push(client);
        }
        applied.partners.push(known);
    }
    Ok(applied)
}

async fn publish(
    tx: &mut Tx,
    kind: ObjectKind,
    id: &str,
    draw: &Draw,
    now: UnixSeconds,
) -> Result<(), Fault> {
    let change = NewChange { event_id: draw.event_id.clone(), kind, object_id: id.to_owned() };
    insert_change(tx, &change, now).await
}

async fn reach_partner(
    tx: &mut Tx,
    want: &PartnerFile,
    draw: &Draw,
    now: UnixSeconds,
) -> Result<(Partner, Option<Change>), Fault> {
    let object = format!("partner {}", want.alias);
    let known = partners::find_partner_by_alias(tx, &want.alias).await?;
    let partner = Partner {
        id: known.as_ref().map_or_else(|| draw.id.clone(), |known| known.id.clone()),
        alias: want.alias.clone(),
        name: want.name.clone().unwrap_or_else(|| want.alias.clone()),
        status: want.status,
        is_platform: want.platform,
        dialects: want.dialects.clone(),
    };
    let listed = operations::list_operations(tx, &partner.id).await?;
    let listed: Vec<AllowedOperation> = listed.into_iter().map(|(_, operation)| operation).collect();
    let same_list = same_operations(&listed, &want.operations);
    let mut members = Vec::new();
    if let Some(known) = &known {
        differ(&mut members, "name", &known.name, &partner.name);
        differ(&mut members, "status", known.status.as_str(), partner.status.as_str());
        differ(&mut members, "platform", &known.is_platform.to_string(), &partner.is_platform.to_string());
        differ(
            &mut members,
            "dialects",
            &format!("{:?}", known.dialects),
            &format!("{:?}", partner.dialects),
        );
        if members.is_empty() && same_list {
            return Ok((partner, None));
        }
        partners::update_partner(tx, &partner).await?;
    } else if !partners::insert_partner(tx, &partner, now).await? {
        return Err(Fault::new("a partner of this alias appeared meanwhile: apply again"));
    }
    if !same_list {
        members.push(format!("operations: {} -> {}", listed.len(), want.operations.len()));
        operations::replace_operations(tx, &partner.id, &want.operations).await?;
    }
    publish(tx, ObjectKind::Partner, &partner.id, draw, now).await?;
    Ok((partner, Some(Change { object, created: known.is_none(), members })))
}

fn same_operations(one: &[AllowedOperation], other: &[AllowedOperation]) -> bool {
    one.len() == other.len() && one.iter().all(|operation| other.contains(operation))
}

struct ReachClient<'a> {
    partner: &'a Partner,
    want: &'a WantedClient,
    draw: &'a Draw,
    secrets: &'a SecretMacs,
    now: UnixSeconds,
}

impl ReachClient<'_> {
    async fn run(&self, tx: &mut Tx) -> Result<(AppliedClient, Option<Change>), Fault> {
        let alias = &self.want.settings.alias;
        let object = format!("client {}", path(&self.partner.alias, alias));
        let known = clients::find_client_by_alias(tx, &self.partner.id, alias).await?;
        let (client, drawn) = self.wanted(known.as_ref());
        let reached = AppliedClient { alias: alias.clone(), id: client.id.clone(), secret: drawn };
        let mut members = Vec::new();
        if let Some(known) = &known {
            members = differences(known, &client);
            if members.is_empty() {
                return Ok((reached, None));
            }
            clients::update_client(tx, &client).await?;
        } else if !clients::insert_client(tx, &client).await? {
            return Err(Fault::new("a client of this alias appeared meanwhile: apply again"));
        }
        publish(tx, ObjectKind::Client, &client.id, self.draw, self.now).await?;
        Ok((reached, Some(Change { object, created: known.is_none(), members })))
    }

    /// The client as it shall be, and the secret that had to be drawn for it.
    fn wanted(&self, known: Option<&Client>) -> (Client, Option<SecretString>) {
        let id = known.map_or_else(|| self.draw.id.clone(), |known| known.id.clone());
        let stored = known.and_then(|known| known.secret_mac.clone());
        let (secret_mac, drawn) = match (&self.want.secret, stored) {
            _ if !needs_secret(self.want.settings.auth_method) => (None, None),
            (Some(given), Some(stored)) if self.secrets.matches(&id, given.expose_secret(), &[&stored]) => {
                (Some(stored), None)
            }
            (Some(given), _) => (Some(self.secrets.mac(&id, given)), None),
            (None, Some(stored)) => (Some(stored), None),
            (None, None) => (Some(self.secrets.mac(&id, &self.draw.secret)), Some(self.draw.secret.clone())),
        };
        let client = Client {
            id,
            partner_id: self.partner.id.clone(),
            status: self.want.status,
            secret_mac,
            old_secret: None,
            created_at: known.map_or(self.now, |known| known.created_at),
            settings: self.want.settings.clone(),
        };
        (client, drawn)
    }
}

fn differences(known: &Client, wanted: &Client) -> Vec<String> {
    let mut found = Vec::new();
    let (old, new) = (&known.settings, &wanted.settings);
    differ(&mut found, "status", known.status.as_str(), wanted.status.as_str());
    differ(&mut found, "token_endpoint_auth_method", old.auth_method.as_str(), new.auth_method.as_str());
    differ(&mut found, "scope", &old.scope.scope().to_string(), &new.scope.scope().to_string());
    differ(&mut found, "grant_types", &format!("{:?}", old.grant_types), &format!("{:?}", new.grant_types));
    differ(&mut found, "profile", old.profile.as_str(), new.profile.as_str());
    differ(&mut found, "allowed_origins", &old.allowed_origins.join(" "), &new.allowed_origins.join(" "));
    let ttl = |ttl: Option<i64>| ttl.map_or_else(|| "default".to_owned(), |ttl| ttl.to_string());
    differ(&mut found, "access_token_ttl_s", &ttl(old.access_token_ttl_s), &ttl(new.access_token_ttl_s));
    let legacy = |settings: &ClientSettings| settings.legacy_assertion_audience.to_string();
    differ(&mut found, "legacy_assertion_audience", &legacy(old), &legacy(new));
    let bound = |settings: &ClientSettings| settings.dpop_required.to_string();
    differ(&mut found, "dpop_required", &bound(old), &bound(new));
    for (member, key_use) in [("assertion_keys", KeyUse::Assertion), ("signature_keys", KeyUse::Signature)] {
        differ(&mut found, member, &key_names(known, key_use), &key_names(wanted, key_use));
    }
    if known.secret_mac != wanted.secret_mac {
        found.push("secret: replaced".to_owned());
    }
    found
}

/// Names and thumbprints, so that a new key under an old name is a difference.
fn key_names(client: &Client, key_use: KeyUse) -> String {
    let mut names: Vec<String> = client
        .keys_for(key_use)
        .map(|key| {
            let thumbprint = key.jwk.thumbprint();
            if key.kid == thumbprint { thumbprint } else { format!("{}={thumbprint}", key.kid) }
        })
        .collect();
    names.sort_unstable();
    names.join(" ")
}

fn differ(found: &mut Vec<String>, member: &str, old: &str, new: &str) {
    if old != new {
        found.push(format!("{member}: {old} -> {new}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_of_a_file_is_named_with_its_place() {
        let file = PlatformFile::parse(
            r#"
            [[partner]]
            alias = "Acme"
            operations = [{ method = "post", path = "/v1/x", scope = "nope" }]
            [[partner]]
            alias = "beta"
            [[partner.client]]
            alias = "app"
            token_endpoint_auth_method = "private_key_jwt"
            scope = "nope:read"
            secret = "short"
            [[partner.client]]
            alias = "app"
            token_endpoint_auth_method = "none"
            scope = ""
            signature_keys = [{ kty = "oct", k = "AAAA" }]
            "#,
        )
        .unwrap();
        let problems = Wanted::from_file(&file).unwrap_err();
        let expected = [
            "partner Acme: alias",
            "partner Acme: operations: method",
            "partner Acme: operations: there is no scope",
            "client beta/app: scope",
            "client beta/app: assertion_keys",
            "client beta/app: secret: 32",
            "client beta/app: secret: the method",
            "client beta/app: alias: stands twice",
            "client beta/app: signature_keys",
        ];
        for text in expected {
            assert!(problems.iter().any(|problem| problem.starts_with(text)), "{text}: {problems:?}");
        }
        assert_eq!(problems.len(), expected.len());
    }
}
