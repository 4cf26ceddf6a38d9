//! What the command line does, in the audit log: announced before, its outcome after.

use super::user;
use crate::domain::{Error, Login};
use crate::store::{Deed, Entry, Object, Outcome, Room, Store};

/// Says in the audit log what will be done.
pub(super) async fn announce(store: &Store, verb: &str, object: Object) -> Result<Entry, Error> {
    announce_with(store, (verb, object), None, Room::Needed).await
}

/// The same of what ends something, or lets somebody in who will: not for want of room is that refused.
pub(super) async fn announce_end(store: &Store, verb: &str, object: Object) -> Result<Entry, Error> {
    announce_with(store, (verb, object), None, Room::Kept).await
}

/// The same with a reason.
pub(super) async fn announce_with(
    store: &Store,
    (verb, object): (&str, Object),
    reason: Option<&str>,
    room: Room,
) -> Result<Entry, Error> {
    let argv: Vec<String> = std::env::args().collect();
    let actor = format!("cli:{}", user::name());
    store.announce_deed(Deed { actor: &actor, verb, object, reason, argv: &argv }, room).await
}

/// Says in the audit log how it ended, and waits until it is written.
pub(super) async fn ended<T>(store: &Store, entry: &Entry, done: Result<T, Error>) -> Result<T, Error> {
    entry.end(Outcome::of(&done));
    store.flush_audit().await;
    done
}

/// An account as the audit log names it.
pub(super) async fn account(store: &Store, login: &Login) -> Result<Object, Error> {
    let tenant = match &login.tenant {
        Some(slug) => store.tenant(slug).await?,
        None => None,
    };
    Ok(Object::named("account", login.to_string()).of(tenant.as_ref()))
}
