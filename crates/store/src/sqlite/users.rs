//! Users and teams. Names are compared without regard to the case of ASCII letters.

use kinora_protocol::access::{Quota, Role};
use kinora_protocol::{Digest, SessionId, TeamId, UploadId, UserId};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::fault::Fault;
use super::{Store, convert};
use crate::access::{TeamRow, UserChanged, UserFacts, UserRow, UserUpdate};
use crate::error::Result;

pub(super) const USERS: &str = "users.id AS user_id, users.name AS user_name, users.role, users.password, users.disabled, \
     users.created_ms AS user_created_ms, users.last_login_ms, users.identity, users.quota";

pub(super) fn user_row(row: &Row<'_>) -> rusqlite::Result<UserRow> {
    Ok(UserRow {
        id: convert::parsed(row, "user_id")?,
        name: row.get("user_name")?,
        role: convert::named(row, "role", &Role::ALL, Role::name)?,
        password: row.get("password")?,
        disabled: row.get("disabled")?,
        created_ms: row.get("user_created_ms")?,
        last_login_ms: row.get("last_login_ms")?,
        identity: row.get("identity")?,
        quota: quota(row.get("quota")?),
    })
}

/// As the column has it.
fn quota(kept: Option<i64>) -> Quota {
    match kept.map(u64::try_from) {
        None => Quota::Usual,
        Some(Err(_)) => Quota::Unlimited,
        Some(Ok(bytes)) => Quota::Bytes(bytes),
    }
}

fn column(quota: Quota) -> Option<i64> {
    match quota {
        Quota::Usual => None,
        Quota::Unlimited => Some(-1),
        Quota::Bytes(bytes) => Some(convert::signed(bytes)),
    }
}

/// Bytes of what the user in the parameter `user` owns, but for uploads (as an array in JSON) and media in the parameters `?2` and `?3`.
fn used(user: &str) -> String {
    format!(
        "(SELECT coalesce(sum(size), 0) FROM grants JOIN library ON digest = thing
            WHERE subject = 'user:' || {user} AND kind = 'media' AND \"right\" = 'own' AND digest IS NOT ?3)
         + (SELECT coalesce(sum(coalesce(length, offset)), 0) FROM grants JOIN uploads ON uploads.id = thing
            WHERE subject = 'user:' || {user} AND kind = 'upload' AND \"right\" = 'own' AND media IS NULL
              AND uploads.id NOT IN (SELECT value FROM json_each(?2)))"
    )
}

pub(super) fn teams_of(conn: &Connection, user: UserId) -> Result<Vec<TeamId>, Fault> {
    let mut query = conn.prepare_cached("SELECT team FROM team_members WHERE user = ?1 ORDER BY team")?;
    let rows = query.query_map([user.to_string()], |row| convert::parsed(row, "team"))?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

fn insert(conn: &Connection, user: &UserRow) -> Result<bool, Fault> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO users (id, name, role, password, disabled, created_ms, last_login_ms, identity, quota)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
    )?;
    let inserted = insert.execute(params![
        user.id.to_string(),
        user.name,
        user.role.name(),
        user.password,
        user.disabled,
        user.created_ms,
        user.last_login_ms,
        user.identity,
        column(user.quota)
    ])?;
    Ok(inserted == 1)
}

/// Whether somebody other than this one may do everything.
fn other_admin(conn: &Connection, user: UserId) -> Result<bool, Fault> {
    let mut query = conn.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM users WHERE role = 'admin' AND NOT disabled AND id <> ?1)",
    )?;
    Ok(query.query_row([user.to_string()], |row| row.get(0))?)
}

fn is_admin(conn: &Connection, user: UserId) -> Result<Option<bool>, Fault> {
    let mut query = conn.prepare_cached("SELECT role = 'admin' AND NOT disabled FROM users WHERE id = ?1")?;
    Ok(query.query_row([user.to_string()], |row| row.get(0)).optional()?)
}

fn end_sessions(conn: &Connection, user: UserId, keep: Option<SessionId>) -> Result<(), Fault> {
    let keep = keep.map(|session| session.to_string()).unwrap_or_default();
    conn.prepare_cached("DELETE FROM sessions WHERE user = ?1 AND id <> ?2")?
        .execute(params![user.to_string(), keep])?;
    conn.prepare_cached("DELETE FROM api_keys WHERE user = ?1 AND login")?.execute([user.to_string()])?;
    Ok(())
}

impl Store {
    /// How many users there are.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn count_users(&self) -> Result<u64> {
        self.read(|conn| {
            let mut query = conn.prepare_cached("SELECT count(*) FROM users")?;
            Ok(query.query_row([], |row| row.get::<_, i64>(0))?.unsigned_abs())
        })
        .await
    }

    /// Keeps a new user. `false` when somebody has the name, or is the same elsewhere.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_user(&self, user: &UserRow) -> Result<bool> {
        let user = user.clone();
        self.write(move |conn| insert(conn, &user)).await
    }

    /// Keeps the first user, whose everything becomes that has no owner. `false` when there is one already.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_first_user(&self, user: &UserRow) -> Result<bool> {
        let user = user.clone();
        self.write(move |conn| {
            let there: bool = conn
                .prepare_cached("SELECT EXISTS (SELECT 1 FROM users)")?
                .query_row([], |row| row.get(0))?;
            if there || !insert(conn, &user)? {
                return Ok(false);
            }
            let mut adopt = conn.prepare_cached(
                "INSERT INTO grants (kind, thing, subject, \"right\")
                 SELECT found.kind, found.thing, 'user:' || ?1, 'own' FROM (
                   SELECT 'job' AS kind, id AS thing FROM jobs UNION ALL SELECT 'media', digest FROM library
                   UNION ALL SELECT 'upload', id FROM uploads UNION ALL SELECT 'webhook', id FROM webhooks
                   UNION ALL SELECT 'folder', id FROM folders) AS found
                 WHERE NOT EXISTS (SELECT 1 FROM grants AS given
                   WHERE given.kind = found.kind AND given.thing = found.thing AND given.\"right\" = 'own')",
            )?;
            adopt.execute([user.id.to_string()])?;
            Ok(true)
        })
        .await
    }

    /// A user by name.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn user_named(&self, name: &str) -> Result<Option<UserRow>> {
        let name = name.to_owned();
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("SELECT {USERS} FROM users WHERE name = ?1"))?;
            Ok(query.query_row([name], user_row).optional()?)
        })
        .await
    }

    /// The user that is somebody elsewhere.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn user_by_identity(&self, identity: &str) -> Result<Option<UserRow>> {
        let identity = identity.to_owned();
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("SELECT {USERS} FROM users WHERE identity = ?1"))?;
            Ok(query.query_row([identity], user_row).optional()?)
        })
        .await
    }

    /// All users by name.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn users(&self) -> Result<Vec<UserFacts>> {
        self.read(|conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {USERS}, (SELECT json_group_array(teams.name ORDER BY teams.name) FROM team_members
                   JOIN teams ON teams.id = team WHERE user = users.id) AS team_names, {} AS used
                 FROM users WHERE ?1 ORDER BY users.name",
                used("users.id")
            ))?;
            let rows = query.query_map(params![true, "[]", None::<String>], |row| {
                let teams = convert::from_json(row, "team_names")?;
                Ok(UserFacts { user: user_row(row)?, teams, used: row.get::<_, i64>("used")?.unsigned_abs() })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// How many bytes a user may keep, and how many are its own, but for those of uploads and of media; `None` when there is no
    /// such user.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn used_by(
        &self,
        user: UserId,
        uploads: Vec<UploadId>,
        media: Option<Digest>,
    ) -> Result<Option<(Quota, u64)>> {
        let uploads = convert::json(&uploads)?;
        self.read(move |conn| {
            let sql = format!("SELECT quota, {} AS used FROM users WHERE id = ?1", used("?1"));
            let mut query = conn.prepare_cached(&sql)?;
            let asked = params![user.to_string(), uploads, media.as_ref().map(Digest::as_str)];
            let read =
                |row: &Row<'_>| Ok((quota(row.get("quota")?), row.get::<_, i64>("used")?.unsigned_abs()));
            Ok(query.query_row(asked, read).optional()?)
        })
        .await
    }

    /// Changes a user. A new password and the shutting out end all its logins but the one to be kept, and the
    /// keys that stand for logins.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn update_user(&self, user: UserId, update: UserUpdate) -> Result<UserChanged> {
        self.write(move |conn| {
            let Some(admin) = is_admin(conn, user)? else { return Ok(UserChanged::Unknown) };
            let falls = update.disabled == Some(true) || update.role.is_some_and(|role| role != Role::Admin);
            if admin && falls && !other_admin(conn, user)? {
                return Ok(UserChanged::LastAdmin);
            }
            conn.prepare_cached(
                "UPDATE users SET role = coalesce(?2, role), password = coalesce(?3, password),
                   disabled = coalesce(?4, disabled), quota = iif(?5, ?6, quota) WHERE id = ?1",
            )?
            .execute(params![
                user.to_string(),
                update.role.map(Role::name),
                update.password,
                update.disabled,
                update.quota.is_some(),
                update.quota.and_then(column)
            ])?;
            if update.password.is_some() || update.disabled == Some(true) {
                end_sessions(conn, user, update.keep)?;
            }
            Ok(UserChanged::Changed)
        })
        .await
    }

    /// Forgets a user with its logins and keys. What only it owned is for admins then.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_user(&self, user: UserId) -> Result<UserChanged> {
        self.write(move |conn| {
            let Some(admin) = is_admin(conn, user)? else { return Ok(UserChanged::Unknown) };
            if admin && !other_admin(conn, user)? {
                return Ok(UserChanged::LastAdmin);
            }
            // Nobody's webhooks are told of everything: that is for an admin to allow.
            conn.prepare_cached(
                "UPDATE webhooks SET enabled = 0 WHERE id IN (SELECT thing FROM grants
                   WHERE kind = 'webhook' AND subject = 'user:' || ?1 AND \"right\" = 'own')",
            )?
            .execute([user.to_string()])?;
            conn.prepare_cached("DELETE FROM users WHERE id = ?1")?.execute([user.to_string()])?;
            Ok(UserChanged::Changed)
        })
        .await
    }

    /// Keeps a new team. `false` when another has the name.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_team(&self, id: TeamId, name: &str) -> Result<bool> {
        let name = name.to_owned();
        self.write(move |conn| {
            let mut insert = conn.prepare_cached(
                "INSERT INTO teams (id, name) VALUES (?1, ?2) ON CONFLICT (name) DO NOTHING",
            )?;
            Ok(insert.execute(params![id.to_string(), name])? == 1)
        })
        .await
    }

    /// All teams by name.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn teams(&self) -> Result<Vec<TeamRow>> {
        self.read(|conn| {
            let mut query = conn.prepare_cached(
                "SELECT id, name, (SELECT json_group_array(users.name ORDER BY users.name) FROM team_members
                   JOIN users ON users.id = user WHERE team = teams.id) AS members FROM teams ORDER BY name",
            )?;
            let rows = query.query_map([], |row| {
                Ok(TeamRow {
                    id: convert::parsed(row, "id")?,
                    name: row.get("name")?,
                    members: convert::from_json(row, "members")?,
                })
            })?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Takes a user into a team, or out of it. Whether that is anything new.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn set_member(&self, team: TeamId, user: UserId, member: bool) -> Result<bool> {
        self.write(move |conn| {
            let sql = if member {
                "INSERT INTO team_members (team, user) VALUES (?1, ?2) ON CONFLICT DO NOTHING"
            } else {
                "DELETE FROM team_members WHERE team = ?1 AND user = ?2"
            };
            Ok(conn.prepare_cached(sql)?.execute(params![team.to_string(), user.to_string()])? == 1)
        })
        .await
    }

    /// Forgets a team, with what was shared with it. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_team(&self, team: TeamId) -> Result<bool> {
        self.write(move |conn| {
            Ok(conn.prepare_cached("DELETE FROM teams WHERE id = ?1")?.execute([team.to_string()])? == 1)
        })
        .await
    }
}
