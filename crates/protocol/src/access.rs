//! Who may do what, as it crosses the wire: roles, scopes of keys, rights to single things. What follows from them is decided
//! elsewhere.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::{TeamId, UserId};

mod machines;
mod users;

pub use machines::{
    AskChallenge, Challenge, Enroll, EnrollmentView, HubIdentity, Identity, NewEnrollment, Renew,
};
pub use users::{
    KeyView, Login, LoginMethods, Me, NewKey, NewTeam, NewUser, Outside, PasswordChange, Quota, Refresh,
    SessionView, Setup, TeamView, Ticket, Tokens, UserChange, UserView,
};

/// What a user may do in general. Each may do what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Looks at what is shared with it.
    Viewer,
    /// Brings media, makes jobs, shares what is its own.
    Editor,
    /// Everything.
    Admin,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Editor, Self::Admin];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Editor => "editor",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|role| role.name() == text);
        known.ok_or_else(|| format!("there is no role {text:?}: write viewer, editor or admin"))
    }
}

/// What there is to be done something with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Area {
    /// Media, and uploads on their way to be some.
    Media,
    /// Jobs with their results.
    Jobs,
    /// Folders that are watched.
    Folders,
    /// Webhooks with their deliveries.
    Webhooks,
    /// Machines that work.
    Nodes,
    /// The hub itself.
    System,
    /// Users, teams and what was done by whom.
    Users,
    /// API keys.
    Keys,
}

impl Area {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Media,
        Self::Jobs,
        Self::Folders,
        Self::Webhooks,
        Self::Nodes,
        Self::System,
        Self::Users,
        Self::Keys,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Jobs => "jobs",
            Self::Folders => "folders",
            Self::Webhooks => "webhooks",
            Self::Nodes => "nodes",
            Self::System => "system",
            Self::Users => "users",
            Self::Keys => "keys",
        }
    }
}

/// A part of what its user may do that a key may, too: `jobs:read`, `media:write`, `all:read`. To write is to read as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Scope {
    /// With what; with everything when absent.
    pub area: Option<Area>,
    /// Whether it may change anything.
    pub write: bool,
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let area = self.area.map_or("all", Area::name);
        write!(f, "{area}:{}", if self.write { "write" } else { "read" })
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let areas = || Area::ALL.map(Area::name).join(", ");
        let wrong = || format!("{text:?} is no scope: write AREA:read or AREA:write with all, {}", areas());
        let (area, access) = text.split_once(':').ok_or_else(wrong)?;
        let area = match area {
            "all" => None,
            named => Some(Area::ALL.into_iter().find(|area| area.name() == named).ok_or_else(wrong)?),
        };
        match access {
            "read" => Ok(Self { area, write: false }),
            "write" => Ok(Self { area, write: true }),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Scope {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Scope> for String {
    fn from(scope: Scope) -> Self {
        scope.to_string()
    }
}

/// What somebody may do with one thing. Each includes the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Right {
    /// Look at it.
    View,
    /// Change it.
    Edit,
    /// Delete it, and say who else may do something.
    Own,
}

impl Right {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::View, Self::Edit, Self::Own];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Edit => "edit",
            Self::Own => "own",
        }
    }
}

impl FromStr for Right {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|right| right.name() == text);
        known.ok_or_else(|| format!("there is no right {text:?}: write view, edit or own"))
    }
}

/// Things that somebody owns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Media.
    Media,
    /// An upload on its way.
    Upload,
    /// A job.
    Job,
    /// A webhook.
    Webhook,
    /// A folder that is watched.
    Folder,
}

impl Kind {
    /// The name in stores and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Upload => "upload",
            Self::Job => "job",
            Self::Webhook => "webhook",
            Self::Folder => "folder",
        }
    }

    /// What it belongs to.
    pub fn area(self) -> Area {
        match self {
            Self::Media | Self::Upload => Area::Media,
            Self::Job => Area::Jobs,
            Self::Webhook => Area::Webhooks,
            Self::Folder => Area::Folders,
        }
    }
}

/// To whom a right is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A user.
    User(UserId),
    /// All users of a team.
    Team(TeamId),
    /// All users.
    Everyone,
}

/// A right that somebody has to a thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Grant {
    /// Who.
    pub to: Subject,
    /// What.
    pub right: Right,
}

/// Which things somebody gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Sight {
    /// All.
    #[default]
    All,
    /// What is shared with a user or with one of its teams.
    Of {
        /// The user.
        user: UserId,
        /// Its teams.
        teams: Vec<TeamId>,
    },
    /// None.
    Nothing,
}

/// With whom something is shared. Its text is `user:NAME`, `team:NAME` or `everyone`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Sharee {
    /// A user, by name.
    User(String),
    /// A team, by name.
    Team(String),
    /// All users.
    Everyone,
}

impl fmt::Display for Sharee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(name) => write!(f, "user:{name}"),
            Self::Team(name) => write!(f, "team:{name}"),
            Self::Everyone => f.write_str("everyone"),
        }
    }
}

impl FromStr for Sharee {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("user", name)) if !name.is_empty() => Ok(Self::User(name.to_owned())),
            Some(("team", name)) if !name.is_empty() => Ok(Self::Team(name.to_owned())),
            None if text == "everyone" => Ok(Self::Everyone),
            _ => Err(format!("{text:?} is nobody: write user:NAME, team:NAME or everyone")),
        }
    }
}

impl TryFrom<String> for Sharee {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Sharee> for String {
    fn from(sharee: Sharee) -> Self {
        sharee.to_string()
    }
}

/// A share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct ShareView {
    /// With whom: `user:NAME`, `team:NAME` or `everyone`.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub with: Sharee,
    /// What they may do.
    pub right: Right,
}

/// What somebody did, or tried to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AuditView {
    /// Position, from 1; none is left out.
    pub seq: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// Who: `user anna`, `key anna/ci`, `node …`, `local`, `nobody`.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What: `POST /api/v1/jobs`, `login`, `refresh`.
    pub action: String,
    /// What came of it: `done`, `denied`, `failed`.
    pub outcome: String,
    /// More about it.
    pub detail: String,
    /// BLAKE3 of this entry and the hash of the one before it.
    pub hash: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_their_text() {
        for text in ["all:read", "all:write", "jobs:read", "media:write", "keys:read"] {
            assert_eq!(text.parse::<Scope>().unwrap().to_string(), text);
        }
        for text in ["", "all", "jobs", "jobs:delete", "job:read", "JOBS:read", "all:read "] {
            let why = text.parse::<Scope>().unwrap_err();
            assert!(why.contains("webhooks"), "{why}");
        }
    }

    #[test]
    fn sharees_are_their_text() {
        for text in ["user:anna", "team:cut", "everyone", "user:a:b"] {
            assert_eq!(text.parse::<Sharee>().unwrap().to_string(), text);
        }
        for text in ["", "anna", "user:", "everyone:x", "group:x"] {
            assert!(text.parse::<Sharee>().is_err(), "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let user = NewUser::new("anna", Role::Editor, "geheim");
        assert!(!format!("{user:?}").contains("geheim"));
        let change = UserChange { password: Some("geheim".into()), ..UserChange::default() };
        assert!(!format!("{change:?}").contains("geheim"));
    }

    #[test]
    fn roles_and_rights_grow() {
        assert!(Role::Viewer < Role::Editor && Role::Editor < Role::Admin);
        assert!(Right::View < Right::Edit && Right::Edit < Right::Own);
    }
}
