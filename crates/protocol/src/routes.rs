//! Paths of the HTTP surface, said once for hub, worker and clients.

use crate::id::{Attempt, Digest, FolderId, JobId, NodeId, SessionId, TaskId, UploadId, WebhookId};

/// Where nodes open their WebSocket.
pub const NODE_CONNECT: &str = "/api/v1/nodes/connect";
/// The models of nodes.
pub const MODELS: &str = "/api/v1/models";
/// Nodes.
pub const NODES: &str = "/api/v1/nodes";
/// Jobs.
pub const JOBS: &str = "/api/v1/jobs";
/// Media.
pub const MEDIA: &str = "/api/v1/media";
/// Media from elsewhere.
pub const IMPORT: &str = "/api/v1/media/import";
/// Uploads.
pub const UPLOADS: &str = "/api/v1/uploads";
/// One upload, as a router has it.
pub const ONE_UPLOAD: &str = "/api/v1/uploads/{upload}";
/// Facts about the hub.
pub const SYSTEM: &str = "/api/v1/system";
/// Facts about the cluster.
pub const CLUSTER: &str = "/api/v1/cluster";
/// Where watchers open their WebSocket.
pub const LIVE: &str = "/api/v1/live";
/// Header with the BLAKE3 of a body.
pub const DIGEST_HEADER: &str = "x-kinora-blake3";
/// The process runs.
pub const HEALTH_LIVE: &str = "/health/live";
/// It can do its work.
pub const HEALTH_READY: &str = "/health/ready";

/// What is served, for programs.
pub const OPENAPI: &str = "/api/openapi.json";

/// A copy of all that the hub keeps.
pub const BACKUP: &str = "/api/v1/system/backup";

/// What the hub said last in its log.
pub const LOG_LINES: &str = "/api/v1/system/log/lines";
/// Numbers, as text.
pub const METRICS: &str = "/metrics";
/// What the hub says in its log.
pub const LOG: &str = "/api/v1/system/log";

/// A look at all stored bytes.
pub const SCRUB: &str = "/api/v1/system/scrub";

/// Recipes with a name.
pub const PRESETS: &str = "/api/v1/presets";

/// Who is told what happens.
pub const WEBHOOKS: &str = "/api/v1/webhooks";

/// One webhook.
pub fn webhook(webhook: WebhookId) -> String {
    format!("{WEBHOOKS}/{webhook}")
}

/// Something of a webhook, or something to be done to it.
pub fn of_webhook(webhook: WebhookId, what: &str) -> String {
    format!("{WEBHOOKS}/{webhook}/{what}")
}

/// Folders that are watched.
pub const FOLDERS: &str = "/api/v1/folders";

/// One folder.
pub fn folder(folder: FolderId) -> String {
    format!("{FOLDERS}/{folder}")
}

/// Something of a folder, or something to be done to it.
pub fn of_folder(folder: FolderId, what: &str) -> String {
    format!("{FOLDERS}/{folder}/{what}")
}

/// Signs in.
pub const LOGIN: &str = "/api/v1/auth/login";
/// Sends a browser to where users are known besides.
pub const OIDC: &str = "/api/v1/auth/oidc";
/// Where it comes back to.
pub const OIDC_CALLBACK: &str = "/api/v1/auth/oidc/callback";
/// The next pair of tokens.
pub const REFRESH: &str = "/api/v1/auth/refresh";
/// Signs out.
pub const LOGOUT: &str = "/api/v1/auth/logout";
/// Who one is.
pub const ME: &str = "/api/v1/auth/me";
/// Another password.
pub const PASSWORD: &str = "/api/v1/auth/password";
/// One's own logins.
pub const SESSIONS: &str = "/api/v1/auth/sessions";
/// The right to open one WebSocket.
pub const TICKET: &str = "/api/v1/ws-ticket";
/// Users.
pub const USERS: &str = "/api/v1/users";
/// Teams.
pub const TEAMS: &str = "/api/v1/teams";
/// Who a hub is.
pub const HUB_IDENTITY: &str = "/api/v1/nodes/hub";
/// Lets a machine in.
pub const ENROLL: &str = "/api/v1/nodes/enroll";
/// Something to sign.
pub const CHALLENGE: &str = "/api/v1/nodes/challenge";
/// The next identity.
pub const IDENTITY: &str = "/api/v1/nodes/identity";
/// Tokens for machines.
pub const NODE_TOKENS: &str = "/api/v1/node-tokens";
/// Who did what.
pub const AUDIT: &str = "/api/v1/audit";

/// One login.
pub fn session(session: SessionId) -> String {
    format!("{SESSIONS}/{session}")
}

/// One user. Names have only characters that mean nothing in a path.
pub fn user(user: &str) -> String {
    format!("{USERS}/{}", segment(user))
}

/// One's own keys, or those of a user.
pub fn keys(of: Option<&str>) -> String {
    of.map_or_else(|| "/api/v1/keys".to_owned(), |name| format!("{}/keys", user(name)))
}

/// One team.
pub fn team(team: &str) -> String {
    format!("{TEAMS}/{}", segment(team))
}

/// A user in a team.
pub fn member(in_team: &str, user: &str) -> String {
    format!("{}/members/{}", team(in_team), segment(user))
}

/// What somebody typed, as a part of a path that leads nowhere else.
fn segment(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_~@".contains(&byte);
    text.bytes().fold(String::new(), |path, byte| match byte {
        byte if plain(byte) => path + &char::from(byte).to_string(),
        byte => path + &format!("%{byte:02X}"),
    })
}

/// One job.
pub fn job(job: JobId) -> String {
    format!("{JOBS}/{job}")
}

/// Something of a job, or something to be done to it.
pub fn of_job(job: JobId, what: &str) -> String {
    format!("{JOBS}/{job}/{what}")
}

/// One node.
pub fn node(node: &NodeId) -> String {
    format!("{NODES}/{node}")
}

/// Something to be done to a node.
pub fn of_node(node: &NodeId, what: &str) -> String {
    format!("{NODES}/{node}/{what}")
}

/// One media file.
pub fn media(media: &Digest) -> String {
    format!("{MEDIA}/{media}")
}

/// Something of media, or to be found out about it.
pub fn of_media(media: &Digest, what: &str) -> String {
    format!("{MEDIA}/{media}/{what}")
}

/// One upload.
pub fn upload(upload: UploadId) -> String {
    format!("{UPLOADS}/{upload}")
}

/// The right of one attempt to the bytes that it needs and to leave its result: it stands in the path, and is good for nothing
/// else. Its text is `task.attempt.seal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capability {
    /// Task.
    pub task: TaskId,
    /// Fence.
    pub attempt: Attempt,
    /// What only the hub can make.
    pub seal: String,
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.task, self.attempt, self.seal)
    }
}

impl std::str::FromStr for Capability {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let mut words = text.splitn(3, '.');
        let mut word = || words.next().ok_or(());
        let task = TaskId(word()?.parse().map_err(|_| ())?);
        let attempt = Attempt(word()?.parse().map_err(|_| ())?);
        let seal = word()?;
        let hex = seal.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex { Ok(Self { task, attempt, seal: seal.to_owned() }) } else { Err(()) }
    }
}

/// Ranges of the source, asked for by POST as [`crate::api::Ranges`] and answered end to end.
pub fn work_source(capability: &str) -> String {
    format!("/api/v1/work/{capability}/source")
}

/// A blob that the task works on, by its position in the spec.
pub fn work_input(capability: &str, position: usize) -> String {
    format!("/api/v1/work/{capability}/inputs/{position}")
}

/// Where the result goes, by PUT; answered with the [`crate::task::Blob`] that it became.
pub fn work_result(capability: &str) -> String {
    format!("/api/v1/work/{capability}/result")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_nowhere_else() {
        assert_eq!(user("anna@example.org"), "/api/v1/users/anna@example%2Eorg");
        assert_eq!(user("../jobs?x"), "/api/v1/users/%2E%2E%2Fjobs%3Fx");
        assert_eq!(member("a b", "ä"), "/api/v1/teams/a%20b/members/%C3%A4");
    }

    #[test]
    fn a_capability_is_its_text() {
        let one = Capability { task: TaskId(7), attempt: Attempt(2), seal: "0a9f".to_owned() };
        assert_eq!(one.to_string(), "7.2.0a9f");
        assert_eq!("7.2.0a9f".parse(), Ok(one));
        for text in ["", "7.2", "7.2.0A", "x.2.00", "7.2.0a/../x", "7.2.0a.1"] {
            assert!(text.parse::<Capability>().is_err(), "{text}");
        }
    }
}
