//! Users, their logins and their keys, as they are asked for and shown.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{Role, Scope};
use crate::id::{KeyId, NodeId, SessionId, TeamId, UserId};

/// Whom the hub takes a request to be from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Me {
    /// Whoever sits at the hub's machine.
    Local,
    /// A user.
    User(UserView),
    /// A machine that works.
    Node(NodeId),
    /// Nobody that it knows.
    Nobody,
}

/// How many bytes of media a user may keep.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Quota {
    /// As many as the hub allows who has no number of its own.
    #[default]
    Usual,
    /// Any number.
    Unlimited,
    /// So many.
    Bytes(u64),
}

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct UserView {
    /// Id.
    pub id: UserId,
    /// What it signs in with.
    pub name: String,
    /// What it may do in general.
    pub role: Role,
    /// Names of its teams.
    pub teams: Vec<String>,
    /// What it is called where it signs in elsewhere.
    pub outside: Option<String>,
    /// Cannot sign in, and none of its keys is good for anything.
    pub disabled: bool,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it last signed in.
    pub last_login_ms: Option<i64>,
    /// Bytes of media that it may keep.
    pub quota: Quota,
    /// Bytes of media that are its own, with those of uploads that are on their way.
    pub used: u64,
}

/// A user to be made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewUser {
    /// What it signs in with: letters, digits, and . _ - @, up to 64; the first user to have it keeps it.
    pub name: String,
    /// What it may do in general.
    pub role: Role,
    /// Ten characters at the least; none for one that signs in elsewhere only.
    #[serde(default)]
    pub password: Option<String>,
    /// What it is called where it signs in elsewhere: its subject at the provider of OpenID Connect.
    #[serde(default)]
    pub outside: Option<String>,
}

impl NewUser {
    /// One that signs in with a password.
    pub fn new(name: impl Into<String>, role: Role, password: impl Into<String>) -> Self {
        Self { name: name.into(), role, password: Some(password.into()), outside: None }
    }
}

impl fmt::Debug for NewUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NewUser({:?}, {:?})", self.name, self.role)
    }
}

/// What is to be different about a user. What is absent stays.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct UserChange {
    /// What it may do in general.
    pub role: Option<Role>,
    /// A new password; all its logins end.
    pub password: Option<String>,
    /// Whether it is shut out; all its logins end.
    pub disabled: Option<bool>,
    /// Bytes of media that it may keep.
    pub quota: Option<Quota>,
}

impl fmt::Debug for UserChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        write!(f, "UserChange({:?}, {password:?}, {:?}, {:?})", self.role, self.disabled, self.quota)
    }
}

/// A new password of one's own.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct PasswordChange {
    /// The one until now.
    pub old: String,
    /// The one from now on: ten characters at the least. All other logins end.
    pub new: String,
}

/// Some users together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct TeamView {
    /// Id.
    pub id: TeamId,
    /// Name.
    pub name: String,
    /// Names of its users.
    pub members: Vec<String>,
}

/// A team to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewTeam {
    /// Its name, as those of users are.
    pub name: String,
}

/// The first user of a hub, who may do everything.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Setup {
    /// What the hub has printed at its start.
    pub token: String,
    /// What the user signs in with.
    pub name: String,
    /// Ten characters at the least.
    pub password: String,
}

/// Ways to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct LoginMethods {
    /// With a name and a password.
    pub password: bool,
    /// Elsewhere, by OpenID Connect.
    pub outside: Option<Outside>,
}

/// Where users sign in elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Outside {
    /// What people call it.
    pub name: String,
    /// The page of the hub that sends a browser there; `?next=/PATH` is where it goes in the end.
    pub url: String,
}

/// Who wants in.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// Name of the user.
    pub name: String,
    /// Password of the user.
    pub password: String,
    /// Whether a cookie is to carry the session, as for browsers; else tokens are answered.
    #[serde(default)]
    pub cookie: bool,
}

/// Tokens of a login.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// Goes with each request, as `Authorization: Bearer …`.
    pub access_token: String,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds that the access token is good for.
    pub expires_in: u32,
    /// Gives the next pair, once; a second use ends the login.
    pub refresh_token: String,
}

/// Asks for the next pair of tokens.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// The last refresh token.
    pub refresh_token: String,
}

/// A login that has not ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// Id.
    pub id: SessionId,
    /// The one that asks.
    pub current: bool,
    /// Whether a cookie carries it.
    pub cookie: bool,
    /// From where it came.
    pub address: String,
    /// With what, in its own words.
    pub agent: String,
    /// When it began.
    pub created_ms: i64,
    /// When it was last used.
    pub used_ms: i64,
}

/// An API key, without what makes it one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct KeyView {
    /// Id.
    pub id: KeyId,
    /// What it is for.
    pub name: String,
    /// Whose it is.
    pub user: String,
    /// What it may do of what its user may; everything when absent.
    #[cfg_attr(feature = "schema", schema(value_type = Option<Vec<String>>))]
    pub scopes: Option<Vec<Scope>>,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: Option<i64>,
    /// When it was last used.
    pub used_ms: Option<i64>,
    /// The key itself: in the answer to its making, and never again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// An API key to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// What it is for.
    pub name: String,
    /// What it may do of what its user may, such as `jobs:read`; everything when absent.
    #[serde(default)]
    #[cfg_attr(feature = "schema", schema(value_type = Option<Vec<String>>))]
    pub scopes: Option<Vec<Scope>>,
    /// Seconds that it is good for; until it is revoked when absent.
    #[serde(default)]
    pub expires_in: Option<u32>,
    /// Whose it is to be; only admins make keys for others.
    #[serde(default)]
    pub user: Option<String>,
    /// It stands for a login: it ends when the logins of its user do, by a new password, say.
    #[serde(default)]
    pub login: bool,
}

/// Opens one WebSocket, as `?ticket=…`, for those who cannot send headers with it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Ticket {
    /// The ticket.
    pub ticket: String,
    /// Seconds that it is good for.
    pub expires_in: u32,
}
