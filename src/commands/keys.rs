//! `countersign keys`: the signing keys of a service, and its master key.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::bail;
use chassis::Platform;
use chassis::db::Db;
use chassis::keyring::{KeyRing, RingKind, SIGNING, list_ring};
use chassis::outbox::rfc3339;
use chassis::sealed::rekey as seal_anew;
use clap::{Subcommand, ValueEnum};
use keys::UnixSeconds;
use keys::ring::{KeyState, RingKey};

use super::place::{Place, Where};
use super::serve::Service;

/// What can be done with keys. A service may run on the database meanwhile: it follows within a second.
#[derive(Subcommand)]
pub(super) enum KeysCommand {
    /// List the keys of every ring: which one signs, which one is next and from when, which ones are only published still.
    List(Ask),
    /// Publish a new signing key now. It takes over once every verifier can know it; no token becomes invalid.
    ///
    /// Safe at any time. Asking twice makes one key. The old key stays published until the last token it signed has
    /// expired, and then goes by itself. To be used when a key is merely old; if it may be known to somebody else, use
    /// `keys revoke`.
    Rotate {
        /// The ring.
        #[arg(long, value_enum, default_value_t = Purpose::Signing)]
        purpose: Purpose,
        #[command(flatten)]
        ask: Ask,
    },
    /// Take a signing key out of use at once, because somebody else may know it. What it signed becomes invalid!
    ///
    /// Its private half is destroyed. If it was the one that signs, the next one, or else a new one, signs from this
    /// moment; verifiers that cache the JWKS refuse that key's tokens until they fetch the JWKS again. Clients get new
    /// tokens by asking for them as they always do.
    Revoke {
        /// The key's id, as `keys list` shows it; it says which ring.
        kid: String,
        #[command(flatten)]
        ask: Ask,
    },
    /// Seal everything anew under the present master key, while services run, so that the previous one can be removed.
    ///
    /// Before: give every node of the service the new key as `master_key_file` and the previous one in
    /// `readable_master_key_files` (docs/operations.md, "Changing the master key"). Interrupted, it is simply run again.
    Rekey(Ask),
}

/// Which services.
#[derive(clap::Args)]
pub(super) struct Ask {
    #[command(flatten)]
    place: Where,
    /// Only this one of the services that are named.
    #[arg(long, value_enum)]
    service: Option<ServiceName>,
}

#[derive(Clone, Copy, ValueEnum)]
enum ServiceName {
    Authz,
    ResourceApi,
}

/// A ring of a service, by what its keys sign.
#[derive(Clone, Copy, ValueEnum)]
pub(super) enum Purpose {
    /// Tokens, or what the payments API tells others.
    Signing,
    /// Webhooks of the payments API in a vendor's envelope.
    Webhook,
}

impl Purpose {
    fn name(self) -> &'static str {
        match self {
            Self::Signing => SIGNING,
            Self::Webhook => resource_api::WEBHOOK_RING,
        }
    }
}

impl Ask {
    fn places(&self) -> anyhow::Result<Vec<Place>> {
        let wanted = match self.service {
            None => None,
            Some(ServiceName::Authz) => Some(Service::Authz),
            Some(ServiceName::ResourceApi) => Some(Service::ResourceApi),
        };
        let mut places = self.place.places()?;
        places.retain(|place| wanted.is_none_or(|wanted| place.service == wanted));
        if places.is_empty() {
            bail!("--service names none of the services given");
        }
        Ok(places)
    }
}

/// Runs the command.
pub(super) async fn run(command: KeysCommand) -> anyhow::Result<ExitCode> {
    match command {
        KeysCommand::List(ask) => list(&ask).await,
        KeysCommand::Rotate { purpose, ask } => rotate(purpose, &ask).await,
        KeysCommand::Revoke { kid, ask } => revoke(&kid, &ask).await,
        KeysCommand::Rekey(ask) => rekey(&ask).await,
    }
}

async fn list(ask: &Ask) -> anyhow::Result<ExitCode> {
    for place in ask.places()? {
        let db = place.open().await?;
        let listed = list_rings(&place, &db).await;
        db.close().await;
        print!("{}", listed?);
    }
    Ok(ExitCode::SUCCESS)
}

/// All rings of one service, for a person.
async fn list_rings(place: &Place, db: &Db) -> anyhow::Result<String> {
    let mut listed = String::new();
    for kind in place.rings() {
        let heading = format!("{}, {}\n", place.service.name(), kind.purpose);
        listed = listed + &heading + &told(&list_ring(db, kind.purpose).await?, &kind);
    }
    Ok(listed)
}

/// The keys of one ring, for a person.
fn told(ring: &[RingKey], kind: &RingKind) -> String {
    if ring.is_empty() {
        return format!("  {}\n", no_key(kind));
    }
    let policy = &kind.policy;
    let mut lines = String::new();
    for key in ring {
        let at = |moment: Option<UnixSeconds>| moment.map(rfc3339).unwrap_or_default();
        let what = match key.state {
            KeyState::Active => format!(
                "signs since {}; its successor is due at {}",
                at(key.activated_at),
                at(key.signs_until(policy))
            ),
            KeyState::Next => {
                format!(
                    "published since {}; signs from {}",
                    at(Some(key.published_at)),
                    at(key.signs_from(policy))
                )
            }
            KeyState::Retired => format!(
                "signed until {}; verifies what it signed until {}, then it goes",
                at(key.retired_at),
                at(key.published_until(policy))
            ),
        };
        let line = format!("  {}  {:6} {:8} {what}\n", key.kid, key.alg.as_str(), key.state.as_str());
        lines.push_str(&line);
    }
    lines
}

/// Why a ring is empty.
fn no_key(kind: &RingKind) -> &'static str {
    if kind.purpose == SIGNING {
        "no key yet; the service makes one when it starts"
    } else {
        "no key yet; the service makes one when the first webhook endpoint asks for a vendor's envelope"
    }
}

/// Opens a service's ring as the service itself does.
async fn open_ring(place: &Place, db: &Db, kind: RingKind) -> anyhow::Result<Arc<KeyRing>> {
    let platform = Platform::system(false);
    let master = place.master_keys()?;
    Ok(KeyRing::open_for(kind.purpose, db.clone(), platform, master, kind.policy).await?)
}

async fn rotate(purpose: Purpose, ask: &Ask) -> anyhow::Result<ExitCode> {
    let mut found = false;
    for place in ask.places()? {
        let rings = place.rings();
        let Some(kind) = rings.into_iter().find(|kind| kind.purpose == purpose.name()) else { continue };
        found = true;
        let db = place.open_migrated().await?;
        let said = rotate_ring(&place, &db, kind).await;
        db.close().await;
        print!("{}", said?);
    }
    if !found {
        bail!("only the payments API has a ring {:?}; name its configuration with --config", purpose.name());
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins a rotation of one ring. What happened, for a person.
async fn rotate_ring(place: &Place, db: &Db, kind: RingKind) -> anyhow::Result<String> {
    let service = place.service.name();
    // Opening it would make the first key, which the service does when it needs one.
    if kind.purpose != SIGNING && !KeyRing::has_keys(db, kind.purpose).await? {
        bail!("{service}: ring {:?} has {}", kind.purpose, no_key(&kind));
    }
    let ring = open_ring(place, db, kind).await?;
    let before = ring.list()?;
    ring.begin_rotation().await?;
    let after = ring.list()?;
    let Some(next) = after.iter().find(|key| key.state == KeyState::Next) else {
        bail!("{service}: the ring has no next key; look at `keys list` and ask again");
    };
    let known = before.iter().any(|key| key.kid == next.kid);
    let published = if known { "was published before" } else { "is published now" };
    let from = next.signs_from(&kind.policy).map(rfc3339).unwrap_or_default();
    let signing = ring.active();
    Ok(format!(
        "{service}: {} {published}. It signs from {from} (the JWKS may be cached until then).\n\
         {service}: until then {} signs; what it signed stays valid.\n",
        next.kid,
        signing.kid()
    ))
}

async fn revoke(kid: &str, ask: &Ask) -> anyhow::Result<ExitCode> {
    for place in ask.places()? {
        let db = place.open().await?;
        let said = revoke_in(&place, &db, kid).await;
        db.close().await;
        if let Some(said) = said? {
            print!("{said}");
            return Ok(ExitCode::SUCCESS);
        }
    }
    bail!("no service here has a signing key {kid}; `countersign keys list` shows them")
}

/// Revokes the key if a ring of this service has it. What happened, for a person.
async fn revoke_in(place: &Place, db: &Db, kid: &str) -> anyhow::Result<Option<String>> {
    for kind in place.rings() {
        let listed = list_ring(db, kind.purpose).await?;
        let Some(key) = listed.into_iter().find(|key| key.kid == kid) else { continue };
        place.migrate(db).await?;
        let ring = open_ring(place, db, kind).await?;
        if !ring.revoke(kid).await? {
            bail!("{kid} went while it was being revoked; look at `keys list`");
        }
        return Ok(Some(revoked(place.service, &kind, &key, ring.active().kid())));
    }
    Ok(None)
}

/// What stops working, for a person.
fn revoked(service: Service, kind: &RingKind, key: &RingKey, signing: &str) -> String {
    let (name, cached_s) = (service.name(), kind.policy.jwks_max_age_s);
    let gone = format!("{name}: {} is revoked and its private half destroyed.\n", key.kid);
    if key.state == KeyState::Next {
        return gone + "It had signed nothing: nothing stops working.\n";
    }
    let (signed, verifier) = match service {
        Service::Authz => {
            ("Every token that it signed", "The payments API knows within 5 seconds; others that")
        }
        Service::ResourceApi if kind.purpose == SIGNING => ("Everything that it signed", "Others that"),
        Service::ResourceApi => ("Every webhook that it signed, in vendors' envelopes,", "Receivers that"),
    };
    let void = format!(
        "{signed} is refused from now on, here within a second. {verifier} cache the JWKS go on accepting it for up \
         to {cached_s} seconds.\n"
    );
    let other = format!(
        "{signing} signs from now on. Whoever holds a JWKS without it refuses what it signs until they fetch it \
         again: at an unknown kid, or after at most {cached_s} seconds.\n"
    );
    gone + &void + if key.state == KeyState::Active { &other } else { "" }
}

async fn rekey(ask: &Ask) -> anyhow::Result<ExitCode> {
    let platform = Platform::system(false);
    let mut clean = true;
    for place in ask.places()? {
        let service = place.service.name();
        let master = place.master_keys()?;
        let db = place.open_migrated().await?;
        let columns = place.sealed_columns();
        let mut told = |at: chassis::sealed::Progress| {
            eprintln!("{service}: {}.{}: {} sealed anew", at.table, at.column, at.sealed_anew);
        };
        let done = seal_anew((&db, &platform), &master, &columns, &mut told).await;
        db.close().await;
        let done = done?;
        let current = master.current().id();
        println!("{service}: {} texts were sealed anew under the master key {current}.", done.sealed_anew);
        if done.left == 0 {
            println!(
                "{service}: nothing is sealed under any other key any more: remove the others from \
                 readable_master_keys and readable_master_key_files, restart, and destroy them."
            );
        } else {
            clean = false;
            println!(
                "{service}: {} texts are under another key again. A node still seals under it: give every node the new \
                 key as master_key_file, then run this again.",
                done.left
            );
        }
    }
    Ok(if clean { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

#[cfg(test)]
mod tests {
    use keys::Algorithm;

    use super::*;

    fn key(kid: &str, state: KeyState) -> RingKey {
        let moment = |at| Some(UnixSeconds(at));
        RingKey {
            kid: kid.to_owned(),
            alg: Algorithm::Es256,
            state,
            published_at: UnixSeconds(1_000),
            activated_at: (state != KeyState::Next).then_some(UnixSeconds(2_000)),
            retired_at: if state == KeyState::Retired { moment(3_000) } else { None },
        }
    }

    #[test]
    fn a_list_says_who_signs_and_when_the_others_do() {
        let [kind, webhook] = resource_api::rings();
        let ring = [key("a", KeyState::Active), key("n", KeyState::Next), key("r", KeyState::Retired)];
        let said = told(&ring, &kind);
        assert_eq!(said.lines().count(), 3, "{said}");
        for part in [
            "active   signs since 1970-01-01T00:33:20Z",
            "next     published since 1970-01-01T00:16:40Z; signs from 1970-01-01T00:21:50Z",
            "retired  signed until 1970-01-01T00:50:00Z; verifies what it signed until 1970-01-02T00:50:10Z",
        ] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(told(&[], &kind).contains("when it starts"));
        assert!(told(&[], &webhook).contains("when the first webhook endpoint asks"));
    }

    #[test]
    fn a_revocation_says_what_stops_working() {
        let [signing, webhook] = resource_api::rings();
        let said = revoked(Service::Authz, &signing, &key("a", KeyState::Active), "b");
        assert!(
            said.contains("Every token that it signed is refused") && said.contains("b signs from now on")
        );
        let said = revoked(Service::Authz, &signing, &key("n", KeyState::Next), "b");
        assert!(said.contains("nothing stops working"), "{said}");
        let said = revoked(Service::ResourceApi, &signing, &key("r", KeyState::Retired), "b");
        assert!(!said.contains("signs from now on") && said.contains("300 seconds"), "{said}");
        let said = revoked(Service::ResourceApi, &webhook, &key("a", KeyState::Active), "b");
        assert!(said.contains("Every webhook that it signed"), "{said}");
    }
}
