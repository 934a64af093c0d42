//! Partners, clients and allow-lists, cached in process.
//!
//! Issuing a token waits for no database: what it needs to know is here. The cache is changed by own writes at once
//! and by the directory's changes of other nodes within a second.

use std::{collections::HashMap, sync::Arc};

use arc_swap::ArcSwap;
use chassis::{Db, Fault, Tx};

use crate::{
    domain::{client::Client, operation::AllowedOperation, partner::Partner},
    store::{clients, directory, operations, partners},
};

/// How many rows are read at once when everything is loaded.
const PAGE: i64 = 500;

/// One consistent state of the cache.
#[derive(Debug, Default, Clone)]
pub struct Snapshot {
    partners: HashMap<String, Arc<Partner>>,
    clients: HashMap<String, Arc<Client>>,
    operations: HashMap<String, Arc<[AllowedOperation]>>,
}

impl Snapshot {
    /// The client with this id, whatever its state.
    pub fn client(&self, id: &str) -> Option<Arc<Client>> {
        self.clients.get(id).cloned()
    }

    /// The partner with this id, whatever its state.
    pub fn partner(&self, id: &str) -> Option<Arc<Partner>> {
        self.partners.get(id).cloned()
    }

    /// The partner's own allow-list, if it has one.
    pub fn operations(&self, partner_id: &str) -> Option<Arc<[AllowedOperation]>> {
        self.operations.get(partner_id).cloned()
    }
}

/// The cache. Readers never wait.
#[derive(Debug)]
pub struct Registry {
    current: ArcSwap<Snapshot>,
    /// Held while a new state is made, so that two refreshes cannot lose each other's changes.
    refreshing: tokio::sync::Mutex<()>,
}

impl Registry {
    /// Loads everything. Returns the directory's head from before, from which changes must be followed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn load(db: &Db) -> Result<(Self, i64), Fault> {
        let (snapshot, head) = db.read(|tx| Box::pin(load_all(tx))).await?;
        Ok((
            Self { current: ArcSwap::from_pointee(snapshot), refreshing: tokio::sync::Mutex::default() },
            head,
        ))
    }

    /// The present state.
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Reads the named objects anew. Objects of other kinds are ignored.
    ///
    /// # Errors
    /// When the database cannot be read; the cache then stays as it was.
    pub async fn refresh(&self, db: &Db, changed: Vec<(String, String)>) -> Result<(), Fault> {
        let _order = self.refreshing.lock().await;
        let mut next = Snapshot::clone(&self.current.load());
        let fresh = db.read(move |tx| Box::pin(async move { read_changed(tx, &changed).await })).await?;
        for object in fresh {
            match object {
                Fresh::Partner(partner, operations) => {
                    set_operations(&mut next, &partner.id, operations);
                    next.partners.insert(partner.id.clone(), Arc::new(partner));
                }
                Fresh::Client(client) => {
                    next.clients.insert(client.id.clone(), client);
                }
            }
        }
        self.current.store(Arc::new(next));
        Ok(())
    }
}

enum Fresh {
    Partner(Partner, Vec<AllowedOperation>),
    Client(Arc<Client>),
}

async fn read_changed(tx: &mut Tx, changed: &[(String, String)]) -> Result<Vec<Fresh>, Fault> {
    let mut fresh = Vec::new();
    for (kind, id) in changed {
        if kind == directory::ObjectKind::Partner.as_str() {
            if let Some(partner) = partners::find_partner(tx, id).await? {
                let own =
                    operations::list_operations(tx, id).await?.into_iter().map(|(_, operation)| operation);
                fresh.push(Fresh::Partner(partner, own.collect()));
            }
        } else if kind == directory::ObjectKind::Client.as_str()
            && let Some(client) = clients::find_client(tx, id).await?
        {
            fresh.push(Fresh::Client(Arc::new(client)));
        }
    }
    Ok(fresh)
}

fn set_operations(snapshot: &mut Snapshot, partner_id: &str, operations: Vec<AllowedOperation>) {
    if operations.is_empty() {
        snapshot.operations.remove(partner_id);
    } else {
        snapshot.operations.insert(partner_id.to_owned(), operations.into());
    }
}

async fn load_all(tx: &mut Tx) -> Result<(Snapshot, i64), Fault> {
    let head = directory::head(tx).await?;
    let mut snapshot = Snapshot::default();
    let mut after = String::new();
    loop {
        let page = partners::list_partners(tx, &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        snapshot.partners.extend(page.into_iter().map(|partner| (partner.id.clone(), Arc::new(partner))));
    }
    after.clear();
    loop {
        let page = clients::list_clients(tx, "", &after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.id);
        snapshot.clients.extend(page.into_iter().map(|client| (client.id.clone(), Arc::new(client))));
    }
    let mut lists: HashMap<String, Vec<AllowedOperation>> = HashMap::new();
    for (partner_id, operation) in operations::list_operations(tx, "").await? {
        lists.entry(partner_id).or_default().push(operation);
    }
    snapshot.operations = lists.into_iter().map(|(partner_id, list)| (partner_id, list.into())).collect();
    Ok((snapshot, head))
}
