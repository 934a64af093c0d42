//! For which partner a caller acts.

use crate::app::{App, Caller};

/// The caller may not act for the partner it named, or there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such partner")]
pub struct NoSuchPartner;

/// The partner that `named` means: the caller's own, or for clients of the platform any. Another partner's client
/// learns nothing about which partners there are.
///
/// # Errors
/// [`NoSuchPartner`].
pub fn settle(app: &App, caller: &Caller, named: Option<&str>) -> Result<String, NoSuchPartner> {
    let own = &caller.who.partner;
    match named {
        None => Ok(own.id.clone()),
        Some(id) if id == own.id => Ok(own.id.clone()),
        Some(id) if own.is_platform => {
            app.registry.snapshot().partner(id).map(|partner| partner.id.clone()).ok_or(NoSuchPartner)
        }
        Some(_) => Err(NoSuchPartner),
    }
}

/// Which rows a lookup by id may find: the caller's own partner's, or any (an empty text) for the platform.
pub fn reach(caller: &Caller) -> String {
    if caller.who.partner.is_platform { String::new() } else { caller.who.partner.id.clone() }
}
