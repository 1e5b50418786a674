//! Rights to single things. They come with the things and go with them.

use kinora_protocol::access::{Grant, Kind, Right, Sight, Subject};
use kinora_protocol::{JobId, UserId, WebhookId};
use rusqlite::{Connection, Row, params};

use super::fault::Fault;
use super::{Store, convert};
use crate::error::Result;

const USER: &str = "user:";
const TEAM: &str = "team:";
const ALL: &str = "all";

fn text(subject: Subject) -> String {
    match subject {
        Subject::User(user) => format!("{USER}{user}"),
        Subject::Team(team) => format!("{TEAM}{team}"),
        Subject::Everyone => ALL.to_owned(),
    }
}

fn grant(row: &Row<'_>) -> rusqlite::Result<Option<Grant>> {
    let subject: String = row.get("subject")?;
    let to = match (subject.strip_prefix(USER), subject.strip_prefix(TEAM)) {
        (Some(user), _) => user.parse().ok().map(Subject::User),
        (_, Some(team)) => team.parse().ok().map(Subject::Team),
        _ => (subject == ALL).then_some(Subject::Everyone),
    };
    let right = convert::named(row, "right", &Right::ALL, Right::name)?;
    Ok(to.map(|to| Grant { to, right }))
}

/// The user in a column with a subject, if it is one.
pub(super) fn user(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<UserId>> {
    let subject: Option<String> = row.get(column)?;
    Ok(subject.and_then(|subject| subject.strip_prefix(USER)?.parse().ok()))
}

/// Whom grants have to be for, as an array in JSON for a query; `NULL` for anybody.
pub(super) fn seen_by(sight: &Sight) -> Result<Option<String>> {
    let subjects = match sight {
        Sight::All => return Ok(None),
        Sight::Nothing => Vec::new(),
        Sight::Of { user, teams } => {
            let teams = teams.iter().map(|team| Subject::Team(*team));
            let all = [Subject::User(*user), Subject::Everyone].into_iter().chain(teams);
            all.map(text).collect()
        }
    };
    convert::json(&subjects).map(Some)
}

/// The condition that a row is seen by whom `seen_by` has named in the parameter `?place`.
pub(super) fn seen(kind: Kind, column: &str, place: usize) -> String {
    let given = |kind: Kind, thing: &str| {
        format!(
            "EXISTS (SELECT 1 FROM grants WHERE kind = '{}' AND thing = {thing} \
             AND subject IN (SELECT value FROM json_each(?{place})))",
            kind.name()
        )
    };
    // What is made for everybody who may see some media is seen by these.
    let derived = match kind {
        Kind::Job => {
            let of_media = format!("(SELECT of_media FROM jobs AS made WHERE made.id = {column})");
            format!(" OR {}", given(Kind::Media, &of_media))
        }
        Kind::Media | Kind::Upload | Kind::Webhook | Kind::Folder => String::new(),
    };
    format!("(?{place} IS NULL OR {}{derived})", given(kind, column))
}

/// Gives a right, unless there is a greater one.
pub(super) fn give(
    conn: &Connection,
    (kind, thing): (Kind, &str),
    to: Subject,
    right: Right,
) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO grants (kind, thing, subject, \"right\") VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (kind, thing, subject) DO UPDATE SET \"right\" = excluded.\"right\"
           WHERE instr('view edit own', excluded.\"right\") > instr('view edit own', grants.\"right\")",
    )?
    .execute(params![kind.name(), thing, text(to), right.name()])?;
    Ok(())
}

/// Says whose a new thing is.
pub(super) fn own(conn: &Connection, thing: (Kind, &str), owner: Option<UserId>) -> Result<(), Fault> {
    match owner {
        Some(owner) => give(conn, thing, Subject::User(owner), Right::Own),
        None => Ok(()),
    }
}

/// Takes a user's right to a thing that others own, too. `false` when nobody else does; nothing is changed then.
pub(super) fn give_up(conn: &Connection, (kind, thing): (Kind, &str), user: UserId) -> Result<bool, Fault> {
    let given_up = conn
        .prepare_cached(
            "DELETE FROM grants WHERE kind = ?1 AND thing = ?2 AND subject = ?3 AND \"right\" = 'own' AND EXISTS (
               SELECT 1 FROM grants WHERE kind = ?1 AND thing = ?2 AND subject <> ?3 AND \"right\" = 'own')",
        )?
        .execute(params![kind.name(), thing, text(Subject::User(user))])?;
    Ok(given_up == 1)
}

impl Store {
    /// All rights to a thing.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn grants(&self, kind: Kind, thing: &str) -> Result<Vec<Grant>> {
        let thing = thing.to_owned();
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT subject, \"right\" FROM grants WHERE kind = ?1 AND thing = ?2
                 UNION ALL SELECT subject, 'view' FROM grants JOIN jobs ON jobs.of_media = thing
                   WHERE ?1 = 'job' AND jobs.id = ?2 AND kind = 'media' ORDER BY subject",
            )?;
            let rows = query.query_map(params![kind.name(), thing], grant)?;
            let rows: Vec<Option<Grant>> = rows.collect::<rusqlite::Result<_>>()?;
            Ok(rows.into_iter().flatten().collect())
        })
        .await
    }

    /// Gives a right to a thing, unless there is a greater one.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn give(&self, kind: Kind, thing: &str, to: Subject, right: Right) -> Result<()> {
        let thing = thing.to_owned();
        self.write(move |conn| give(conn, (kind, &thing), to, right)).await
    }

    /// Sets the right that somebody has to a thing; none when absent. `false` when nobody would own it any more; nothing is changed
    /// then.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn share(&self, kind: Kind, thing: &str, to: Subject, right: Option<Right>) -> Result<bool> {
        let thing = thing.to_owned();
        self.write(move |conn| {
            let (kind, to) = (kind.name(), text(to));
            let lowered = right != Some(Right::Own);
            let last: bool = conn
                .prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM grants WHERE kind = ?1 AND thing = ?2 AND subject = ?3 AND \"right\" = 'own')
                       AND NOT EXISTS (SELECT 1 FROM grants WHERE kind = ?1 AND thing = ?2 AND subject <> ?3 AND \"right\" = 'own')",
                )?
                .query_row(params![kind, thing, to], |row| row.get(0))?;
            if last && lowered {
                return Ok(false);
            }
            match right {
                None => conn
                    .prepare_cached("DELETE FROM grants WHERE kind = ?1 AND thing = ?2 AND subject = ?3")?
                    .execute(params![kind, thing, to])?,
                Some(right) => conn
                    .prepare_cached(
                        "INSERT INTO grants (kind, thing, subject, \"right\") VALUES (?1, ?2, ?3, ?4)
                         ON CONFLICT (kind, thing, subject) DO UPDATE SET \"right\" = excluded.\"right\"",
                    )?
                    .execute(params![kind, thing, to, right.name()])?,
            };
            Ok(true)
        })
        .await
    }

    /// Whether a webhook may be told of a job: what its owner sees, or everything if it is nobody's.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn may_be_told(&self, webhook: WebhookId, job: JobId) -> Result<bool> {
        self.read(move |conn| {
            let mut query = conn.prepare_cached(
                "SELECT NOT EXISTS (SELECT 1 FROM grants WHERE kind = 'webhook' AND thing = ?1 AND \"right\" = 'own')
                 OR EXISTS (SELECT 1 FROM grants AS hook JOIN users ON hook.subject = 'user:' || users.id
                   WHERE hook.kind = 'webhook' AND hook.thing = ?1 AND hook.\"right\" = 'own' AND NOT users.disabled
                     AND (users.role = 'admin' OR EXISTS (SELECT 1 FROM grants AS given
                       WHERE given.kind = 'job' AND given.thing = ?2 AND given.subject IN (
                         SELECT 'all' UNION SELECT hook.subject
                         UNION SELECT 'team:' || team FROM team_members WHERE user = users.id))))",
            )?;
            Ok(query.query_row([webhook.to_string(), job.to_string()], |row| row.get(0))?)
        })
        .await
    }

    /// Those of these jobs that somebody gets to see.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn seen_jobs(&self, jobs: Vec<JobId>, sight: &Sight) -> Result<Vec<JobId>> {
        let Some(seen_by) = seen_by(sight)? else { return Ok(jobs) };
        self.read(move |conn| {
            let mut query = conn.prepare_cached(&format!("SELECT {}", seen(Kind::Job, "?1", 2)))?;
            let mut seen = Vec::with_capacity(jobs.len());
            for job in jobs {
                if query.query_row(params![job.to_string(), seen_by], |row| row.get::<_, bool>(0))? {
                    seen.push(job);
                }
            }
            Ok(seen)
        })
        .await
    }
}
