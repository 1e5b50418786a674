//! Users that are known elsewhere: they sign in there and come back with a code. What of it is believed is decided in `access`; what
//! is fetched, and which user that is, here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kinora_access::oidc::{
    Attempt, Expected, Identity, Keys, LONGEST_SUBJECT, Names, OidcError, Provider, check,
};
use kinora_protocol::access::{Quota, Role};
use kinora_protocol::{ErrorCode, Failure, UserId};
use kinora_store::UserRow;
use reqwest::{Client, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::time::Instant;

use super::Caller;
use super::audit::Outcome;
use super::sessions::Entered;
use super::users::check_name;
use crate::app::media::Asked;
use crate::app::outgoing::{self, innermost};
use crate::{Hub, HubError, Result, now_ms};

/// How long somebody may take to sign in there.
const PATIENCE: Duration = Duration::from_secs(600);
/// Logins that may be under way.
const MANY: usize = 10_000;
/// Longest address of a page of the hub, in bytes.
const LONGEST_PAGE: usize = 2048;
/// How long what a provider says of itself is believed.
const KNOWN: Duration = Duration::from_secs(3600);
/// Its keys are asked for no more often than this.
const KEYS_EVERY: Duration = Duration::from_secs(10);
/// How long a provider may take.
const ANSWER: Duration = Duration::from_secs(15);
/// What it may say, in bytes.
const LONGEST: usize = 1 << 20;

/// Where users are known besides.
#[derive(Clone)]
pub struct Oidc {
    /// The provider, as it calls itself.
    pub issuer: String,
    /// What people call it.
    pub name: String,
    /// What the hub is called there.
    pub client: String,
    /// By what the provider knows the hub, if it has to.
    pub secret: Option<String>,
    /// Where the hub is for browsers, such as `https://video.example.org`.
    pub hub: String,
    /// What somebody becomes that comes for the first time; without it only whom an admin has made comes in.
    pub new_users: Option<Role>,
}

impl std::fmt::Debug for Oidc {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Oidc({}, {})", self.issuer, self.client)
    }
}

impl Oidc {
    /// Where browsers come back to.
    fn callback(&self) -> String {
        format!("{}{}", self.hub.trim_end_matches('/'), kinora_protocol::routes::OIDC_CALLBACK)
    }

    /// By what a user is known in the store.
    pub(super) fn identity(&self, subject: &str) -> std::result::Result<String, String> {
        if (1..=LONGEST_SUBJECT).contains(&subject.len()) && !subject.chars().any(char::is_control) {
            return Ok(format!("{} {subject}", self.issuer));
        }
        Err(format!("{subject:?} is no subject: 1 to {LONGEST_SUBJECT} characters"))
    }
}

/// A login that is under way.
struct Pending {
    attempt: Attempt,
    next: String,
    until: Instant,
}

struct Known {
    provider: Provider,
    keys: Keys,
    /// When both were asked for.
    asked: Instant,
}

/// What is remembered of logins elsewhere.
#[derive(Default)]
pub(super) struct Logins {
    pending: Mutex<HashMap<String, Pending>>,
    known: tokio::sync::Mutex<Option<Known>>,
    /// When it was last asked for in vain, and why.
    failed: Mutex<Option<(Instant, Failure)>>,
}

impl Logins {
    fn begin(&self, attempt: &Attempt, next: String) {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        pending.retain(|_, one| one.until > now);
        if pending.len() >= MANY
            && let Some(oldest) =
                pending.iter().min_by_key(|(_, one)| one.until).map(|(state, _)| state.clone())
        {
            pending.remove(&oldest);
        }
        let one = Pending { attempt: attempt.clone(), next, until: now + PATIENCE };
        pending.insert(attempt.state.clone(), one);
    }

    /// Each comes back once, by the browser that began it.
    fn end(&self, state: &str, kept: Option<&str>) -> Option<Pending> {
        if kept != Some(state) {
            return None;
        }
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.remove(state).filter(|one| one.until > Instant::now())
    }
}

/// Where a browser is sent, and what it is to bring back.
pub(crate) struct Begun {
    pub(crate) place: String,
    pub(crate) state: String,
}

fn refused(why: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Unauthenticated, why)
}

fn away(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::Unreachable, format!("{what} cannot be asked: {why}"))
}

fn unbelieved(error: OidcError) -> Failure {
    refused(error.to_string())
}

fn client() -> std::result::Result<Client, Failure> {
    outgoing::builder().timeout(ANSWER).build().map_err(|error| away("the provider", error))
}

/// What an address of the provider answers; no more than it may say.
async fn answer(what: &str, request: reqwest::RequestBuilder) -> std::result::Result<Vec<u8>, Failure> {
    let mut answer = request.send().await.map_err(|error| away(what, innermost(&error)))?;
    let status = answer.status();
    let mut said = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| away(what, innermost(&error)))? {
        if said.len() + piece.len() > LONGEST {
            return Err(away(what, "it says too much"));
        }
        said.extend_from_slice(&piece);
    }
    if status.is_success() {
        return Ok(said);
    }
    // They may be of some other server, and not for whoever signs in.
    let words: String =
        String::from_utf8_lossy(&said).chars().filter(|c| !c.is_control()).take(200).collect();
    tracing::warn!("{what} answered {status}: {words}");
    Err(away(what, format!("it answered {status}")))
}

fn read<T: DeserializeOwned>(what: &str, json: &[u8]) -> std::result::Result<T, Failure> {
    serde_json::from_slice(json).map_err(|error| away(what, format!("its answer cannot be read: {error}")))
}

#[derive(Deserialize)]
struct Redeemed {
    id_token: String,
    access_token: Option<String>,
}

/// Pages of the hub's own, so that nobody is sent elsewhere by a link.
fn own_page(next: Option<&str>) -> String {
    let plain = |next: &&str| {
        let odd = |c: char| !c.is_ascii_graphic() || c == '\\';
        let short = next.len() <= LONGEST_PAGE;
        short && next.starts_with('/') && !next.starts_with("//") && !next.contains(odd)
    };
    next.filter(plain).unwrap_or("/").to_owned()
}

/// Asks a provider what it is, and for its keys.
async fn ask_provider(oidc: &Oidc) -> std::result::Result<(Provider, Keys), Failure> {
    let client = client()?;
    let json = answer(&oidc.issuer, client.get(Provider::place(&oidc.issuer))).await?;
    let provider = Provider::read(&json, &oidc.issuer).map_err(|error| away(&oidc.issuer, error))?;
    let json = answer(&oidc.issuer, client.get(&provider.jwks_uri)).await?;
    let keys = Keys::read(&json).map_err(|error| away(&oidc.issuer, error))?;
    Ok((provider, keys))
}

impl Hub {
    /// Where users are known besides.
    pub(crate) fn oidc(&self) -> Option<&Oidc> {
        self.inner.settings.oidc.as_ref()
    }

    /// What the provider says of itself, with its keys; asked for anew when `fresh`, though not all the time.
    async fn provider(&self, oidc: &Oidc, fresh: bool) -> std::result::Result<(Provider, Keys), Failure> {
        let mut known = self.access().oidc.known.lock().await;
        if let Some(known) = &*known {
            let age = known.asked.elapsed();
            if age < KEYS_EVERY || (age < KNOWN && !fresh) {
                return Ok((known.provider.clone(), known.keys.clone()));
            }
        }
        let failed = || self.access().oidc.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = failed().clone().filter(|(at, _)| at.elapsed() < KEYS_EVERY);
        let asked = match lately {
            Some((_, failure)) => Err(failure),
            None => {
                let asked = ask_provider(oidc).await;
                *failed() = asked.as_ref().err().map(|failure| (Instant::now(), failure.clone()));
                asked
            }
        };
        match asked {
            Ok((provider, keys)) => {
                let found = (provider.clone(), keys.clone());
                *known = Some(Known { provider, keys, asked: Instant::now() });
                Ok(found)
            }
            Err(failure) => {
                // What it said before is better than nothing.
                let before = known.as_ref().filter(|_| !fresh);
                before.map(|known| (known.provider.clone(), known.keys.clone())).ok_or(failure)
            }
        }
    }

    /// Begins a login elsewhere.
    ///
    /// # Errors
    /// When the system gives no random numbers; the inner error says why it cannot be begun.
    pub(crate) async fn begin_oidc(&self, caller: &Caller, next: Option<&str>) -> Result<Asked<Begun>> {
        let Some(oidc) = self.oidc() else { return Ok(Err(nobody())) };
        if let Err(seconds) = self.access().outside.take(&caller.net()) {
            let why = format!("too many tries to sign in: wait {seconds} s");
            return Ok(Err(Failure::new(ErrorCode::TooMany, why)));
        }
        let (provider, _) = match self.provider(oidc, false).await {
            Ok(known) => known,
            Err(failure) => return Ok(Err(failure)),
        };
        let attempt = Attempt::new().map_err(|error| HubError::Inconsistent(error.to_string()))?;
        self.access().oidc.begin(&attempt, own_page(next));
        let Ok(mut place) = Url::parse(&provider.authorization_endpoint) else {
            return Ok(Err(away(&oidc.issuer, "it names no page to sign in on")));
        };
        place
            .query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &oidc.client)
            .append_pair("redirect_uri", &oidc.callback())
            .append_pair("scope", "openid profile email")
            .append_pair("state", &attempt.state)
            .append_pair("nonce", &attempt.nonce)
            .append_pair("code_challenge", &attempt.challenge())
            .append_pair("code_challenge_method", "S256");
        Ok(Ok(Begun { place: place.into(), state: attempt.state }))
    }

    /// Lets somebody in that comes back with a code, and says where it wanted to go. `kept` is what its browser was given.
    ///
    /// # Errors
    /// When the store fails; the inner error says why not.
    pub(crate) async fn end_oidc(
        &self,
        caller: &Caller,
        state: &str,
        kept: Option<&str>,
        code: &str,
    ) -> Result<Asked<(Entered, String)>> {
        let Some(oidc) = self.oidc() else { return Ok(Err(nobody())) };
        let pending = self.access().oidc.end(state, kept);
        let Some(pending) = pending else {
            self.record(caller, "login", Outcome::Denied, "of another browser, or too late").await;
            let why = "this login was begun in another browser, or too long ago: begin again";
            return Ok(Err(refused(why)));
        };
        let who = match self.redeem(oidc, &pending.attempt, code).await {
            Ok(who) => who,
            Err(failure) => {
                self.record(caller, "login", Outcome::Denied, &failure.message).await;
                return Ok(Err(failure));
            }
        };
        let user = match self.user_of(caller, oidc, &who).await? {
            Ok(user) => user,
            Err(failure) => {
                self.record(caller, "login", Outcome::Denied, &failure.message).await;
                return Ok(Err(failure));
            }
        };
        Ok(self.enter(caller, &user, true).await?.map(|entered| (entered, pending.next)))
    }

    /// Redeems a code for who somebody is.
    async fn redeem(&self, oidc: &Oidc, attempt: &Attempt, code: &str) -> Asked<Identity> {
        let (provider, keys) = self.provider(oidc, false).await?;
        let callback = oidc.callback();
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &callback),
            ("code_verifier", &attempt.verifier),
        ];
        let mut request = client()?.post(&provider.token_endpoint);
        match &oidc.secret {
            // Both are written as in a form before (RFC 6749, section 2.3.1).
            Some(secret) => request = request.basic_auth(form_word(&oidc.client), Some(form_word(secret))),
            None => form.push(("client_id", &oidc.client)),
        }
        let json = answer(&oidc.issuer, request.form(&form)).await?;
        let Redeemed { id_token, access_token } = read(&oidc.issuer, &json)?;
        let now = u64::try_from(now_ms() / 1000).unwrap_or(0);
        let expected = Expected { issuer: &oidc.issuer, client: &oidc.client, nonce: &attempt.nonce, now };
        let mut who = match check(&id_token, &keys, expected) {
            Err(OidcError::UnknownKey) => {
                let (_, keys) = self.provider(oidc, true).await?;
                check(&id_token, &keys, expected).map_err(unbelieved)?
            }
            checked => checked.map_err(unbelieved)?,
        };
        // Many say what somebody is called only when they are asked for it; who is known needs no name.
        if let (Names { preferred_username: None, email: None, .. }, Some(place), Some(token), Some(_)) =
            (&who.names, &provider.userinfo_endpoint, &access_token, oidc.new_users)
        {
            match answer(&oidc.issuer, client()?.get(place).bearer_auth(token)).await {
                Ok(json) => who.names = Names::read(&json, &who.sub).map_err(unbelieved)?,
                Err(failure) => tracing::warn!("{failure}"),
            }
        }
        Ok(who)
    }

    /// Which user that is, made if it is to be.
    async fn user_of(&self, caller: &Caller, oidc: &Oidc, who: &Identity) -> Result<Asked<UserRow>> {
        let identity = match oidc.identity(&who.sub) {
            Ok(identity) => identity,
            Err(why) => return Ok(Err(refused(why))),
        };
        if let Some(user) = self.store().user_by_identity(&identity).await? {
            return Ok(if user.disabled { Err(refused("this user is shut out")) } else { Ok(user) });
        }
        if !self.has_users() {
            return Ok(Err(refused(
                "the first user of a hub is made on the hub's machine, or by the link that it printed",
            )));
        }
        let Some(role) = oidc.new_users else {
            let why = format!(
                "{} knows you, and this hub does not: ask an admin to add you, as {:?}",
                oidc.name, who.sub
            );
            return Ok(Err(refused(why)));
        };
        let name = name_of(&who.names).unwrap_or_else(|| format!("user-{}", UserId::generate()));
        let user = UserRow {
            id: UserId::generate(),
            name,
            role,
            password: None,
            disabled: false,
            created_ms: now_ms(),
            last_login_ms: None,
            identity: Some(identity.clone()),
            quota: Quota::Usual,
        };
        if self.store().put_user(&user).await? {
            let detail = format!("user {} ({}), known elsewhere as {:?}", user.name, role.name(), who.sub);
            self.record(caller, "create user", Outcome::Done, &detail).await;
            return Ok(Ok(user));
        }
        // It came twice at once, or somebody else has the name: who that is, is not for the provider to say.
        Ok(self.store().user_by_identity(&identity).await?.ok_or_else(|| {
            refused(format!(
                "there is another user {:?}: ask an admin to add you, as {:?}",
                user.name, who.sub
            ))
        }))
    }
}

/// What somebody is called here: a mail address that is theirs, else what they want to be called, which is none.
fn name_of(names: &Names) -> Option<String> {
    let Names { preferred_username, email, email_verified } = names;
    let mail = email.as_ref().filter(|_| *email_verified == Some(true));
    let wanted = preferred_username.as_ref().filter(|name| !name.contains('@'));
    [mail, wanted].into_iter().flatten().find(|name| check_name(name).is_ok()).cloned()
}

fn nobody() -> Failure {
    Failure::new(ErrorCode::BadInput, "this hub knows nobody from elsewhere: start it with --oidc-issuer")
}

/// A word as it stands in a form.
fn form_word(word: &str) -> String {
    let pairs = Url::parse_with_params("http://x/", [("w", word)]);
    pairs.ok().and_then(|url| url.query()?.strip_prefix("w=").map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for own in ["/", "/jobs?x=1", "/a//b"] {
            assert_eq!(own_page(Some(own)), own);
        }
        for other in ["//evil.example", "https://evil.example", "/\\evil.example", "/a\nb", "/ä", "evil", ""]
        {
            assert_eq!(own_page(Some(other)), "/", "{other:?}");
        }
        assert_eq!(own_page(None), "/");
    }

    #[test]
    fn nobody_is_called_as_somebody_else() {
        let names = |wanted: &str, mail: Option<(&str, bool)>| Names {
            preferred_username: Some(wanted.to_owned()),
            email: mail.map(|(mail, _)| mail.to_owned()),
            email_verified: mail.map(|(_, verified)| verified),
        };
        let name = |wanted, mail| name_of(&names(wanted, mail));
        assert_eq!(name("emil", Some(("m@x.example", true))).as_deref(), Some("m@x.example"));
        assert_eq!(name("emil", Some(("boss@x.example", false))).as_deref(), Some("emil"));
        assert_eq!(name("boss@x.example", None), None);
        assert_eq!(name("0b8f3a52-7d0c-4a55-9b39-5b8f2f0e7a11", None), None, "an id is no name");
    }

    #[test]
    fn secrets_are_written_as_in_forms() {
        assert_eq!(form_word("a b+c:d%"), "a+b%2Bc%3Ad%25");
    }

    #[test]
    fn a_login_comes_back_once() {
        let logins = Logins::default();
        let attempt = Attempt::new().unwrap();
        let state = Some(attempt.state.as_str());
        logins.begin(&attempt, "/".to_owned());
        assert!(logins.end("other", state).is_none() && logins.end(&attempt.state, None).is_none());
        assert!(logins.end(&attempt.state, state).is_some_and(|one| one.attempt == attempt));
        assert!(logins.end(&attempt.state, state).is_none());
        for _ in 0..MANY + 10 {
            logins.begin(&Attempt::new().unwrap(), "/".to_owned());
        }
        assert_eq!(logins.pending.lock().unwrap().len(), MANY, "those of long ago make room");
    }
}
