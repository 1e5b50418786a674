//! What nodes found out about media that the hub keeps.

use kinora_protocol::access::Kind;
use kinora_protocol::describe::{DescribeOutput, Part};
use kinora_protocol::job::JobPhase;
use kinora_protocol::media::Verdict;
use kinora_protocol::task::TaskOutput;
use kinora_protocol::{Digest, UserId};
use rusqlite::{Connection, OptionalExtension, params};

use super::fault::Fault;
use super::{Store, convert, grants, outcome, phase};
use crate::error::Result;
use crate::lease::{Accepted, Completion, Lease};
use crate::media::Deletion;

/// A part made ready on the caller's thread.
struct Finding {
    media: Digest,
    part: Part,
    output: String,
}

/// Media that is gone has no description.
fn put(conn: &Connection, Finding { media, part, output }: &Finding) -> Result<(), Fault> {
    conn.prepare_cached(
        "INSERT INTO descriptions (media, part, output) SELECT digest, ?2, ?3 FROM library WHERE digest = ?1
         ON CONFLICT (media, part) DO UPDATE SET output = excluded.output",
    )?
    .execute(params![media.as_str(), part.name(), output])?;
    Ok(())
}

fn complete_part(
    conn: &Connection,
    lease: &Lease,
    output: &outcome::Output,
    finding: &Finding,
    now_ms: i64,
) -> Result<Completion, Fault> {
    let completion = outcome::complete(conn, lease, output, now_ms)?;
    if let Completion::Accepted(Accepted { job, last, .. }) = completion {
        put(conn, finding)?;
        if last {
            let from = phase::of(conn, job)?;
            phase::enter(conn, job, from, JobPhase::Completed, None, now_ms)?;
        }
    }
    Ok(completion)
}

impl Store {
    /// Takes a part of a description, if the lease holds, and keeps it with the media. The last one completes its job.
    ///
    /// # Errors
    /// `Invalid` when the task is of another kind.
    pub async fn complete_part(
        &self,
        lease: &Lease,
        output: &DescribeOutput,
        media: &Digest,
        now_ms: i64,
    ) -> Result<Completion> {
        let (lease, part) = (lease.clone(), output.found.part());
        let finding = Finding { media: media.clone(), part, output: convert::json(output)? };
        let output = outcome::Output::new(&TaskOutput::Describe(Box::new(output.clone())))?;
        self.write(move |conn| complete_part(conn, &lease, &output, &finding, now_ms)).await
    }

    /// All parts of the description of media that there are.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn descriptions(&self, media: &Digest) -> Result<Vec<DescribeOutput>> {
        let media = media.clone();
        self.read(move |conn| {
            let mut query = conn.prepare_cached("SELECT output FROM descriptions WHERE media = ?1")?;
            let rows = query.query_map([media.as_str()], |row| convert::from_json(row, "output"))?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        })
        .await
    }

    /// Forgets all that was found out about media.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn forget_description(&self, media: &Digest) -> Result<()> {
        let media = media.clone();
        self.write(move |conn| {
            conn.prepare_cached("DELETE FROM descriptions WHERE media = ?1")?.execute([media.as_str()])?;
            Ok(())
        })
        .await
    }

    /// Keeps what a look at media came to. Nothing when the hub does not keep it.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn put_verdict(&self, media: &Digest, verdict: &Verdict) -> Result<()> {
        let (media, verdict) = (media.clone(), convert::json(verdict)?);
        self.write(move |conn| {
            conn.prepare_cached("UPDATE library SET verdict = ?2 WHERE digest = ?1")?
                .execute([media.as_str(), &verdict])?;
            Ok(())
        })
        .await
    }

    /// Forgets media with its description, unless a job that has not ended reads it. Its file is left to the caller. One of several
    /// owners only gives it up.
    ///
    /// # Errors
    /// The disk fails or the store is closed.
    pub async fn delete_library(&self, media: &Digest, by: Option<UserId>) -> Result<Deletion> {
        let media = media.clone();
        self.write(move |conn| {
            let path: Option<String> = conn
                .prepare_cached("SELECT path FROM library WHERE digest = ?1")?
                .query_row([media.as_str()], |row| row.get(0))
                .optional()?;
            let Some(path) = path else { return Ok(Deletion::Unknown) };
            if let Some(user) = by
                && grants::give_up(conn, (Kind::Media, media.as_str()), user)?
            {
                return Ok(Deletion::GivenUp);
            }
            let used = conn
                .prepare_cached(
                    "SELECT id FROM jobs WHERE phase NOT IN ('Completed', 'Failed', 'Cancelled')
                       AND json_extract(request, '$.input') = ?1 LIMIT 1",
                )?
                .query_row([&path], |row| convert::parsed(row, "id"))
                .optional()?;
            if let Some(job) = used {
                return Ok(Deletion::InUse(job));
            }
            conn.prepare_cached("DELETE FROM library WHERE digest = ?1")?.execute([media.as_str()])?;
            Ok(Deletion::Deleted(path.into()))
        })
        .await
    }
}
