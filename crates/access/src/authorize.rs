//! The one decision: may this actor do this with that? What is not allowed here is denied.

use kinora_protocol::NodeId;
use kinora_protocol::access::{Area, Grant, Kind, Right, Role, Subject};

use crate::actor::{Actor, User};

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Look.
    Read,
    /// Make a new one.
    Create,
    /// Change it, or let it do something.
    Change,
    /// Delete it.
    Delete,
    /// Say who else may do something with it.
    Share,
    /// Run the hub and its machines.
    Operate,
    /// Work for it, as a machine.
    Work,
}

impl Action {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Read, Self::Create, Self::Change, Self::Delete, Self::Share, Self::Operate, Self::Work];

    fn writes(self) -> bool {
        self != Self::Read
    }

    /// What it takes on a thing that somebody owns.
    fn right(self) -> Right {
        match self {
            Self::Read | Self::Create => Right::View,
            Self::Change | Self::Operate | Self::Work => Right::Edit,
            Self::Delete | Self::Share => Right::Own,
        }
    }
}

/// With what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource<'a> {
    /// Something in general: a list, a new one, the hub.
    Area(Area),
    /// One thing, with the rights that were given to it.
    Thing(Kind, &'a [Grant]),
    /// What is the actor's own: its logins, its keys.
    Own,
    /// What a machine does for itself.
    Node(&'a NodeId),
}

/// Why not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Denial {
    /// It is not known who that is.
    Unauthenticated,
    /// It may not.
    Forbidden(String),
    /// It may not even know whether the thing is there.
    Hidden,
}

/// Decides.
///
/// # Errors
/// Why not.
pub fn authorize(actor: &Actor, action: Action, resource: Resource<'_>) -> Result<(), Denial> {
    match (actor, resource) {
        (Actor::Nobody, _) => Err(Denial::Unauthenticated),
        (Actor::Node(node), Resource::Node(asked)) if node == asked && action == Action::Work => Ok(()),
        (Actor::Node(_), _) => forbidden("a machine that works may do nothing else"),
        (Actor::Local, Resource::Own) => forbidden("whoever sits at the hub's machine is no user: sign in"),
        (Actor::Local, Resource::Area(_) | Resource::Thing(..) | Resource::Node(_)) => Ok(()),
        (Actor::User(user), resource) => user_may(user, action, resource),
    }
}

fn forbidden(why: impl Into<String>) -> Result<(), Denial> {
    Err(Denial::Forbidden(why.into()))
}

fn user_may(user: &User, action: Action, resource: Resource<'_>) -> Result<(), Denial> {
    let area = match resource {
        Resource::Area(area) => area,
        Resource::Thing(kind, _) => kind.area(),
        Resource::Own => Area::Keys,
        Resource::Node(_) => return forbidden("only a machine that works may do this"),
    };
    if let Some(scopes) = user.scopes() {
        let covers = |area_of: Option<Area>| area_of.is_none_or(|covered| covered == area);
        if !scopes.iter().any(|scope| covers(scope.area) && (scope.write || !action.writes())) {
            let access = if action.writes() { "write" } else { "read" };
            return forbidden(format!("this takes a key with the scope {}:{access}", area.name()));
        }
    }
    // What is not to be seen is not there, whatever the role.
    let right = match resource {
        Resource::Thing(_, grants) => match right_of(user, grants) {
            Some(right) => Some(right),
            None => return Err(Denial::Hidden),
        },
        Resource::Area(_) | Resource::Own | Resource::Node(_) => None,
    };
    match needed(action, resource) {
        Some(role) if user.role >= role => {}
        Some(role) => {
            return forbidden(format!(
                "this takes the role {}, and {} is {}",
                role.name(),
                user.name,
                user.role.name()
            ));
        }
        None => return forbidden("only a machine that works may do this"),
    }
    match right {
        Some(right) if right < action.right() => forbidden(format!(
            "{} may {} it, and this takes the right to {} it",
            user.name,
            right.name(),
            action.right().name()
        )),
        Some(_) | None => Ok(()),
    }
}

/// The least role; `None` for what no user does.
fn needed(action: Action, resource: Resource<'_>) -> Option<Role> {
    let area = match resource {
        Resource::Area(area) => area,
        Resource::Thing(kind, _) => kind.area(),
        Resource::Own => return Some(Role::Viewer),
        Resource::Node(_) => return None,
    };
    Some(match (area, action) {
        (_, Action::Work) => return None,
        (_, Action::Operate) | (Area::Users, _) => Role::Admin,
        (_, Action::Read) => Role::Viewer,
        (Area::Media | Area::Jobs, _) => Role::Editor,
        // A watched folder has the hub read and replace files of its machine's; a webhook has it call any address that it reaches.
        (Area::Folders | Area::Webhooks | Area::Nodes | Area::System | Area::Keys, _) => Role::Admin,
    })
}

/// The most that a user may do with a thing.
fn right_of(user: &User, grants: &[Grant]) -> Option<Right> {
    if user.role == Role::Admin {
        return Some(Right::Own);
    }
    let meant = |grant: &&Grant| match grant.to {
        Subject::User(one) => one == user.id,
        Subject::Team(team) => user.teams.contains(&team),
        Subject::Everyone => true,
    };
    grants.iter().filter(meant).map(|grant| grant.right).max()
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect_file;
    use kinora_protocol::access::Scope;
    use kinora_protocol::{KeyId, SessionId, TeamId, UserId};

    use super::*;
    use crate::actor::Via;

    fn user(role: Role) -> User {
        let via = Via::Session(SessionId::generate());
        User { id: UserId::generate(), name: role.name().to_owned(), role, teams: Vec::new(), via }
    }

    fn with_key(user: User, scopes: &[&str]) -> Actor {
        let scopes = scopes.iter().map(|text| text.parse::<Scope>().unwrap()).collect();
        let via = Via::Key { id: KeyId::generate(), name: "ci".to_owned(), scopes: Some(scopes) };
        Actor::User(User { via, ..user })
    }

    fn word(verdict: &Result<(), Denial>) -> &'static str {
        match verdict {
            Ok(()) => "yes",
            Err(Denial::Unauthenticated) => "who?",
            Err(Denial::Forbidden(_)) => "no",
            Err(Denial::Hidden) => "-",
        }
    }

    /// Every kind of actor, every action, everything there is: a change of any is seen in the review.
    #[test]
    fn the_whole_table() {
        let (team, viewer, editor) = (TeamId::generate(), user(Role::Viewer), user(Role::Editor));
        let me = NodeId::generate();
        let actors = [
            ("nobody", Actor::Nobody),
            ("viewer", Actor::User(viewer.clone())),
            ("editor", Actor::User(editor.clone())),
            ("admin", Actor::User(user(Role::Admin))),
            ("read key", with_key(editor.clone(), &["all:read"])),
            ("jobs key", with_key(editor.clone(), &["jobs:write"])),
            ("member", Actor::User(User { teams: vec![team], ..user(Role::Editor) })),
            ("node", Actor::Node(me.clone())),
            ("local", Actor::Local),
        ];
        let of = |to: Subject, right: Right| vec![Grant { to, right }];
        let (both, other) = ([Subject::User(viewer.id), Subject::User(editor.id)], NodeId::generate());
        let owned: Vec<Grant> = both.map(|to| Grant { to, right: Right::Own }).to_vec();
        let shared = of(Subject::Team(team), Right::Edit);
        let open = of(Subject::Everyone, Right::View);
        let mut resources: Vec<(String, Resource<'_>)> =
            Area::ALL.map(|area| (area.name().to_owned(), Resource::Area(area))).into();
        for kind in [Kind::Media, Kind::Upload, Kind::Job, Kind::Webhook, Kind::Folder] {
            let name = kind.name();
            resources.push((format!("{name} of one's own"), Resource::Thing(kind, &owned)));
            resources.push((format!("{name} of a team's, to edit"), Resource::Thing(kind, &shared)));
            resources.push((format!("{name} for all to view"), Resource::Thing(kind, &open)));
            resources.push((format!("{name} of nobody's"), Resource::Thing(kind, &[])));
        }
        resources.push(("one's own logins".to_owned(), Resource::Own));
        resources.push(("the node itself".to_owned(), Resource::Node(&me)));
        resources.push(("another node".to_owned(), Resource::Node(&other)));
        let mut table = format!("{:<34}", "");
        for (name, _) in &actors {
            write!(table, " {name:<8}").unwrap();
        }
        for (name, resource) in &resources {
            for action in Action::ALL {
                let row = format!("{name}: {}", format!("{action:?}").to_lowercase());
                write!(table, "\n{row:<34}").unwrap();
                for (_, actor) in &actors {
                    write!(table, " {:<8}", word(&authorize(actor, action, *resource))).unwrap();
                }
            }
        }
        let table: Vec<&str> = table.lines().map(str::trim_end).collect();
        expect_file!["../tests/authorize.txt"].assert_eq(&(table.join("\n") + "\n"));
    }

    #[test]
    fn a_scope_gives_nothing_that_its_user_has_not() {
        let key = with_key(user(Role::Viewer), &["all:write"]);
        let verdict = authorize(&key, Action::Create, Resource::Area(Area::Jobs));
        assert_eq!(word(&verdict), "no", "{verdict:?}");
        let key = with_key(user(Role::Admin), &["jobs:read"]);
        assert_eq!(word(&authorize(&key, Action::Read, Resource::Area(Area::Users))), "no");
        assert_eq!(word(&authorize(&key, Action::Read, Resource::Area(Area::Jobs))), "yes");
        assert_eq!(word(&authorize(&key, Action::Read, Resource::Own)), "no");
    }
}
