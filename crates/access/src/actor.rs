//! Whom a request is from. How that was found out is not known here.

use kinora_protocol::access::{Role, Scope, Sight};
use kinora_protocol::{KeyId, NodeId, SessionId, TeamId, UserId};

/// Whom a request is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Nobody that is known.
    Nobody,
    /// Whoever may read the hub's files, or sits at a hub that nobody else can reach and that has no users.
    Local,
    /// A user.
    User(User),
    /// A machine that works.
    Node(NodeId),
}

/// A user that has shown who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Id.
    pub id: UserId,
    /// What it is called.
    pub name: String,
    /// What it may do in general.
    pub role: Role,
    /// The teams that it is in.
    pub teams: Vec<TeamId>,
    /// By what it has shown that.
    pub via: Via,
}

/// By what a user has shown who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A login.
    Session(SessionId),
    /// An API key, with what it may do of what its user may; everything when absent.
    Key {
        /// Which.
        id: KeyId,
        /// What it is for.
        name: String,
        /// What it may do.
        scopes: Option<Vec<Scope>>,
    },
}

impl User {
    /// What its key may do of what it may; everything when absent.
    pub fn scopes(&self) -> Option<&[Scope]> {
        match &self.via {
            Via::Session(_) => None,
            Via::Key { scopes, .. } => scopes.as_deref(),
        }
    }
}

impl Actor {
    /// Which things it gets to see, of whatever kind.
    pub fn sight(&self) -> Sight {
        match self {
            Self::Local => Sight::All,
            Self::User(user) if user.role == Role::Admin => Sight::All,
            Self::User(user) => Sight::Of { user: user.id, teams: user.teams.clone() },
            Self::Node(_) | Self::Nobody => Sight::Nothing,
        }
    }

    /// Whose things are that it makes; nobody's when absent.
    pub fn owner(&self) -> Option<UserId> {
        match self {
            Self::User(user) => Some(user.id),
            Self::Local | Self::Node(_) | Self::Nobody => None,
        }
    }
}

/// As it stands in the record of what was done.
impl std::fmt::Display for Actor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Local => f.write_str("local"),
            Self::User(User { name, via: Via::Session(_), .. }) => write!(f, "user {name}"),
            Self::User(User { name, via: Via::Key { name: key, .. }, .. }) => write!(f, "key {name}/{key}"),
            Self::Node(node) => write!(f, "node {node}"),
        }
    }
}
