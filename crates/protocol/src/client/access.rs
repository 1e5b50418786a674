//! Calls about who may do what.

use reqwest::Method;

use super::{Answer, Client};
use crate::access::{
    AskChallenge, AuditView, Challenge, Enroll, EnrollmentView, HubIdentity, Identity, KeyView, Login, Me,
    NewEnrollment, NewKey, NewTeam, NewUser, PasswordChange, Refresh, Renew, SessionView, ShareView, Sharee,
    TeamView, Ticket, Tokens, UserChange, UserView,
};
use crate::api::Page;
use crate::id::{Digest, EnrollmentId, JobId, KeyId, NodeId, SessionId};
use crate::routes;

/// What can be shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shared {
    /// Media.
    Media(Digest),
    /// A job with its result.
    Job(JobId),
}

impl Shared {
    fn path(&self) -> String {
        match self {
            Self::Media(media) => routes::of_media(media, "shares"),
            Self::Job(job) => routes::of_job(*job, "shares"),
        }
    }
}

impl Client {
    /// Signs in, for tokens.
    ///
    /// # Errors
    /// As all calls: the hub cannot be reached, or says no.
    pub async fn login(&self, name: &str, password: &str) -> Answer<Tokens> {
        let login = Login { name: name.to_owned(), password: password.to_owned(), cookie: false };
        self.post(routes::LOGIN, &login).await
    }

    /// The next pair of tokens.
    ///
    /// # Errors
    /// As all calls.
    pub async fn refresh(&self, refresh_token: &str) -> Answer<Tokens> {
        self.post(routes::REFRESH, &Refresh { refresh_token: refresh_token.to_owned() }).await
    }

    /// Ends the login that this client shows.
    ///
    /// # Errors
    /// As all calls.
    pub async fn logout(&self) -> Answer<()> {
        self.send(self.request(Method::POST, routes::LOGOUT)).await.map(drop)
    }

    /// Whom the hub takes this client to be.
    ///
    /// # Errors
    /// As all calls.
    pub async fn me(&self) -> Answer<Me> {
        self.get(routes::ME).await
    }

    /// Gives oneself another password.
    ///
    /// # Errors
    /// As all calls.
    pub async fn change_password(&self, change: &PasswordChange) -> Answer<()> {
        self.send(self.request(Method::POST, routes::PASSWORD).json(change)).await.map(drop)
    }

    /// One's own logins.
    ///
    /// # Errors
    /// As all calls.
    pub async fn sessions(&self) -> Answer<Page<SessionView>> {
        self.get(routes::SESSIONS).await
    }

    /// Ends one of one's own logins.
    ///
    /// # Errors
    /// As all calls.
    pub async fn end_session(&self, session: SessionId) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::session(session))).await.map(drop)
    }

    /// The right to open one WebSocket.
    ///
    /// # Errors
    /// As all calls.
    pub async fn ticket(&self) -> Answer<Ticket> {
        self.post(routes::TICKET, &()).await
    }

    /// All users.
    ///
    /// # Errors
    /// As all calls.
    pub async fn users(&self) -> Answer<Page<UserView>> {
        self.get(routes::USERS).await
    }

    /// Makes a user.
    ///
    /// # Errors
    /// As all calls.
    pub async fn new_user(&self, user: &NewUser) -> Answer<UserView> {
        self.post(routes::USERS, user).await
    }

    /// Changes a user.
    ///
    /// # Errors
    /// As all calls.
    pub async fn change_user(&self, user: &str, change: &UserChange) -> Answer<UserView> {
        self.json(self.request(Method::PATCH, &routes::user(user)).json(change)).await
    }

    /// Forgets a user.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_user(&self, user: &str) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::user(user))).await.map(drop)
    }

    /// Keys: one's own, or a user's.
    ///
    /// # Errors
    /// As all calls.
    pub async fn keys(&self, user: Option<&str>) -> Answer<Page<KeyView>> {
        self.get(&routes::keys(user)).await
    }

    /// Makes a key: one's own, or a user's. Only this answer has it.
    ///
    /// # Errors
    /// As all calls.
    pub async fn new_key(&self, user: Option<&str>, key: &NewKey) -> Answer<KeyView> {
        self.post(&routes::keys(user), key).await
    }

    /// Revokes a key: one's own, or a user's.
    ///
    /// # Errors
    /// As all calls.
    pub async fn revoke_key(&self, user: Option<&str>, key: KeyId) -> Answer<()> {
        self.send(self.request(Method::DELETE, &format!("{}/{key}", routes::keys(user)))).await.map(drop)
    }

    /// All teams.
    ///
    /// # Errors
    /// As all calls.
    pub async fn teams(&self) -> Answer<Page<TeamView>> {
        self.get(routes::TEAMS).await
    }

    /// Makes a team.
    ///
    /// # Errors
    /// As all calls.
    pub async fn new_team(&self, name: &str) -> Answer<TeamView> {
        self.post(routes::TEAMS, &NewTeam { name: name.to_owned() }).await
    }

    /// Forgets a team.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_team(&self, team: &str) -> Answer<()> {
        self.send(self.request(Method::DELETE, &routes::team(team))).await.map(drop)
    }

    /// Takes a user into a team, or out of it.
    ///
    /// # Errors
    /// As all calls.
    pub async fn set_member(&self, team: &str, user: &str, member: bool) -> Answer<()> {
        let method = if member { Method::PUT } else { Method::DELETE };
        self.send(self.request(method, &routes::member(team, user))).await.map(drop)
    }

    /// Who may do what with a thing.
    ///
    /// # Errors
    /// As all calls.
    pub async fn shares(&self, thing: &Shared) -> Answer<Page<ShareView>> {
        self.get(&thing.path()).await
    }

    /// Shares a thing, or changes how.
    ///
    /// # Errors
    /// As all calls.
    pub async fn share(&self, thing: &Shared, share: &ShareView) -> Answer<Page<ShareView>> {
        self.json(self.request(Method::PUT, &thing.path()).json(share)).await
    }

    /// Ends a share.
    ///
    /// # Errors
    /// As all calls.
    pub async fn unshare(&self, thing: &Shared, with: &Sharee) -> Answer<Page<ShareView>> {
        let request = self.request(Method::DELETE, &thing.path());
        self.json(request.query(&[("with", with.to_string())])).await
    }

    /// What the hub shows of itself.
    ///
    /// # Errors
    /// As all calls.
    pub async fn hub_identity(&self, nonce: &str) -> Answer<HubIdentity> {
        self.json(self.bare(Method::GET, routes::HUB_IDENTITY).query(&[("nonce", nonce)])).await
    }

    /// Lets this machine in.
    ///
    /// # Errors
    /// As all calls.
    pub async fn enroll(&self, asked: &Enroll) -> Answer<Identity> {
        self.post(routes::ENROLL, asked).await
    }

    /// Something for this machine to sign.
    ///
    /// # Errors
    /// As all calls.
    pub async fn challenge(&self, node: &NodeId) -> Answer<Challenge> {
        self.json(self.bare(Method::POST, routes::CHALLENGE).json(&AskChallenge { node: node.clone() })).await
    }

    /// The next identity of this machine.
    ///
    /// # Errors
    /// As all calls.
    pub async fn renew_identity(&self, asked: &Renew) -> Answer<Identity> {
        self.json(self.bare(Method::POST, routes::IDENTITY).json(asked)).await
    }

    /// Makes a token that lets a machine in; only this answer has it.
    ///
    /// # Errors
    /// As all calls.
    pub async fn new_enrollment(&self, wanted: &NewEnrollment) -> Answer<EnrollmentView> {
        self.post(routes::NODE_TOKENS, wanted).await
    }

    /// Tokens for machines.
    ///
    /// # Errors
    /// As all calls.
    pub async fn enrollments(&self) -> Answer<Page<EnrollmentView>> {
        self.get(routes::NODE_TOKENS).await
    }

    /// Forgets a token.
    ///
    /// # Errors
    /// As all calls.
    pub async fn delete_enrollment(&self, token: EnrollmentId) -> Answer<()> {
        let path = format!("{}/{token}", routes::NODE_TOKENS);
        self.send(self.request(Method::DELETE, &path)).await.map(drop)
    }

    /// What was done and tried, after a position; 0 is before the first entry.
    ///
    /// # Errors
    /// As all calls.
    pub async fn audit(&self, after: i64) -> Answer<Page<AuditView>> {
        self.json(self.request(Method::GET, routes::AUDIT).query(&[("after", after)])).await
    }
}
