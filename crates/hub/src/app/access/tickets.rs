//! Tickets: each opens one WebSocket, soon. They are kept in memory; a hub that is started again gives others.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use kinora_access::{Actor, Prefix, Secret};
use kinora_protocol::access::Ticket;
use uuid::Uuid;

use super::{Caller, secret};
use crate::{Hub, Result, now_ms};

/// Seconds that one is good for.
const LIFETIME: u32 = 30;
/// Tickets that nobody has used yet, at the most.
const MOST: usize = 10_000;

struct Given {
    hash: String,
    actor: Actor,
    until_ms: i64,
}

/// What was given and not used.
#[derive(Default)]
pub(super) struct Tickets(Mutex<HashMap<Uuid, Given>>);

impl Tickets {
    fn give(&self, ticket: &Secret, actor: &Actor, now_ms: i64) {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if given.len() >= MOST {
            given.retain(|_, one| one.until_ms > now_ms);
        }
        if given.len() >= MOST {
            given.clear();
        }
        let until_ms = now_ms + i64::from(LIFETIME) * 1000;
        given.insert(ticket.id, Given { hash: ticket.hash(), actor: actor.clone(), until_ms });
    }

    /// Whose it is; it is used up by being asked.
    pub(super) fn redeem(&self, ticket: &Secret, now_ms: i64) -> Option<Actor> {
        let mut given = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let one = given.remove(&ticket.id)?;
        (ticket.is(&one.hash) && one.until_ms > now_ms).then_some(one.actor)
    }
}

impl Hub {
    /// A ticket for whoever asks.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub(crate) fn new_ticket(&self, caller: &Caller) -> Result<Ticket> {
        let ticket = secret(Prefix::Ticket, Uuid::new_v4())?;
        self.access().tickets.give(&ticket, &caller.actor, now_ms());
        Ok(Ticket { ticket: ticket.to_string(), expires_in: LIFETIME })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_and_soon() {
        let (tickets, ticket) = (Tickets::default(), secret(Prefix::Ticket, Uuid::new_v4()).unwrap());
        tickets.give(&ticket, &Actor::Local, 1000);
        assert_eq!(tickets.redeem(&ticket, 2000), Some(Actor::Local));
        assert_eq!(tickets.redeem(&ticket, 2000), None);
        tickets.give(&ticket, &Actor::Local, 1000);
        assert_eq!(tickets.redeem(&ticket, 31_000), None);
        tickets.give(&ticket, &Actor::Local, 1000);
        let forged = secret(Prefix::Ticket, ticket.id).unwrap();
        assert_eq!(tickets.redeem(&forged, 2000), None);
    }
}
