//! What users carry: logins and keys. Secrets come in as hashes.

use kinora_protocol::{KeyId, SessionId, UserId};
use rusqlite::{OptionalExtension, Row, params};

use super::users::{USERS, teams_of, user_row};
use super::{Store, convert};
use crate::access::{Carried, KeyRow, Rotated, SessionRow};
use crate::error::Result;

const SESSIONS: &str = "sessions.id, sessions.user, sessions.cookie, sessions.hash, sessions.address, sessions.agent, \
     sessions.created_ms, sessions.used_ms, sessions.expires_ms";
const KEYS: &str = "api_keys.id, api_keys.user, api_keys.name, api_keys.hash, api_keys.scopes, api_keys.created_ms, \
     api_keys.expires_ms, api_keys.used_ms, api_keys.login";

fn session_row(row: &Row<'_>) -> rusqlite::Result<SessionRow> {
    Ok(SessionRow {
        id: convert::parsed(row, "id")?,
        user: convert::parsed(row, "user")?,
        cookie: row.get("cookie")?,
        hash: row.get("hash")?,
        address: row.get("address")?,
        agent: row.get("agent")?,
        created_ms: row.get("created_ms")?,
        used_ms: row.get("used_ms")?,
        expires_ms: row.get("expires_ms")?,
    })
}

fn key_row(row: &Row<'_>) -> rusqlite::Result<KeyRow> {
    Ok(KeyRow {
        id: convert::parsed(row, "id")?,
        user: convert::parsed(row, "user")?,
        name: row.get("name")?,
        hash: row.get("hash")?,
        scopes: convert::from_json_opt(row, "scopes")?,
        created_ms: row.get("created_ms")?,
        expires_ms: row.get("expires_ms")?,
        used_ms: row.get("used_ms")?,
        login: row.get("login")?,
    })
}

impl Store {
    /// Keeps a login, and that its user has signed in by what is kept of its password.
    ///
    /// # Errors
    /// [`StoreError::NotFound`](crate::StoreError::NotFound) when the user is gone, shut out or has another password now.
    pub async fn put_session(&self, session: &SessionRow, password: Option<&str>) -> Result<()> {
        let (session, password) = (session.clone(), password.map(str::to_owned));
        self.write(move |conn| {
            let user = session.user.to_string();
            let there = conn
                .prepare_cached("UPDATE users SET last_login_ms = ?2 WHERE id = ?1 AND NOT disabled AND password IS ?3")?
                .execute(params![user, session.created_ms, password])?;
            if there == 0 {
                return Err(super::fault::Fault::NotFound(format!("user {user}")));
            }
            conn.prepare_cached(
                "INSERT INTO sessions (id, user, cookie, hash, address, agent, created_ms, used_ms, expires_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?
            .execute(params![
                session.id.to_string(),
                user,
                session.cookie,
                session.hash,
                session.address,
                session.agent,
                session.created_ms,
                session.used_ms,
                session.expires_ms
            ])?;
            Ok(())
        })
        .await
    }

    /// A login with its user.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn session(&self, session: SessionId) -> Result<Option<Carried<SessionRow>>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {SESSIONS}, {USERS} FROM sessions JOIN users ON users.id = sessions.user WHERE sessions.id = ?1"
            ))?;
            let found = query
                .query_row([session.to_string()], |row| Ok((session_row(row)?, user_row(row)?)))
                .optional()?;
            let Some((what, user)) = found else { return Ok(None) };
            Ok(Some(Carried { what, teams: teams_of(conn, user.id)?, user }))
        })
        .await
    }

    /// The logins of a user, newest first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn sessions_of(&self, user: UserId) -> Result<Vec<SessionRow>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {SESSIONS} FROM sessions WHERE user = ?1 ORDER BY created_ms DESC, id"
            ))?;
            Ok(query.query_map([user.to_string()], session_row)?.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Lets a refresh token be followed by the next. One that comes again ends its login.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn rotate(
        &self,
        session: SessionId,
        spent: &str,
        next: &str,
        now_ms: i64,
        expires_ms: i64,
    ) -> Result<Rotated> {
        let (id, spent, next) = (session.to_string(), spent.to_owned(), next.to_owned());
        self.write(move |conn| {
            let changed = conn
                .prepare_cached(
                    "UPDATE sessions SET hash = ?3, used_ms = ?4, expires_ms = ?5
                     WHERE id = ?1 AND hash = ?2 AND NOT cookie AND expires_ms > ?4",
                )?
                .execute(params![id, spent, next, now_ms, expires_ms])?;
            if changed == 1 {
                conn.prepare_cached("INSERT INTO spent_tokens (session, hash) VALUES (?1, ?2)")?
                    .execute(params![id, spent])?;
                return Ok(Rotated::Next);
            }
            let reused: bool = conn
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM spent_tokens WHERE session = ?1 AND hash = ?2)",
                )?
                .query_row(params![id, spent], |row| row.get(0))?;
            if reused {
                conn.prepare_cached("DELETE FROM sessions WHERE id = ?1")?.execute([id])?;
                return Ok(Rotated::Reused);
            }
            Ok(Rotated::Unknown)
        })
        .await
    }

    /// Notes that a login was used, and that it lasts longer therefore.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn touch_session(&self, session: SessionId, now_ms: i64, expires_ms: i64) -> Result<()> {
        self.write(move |conn| {
            conn.prepare_cached("UPDATE sessions SET used_ms = ?2, expires_ms = ?3 WHERE id = ?1")?
                .execute(params![session.to_string(), now_ms, expires_ms])?;
            Ok(())
        })
        .await
    }

    /// Ends a login. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_session(&self, session: SessionId) -> Result<bool> {
        self.write(move |conn| {
            let mut delete = conn.prepare_cached("DELETE FROM sessions WHERE id = ?1")?;
            Ok(delete.execute([session.to_string()])? == 1)
        })
        .await
    }

    /// Forgets logins and keys whose time is over. Gives their number.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_expired(&self, now_ms: i64) -> Result<usize> {
        self.write(move |conn| {
            let sessions =
                conn.prepare_cached("DELETE FROM sessions WHERE expires_ms <= ?1")?.execute([now_ms])?;
            let keys =
                conn.prepare_cached("DELETE FROM api_keys WHERE expires_ms <= ?1")?.execute([now_ms])?;
            Ok(sessions + keys)
        })
        .await
    }

    /// Keeps a key.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_key(&self, key: &KeyRow) -> Result<()> {
        let scopes = key.scopes.as_ref().map(convert::json).transpose()?;
        let key = key.clone();
        self.write(move |conn| {
            conn.prepare_cached(
                "INSERT INTO api_keys (id, user, name, hash, scopes, created_ms, expires_ms, login)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                key.id.to_string(),
                key.user.to_string(),
                key.name,
                key.hash,
                scopes,
                key.created_ms,
                key.expires_ms,
                key.login
            ])?;
            Ok(())
        })
        .await
    }

    /// A key with its user.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn key(&self, key: KeyId) -> Result<Option<Carried<KeyRow>>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {KEYS}, {USERS} FROM api_keys JOIN users ON users.id = api_keys.user WHERE api_keys.id = ?1"
            ))?;
            let found = query
                .query_row([key.to_string()], |row| Ok((key_row(row)?, user_row(row)?)))
                .optional()?;
            let Some((what, user)) = found else { return Ok(None) };
            Ok(Some(Carried { what, teams: teams_of(conn, user.id)?, user }))
        })
        .await
    }

    /// Keys with the names of their users: of one user, or all; newest first.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn keys(&self, user: Option<UserId>) -> Result<Vec<(KeyRow, String)>> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!(
                "SELECT {KEYS}, users.name AS user_name FROM api_keys JOIN users ON users.id = api_keys.user
                 WHERE ?1 IS NULL OR user = ?1 ORDER BY api_keys.created_ms DESC, api_keys.id"
            ))?;
            let user = user.map(|user| user.to_string());
            let rows = query.query_map([user], |row| Ok((key_row(row)?, row.get("user_name")?)))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Notes that a key was used.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn touch_key(&self, key: KeyId, now_ms: i64) -> Result<()> {
        self.write(move |conn| {
            conn.prepare_cached("UPDATE api_keys SET used_ms = ?2 WHERE id = ?1")?
                .execute(params![key.to_string(), now_ms])?;
            Ok(())
        })
        .await
    }

    /// Revokes a key of a user's. Whether there was one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn drop_key(&self, user: UserId, key: KeyId) -> Result<bool> {
        self.write(move |conn| {
            let mut delete = conn.prepare_cached("DELETE FROM api_keys WHERE id = ?1 AND user = ?2")?;
            Ok(delete.execute(params![key.to_string(), user.to_string()])? == 1)
        })
        .await
    }
}
