//! Users, what they carry, and what was given to them, as stored. What that lets them do is decided by the caller.

use kinora_protocol::access::{Quota, Role, Scope};
use kinora_protocol::{EnrollmentId, KeyId, NodeId, SessionId, TeamId, UserId};

/// A user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Id.
    pub id: UserId,
    /// What it signs in with.
    pub name: String,
    /// What it may do in general.
    pub role: Role,
    /// What is kept of its password.
    pub password: Option<String>,
    /// Is shut out.
    pub disabled: bool,
    /// When it was made.
    pub created_ms: i64,
    /// When it last signed in.
    pub last_login_ms: Option<i64>,
    /// Who it is where it signs in, if that is elsewhere.
    pub identity: Option<String>,
    /// Bytes of media that it may keep.
    pub quota: Quota,
}

/// A user with what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserFacts {
    /// The user.
    pub user: UserRow,
    /// Names of its teams, in order.
    pub teams: Vec<String>,
    /// Bytes of media that are its own, with those of uploads that are on their way.
    pub used: u64,
}

/// What is to be different about a user. What is absent stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UserUpdate {
    /// What it may do in general.
    pub role: Option<Role>,
    /// What is kept of its password.
    pub password: Option<String>,
    /// Whether it is shut out.
    pub disabled: Option<bool>,
    /// Bytes of media that it may keep.
    pub quota: Option<Quota>,
    /// A login that stays when the password or the shutting out ends all others.
    pub keep: Option<SessionId>,
}

/// What became of a change to the users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserChanged {
    /// It is done.
    Changed,
    /// There is no such user.
    Unknown,
    /// Nobody would be left who may do everything.
    LastAdmin,
}

/// A team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TeamRow {
    /// Id.
    pub id: TeamId,
    /// Name.
    pub name: String,
    /// Names of its users, in order.
    pub members: Vec<String>,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Id.
    pub id: SessionId,
    /// Whose.
    pub user: UserId,
    /// Whether a cookie carries it.
    pub cookie: bool,
    /// Of the cookie, or of the refresh token that is good.
    pub hash: String,
    /// From where it came.
    pub address: String,
    /// With what.
    pub agent: String,
    /// When it began.
    pub created_ms: i64,
    /// When it was last used.
    pub used_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
}

/// An API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// Id.
    pub id: KeyId,
    /// Whose.
    pub user: UserId,
    /// What it is for.
    pub name: String,
    /// Of the key.
    pub hash: String,
    /// What it may do of what its user may; everything when absent.
    pub scopes: Option<Vec<Scope>>,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: Option<i64>,
    /// When it was last used.
    pub used_ms: Option<i64>,
    /// It stands for a login, and ends with these.
    pub login: bool,
}

/// Something that a user carries, with the user as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried<T> {
    /// What is carried.
    pub what: T,
    /// By whom.
    pub user: UserRow,
    /// The teams that the user is in.
    pub teams: Vec<TeamId>,
}

/// What became of a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rotated {
    /// The next one is good, and this no more.
    Next,
    /// It was used before: the login is over.
    Reused,
    /// It never was good, or the login is over.
    Unknown,
}

/// What lets a machine in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrollmentRow {
    /// Id.
    pub id: EnrollmentId,
    /// Of the token.
    pub hash: String,
    /// Which machine it is for, for people.
    pub name: String,
    /// Who made it.
    pub made_by: String,
    /// When it was made.
    pub created_ms: i64,
    /// When it ends.
    pub expires_ms: i64,
    /// When it was used.
    pub used_ms: Option<i64>,
    /// The machine that it let in.
    pub node: Option<NodeId>,
}

/// By what a machine is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeKeyRow {
    /// The machine.
    pub node: NodeId,
    /// Its key.
    pub public_key: String,
    /// What let it in.
    pub enrollment: EnrollmentId,
    /// When.
    pub enrolled_ms: i64,
    /// When it was shut out.
    pub revoked_ms: Option<i64>,
}

/// What became of a machine that wanted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enrolled {
    /// It is in.
    In,
    /// There is no such token.
    Unknown,
    /// It was used before.
    Used,
    /// Its time is over.
    Expired,
    /// Another machine has the id.
    Taken,
}

/// An entry of the record of what was done, to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When.
    pub at_ms: i64,
    /// Who.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What.
    pub action: String,
    /// What came of it.
    pub outcome: String,
    /// More about it.
    pub detail: String,
}

/// An entry of the record, as written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Position, from 1.
    pub seq: i64,
    /// The entry.
    pub entry: AuditEntry,
    /// Of the entry, its position and the hash before it.
    pub hash: String,
}

/// How an entry is bound to the one before it.
pub type Chain = fn(before: &str, seq: i64, entry: &AuditEntry) -> String;
