//! Users that are known elsewhere (OpenID Connect Core 1.0, the authorization code flow with PKCE, RFC 7636): what is asked there, and
//! whether the answer is to be believed. It fetches nothing.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use ring::digest::{SHA256, digest};
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents, UnparsedPublicKey,
};
use serde::{Deserialize, Deserializer};

use crate::{NoRandomness, random};

/// Seconds that the clocks of the two may differ by.
const LEEWAY: u64 = 60;
/// Longest identity of somebody, as the standard has it.
pub const LONGEST_SUBJECT: usize = 255;

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OidcError {
    /// What the provider says about itself is not for this.
    #[error("{0}")]
    Provider(String),
    /// The identity is not to be believed.
    #[error("the identity is not good: {0}")]
    Identity(String),
    /// It was signed with a key that is not known yet.
    #[error("the identity was signed with a key that the provider does not name")]
    UnknownKey,
}

fn identity(why: impl Into<String>) -> OidcError {
    OidcError::Identity(why.into())
}

/// What a provider says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Provider {
    /// What it calls itself, exactly.
    pub issuer: String,
    /// Where browsers are sent to.
    pub authorization_endpoint: String,
    /// Where codes are redeemed.
    pub token_endpoint: String,
    /// Where its keys are.
    pub jwks_uri: String,
    /// Where it says more about somebody, if it does.
    pub userinfo_endpoint: Option<String>,
}

impl Provider {
    /// Where a provider says about itself what is to be known.
    pub fn place(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is another provider, or names a place that is not encrypted.
    pub fn read(json: &[u8], issuer: &str) -> Result<Self, OidcError> {
        let read: Self = serde_json::from_slice(json).map_err(|error| {
            OidcError::Provider(format!("{issuer} says of itself what cannot be read: {error}"))
        })?;
        if read.issuer != issuer {
            return Err(OidcError::Provider(format!("{issuer} calls itself {:?}: name it so", read.issuer)));
        }
        let more = read.userinfo_endpoint.iter();
        for place in
            [&read.authorization_endpoint, &read.token_endpoint, &read.jwks_uri].into_iter().chain(more)
        {
            // One on the internet has no business on this machine.
            let far = issuer.starts_with("https://") && !place.starts_with("https://");
            if !is_safe(place) || far {
                return Err(OidcError::Provider(format!("{issuer} names {place:?}, which is not encrypted")));
            }
        }
        Ok(read)
    }
}

/// Whether what goes there is encrypted, or does not leave the machine.
pub fn is_safe(place: &str) -> bool {
    let Some((scheme, rest)) = place.split_once("://") else { return false };
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    // What stands before an @ looks like the host, and is none.
    if host.is_empty() || host.contains('@') {
        return false;
    }
    let is_port = |port: &str| port.parse::<u16>().is_ok();
    let near = ["127.0.0.1", "localhost", "[::1]"].iter().any(|near| {
        host.strip_prefix(near)
            .is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port))
    });
    scheme == "https" || (scheme == "http" && near)
}

/// What one login is bound together by. None of it is guessed.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Goes with the browser, there and back.
    pub state: String,
    /// Stands in the identity.
    pub nonce: String,
    /// Is shown when the code is redeemed.
    pub verifier: String,
}

impl Attempt {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn new() -> Result<Self, NoRandomness> {
        let made = || random::<32>().map(|bytes| BASE64.encode(bytes));
        Ok(Self { state: made()?, nonce: made()?, verifier: made()? })
    }

    /// What the provider is told of the verifier before.
    pub fn challenge(&self) -> String {
        BASE64.encode(digest(&SHA256, self.verifier.as_bytes()))
    }
}

/// A key of a provider's (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
struct Key {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

/// The keys of a provider.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// Reads them; those of kinds that are not known are left out.
    ///
    /// # Errors
    /// When it is no set of keys.
    pub fn read(json: &[u8]) -> Result<Self, OidcError> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<serde_json::Value>,
        }
        let set: Set = serde_json::from_slice(json)
            .map_err(|error| OidcError::Provider(format!("the provider's keys cannot be read: {error}")))?;
        Ok(Self(set.keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect()))
    }
}

/// Signatures that are believed: none with a shared secret, and none at all is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Algorithm {
    Rs256,
    Es256,
    EdDsa,
}

impl Algorithm {
    fn read(name: &str) -> Option<Self> {
        match name {
            "RS256" => Some(Self::Rs256),
            "ES256" => Some(Self::Es256),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }

    fn fits(self, key: &Key) -> bool {
        let (kty, crv, alg) = match self {
            Self::Rs256 => ("RSA", None, "RS256"),
            Self::Es256 => ("EC", Some("P-256"), "ES256"),
            Self::EdDsa => ("OKP", Some("Ed25519"), "EdDSA"),
        };
        let purpose = key.purpose.as_deref().is_none_or(|purpose| purpose == "sig");
        let named = key.alg.as_deref().is_none_or(|named| named == alg);
        key.kty == kty && key.crv.as_deref() == crv && purpose && named
    }

    fn holds(self, key: &Key, signed: &[u8], signature: &[u8]) -> Option<()> {
        let part = |part: &Option<String>| BASE64.decode(part.as_deref()?.trim_end_matches('=')).ok();
        match self {
            Self::Rs256 => {
                let (n, e) = (part(&key.n)?, part(&key.e)?);
                let public = RsaPublicKeyComponents { n: unpadded(&n), e: unpadded(&e) };
                public.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature).ok()
            }
            Self::Es256 => {
                // As a point that is not compressed.
                let point = [&[4][..], &part(&key.x)?, &part(&key.y)?].concat();
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(signed, signature).ok()
            }
            Self::EdDsa => UnparsedPublicKey::new(&ED25519, part(&key.x)?).verify(signed, signature).ok(),
        }
    }
}

/// Numbers have no zeros in front.
fn unpadded(number: &[u8]) -> &[u8] {
    let start = number.iter().position(|byte| *byte != 0).unwrap_or(number.len());
    &number[start..]
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
}

/// What somebody is called. It is for people: nobody is known by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Names {
    /// What somebody wants to be called.
    pub preferred_username: Option<String>,
    /// A mail address.
    pub email: Option<String>,
    /// Whether the address is known to be theirs.
    #[serde(default, deserialize_with = "word_or_bool")]
    pub email_verified: Option<bool>,
}

impl Names {
    /// Reads what a provider says more about somebody (section 5.3.2).
    ///
    /// # Errors
    /// When it cannot be read, or is about somebody else.
    pub fn read(json: &[u8], subject: &str) -> Result<Self, OidcError> {
        #[derive(Deserialize)]
        struct More {
            sub: String,
            #[serde(flatten)]
            names: Names,
        }
        let more: More = serde_json::from_slice(json)
            .map_err(|error| identity(format!("more about it cannot be read: {error}")))?;
        if more.sub == subject {
            Ok(more.names)
        } else {
            Err(identity("what is said more is about somebody else"))
        }
    }
}

/// Who somebody is, as the provider says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Identity {
    iss: String,
    /// Names somebody at this provider, for ever.
    pub sub: String,
    #[serde(deserialize_with = "one_or_many")]
    aud: Vec<String>,
    azp: Option<String>,
    exp: u64,
    iat: u64,
    nonce: Option<String>,
    /// What people call them.
    #[serde(flatten)]
    pub names: Names,
}

/// Some write it as a word.
fn word_or_bool<'de, D: Deserializer<'de>>(from: D) -> Result<Option<bool>, D::Error> {
    Ok(match serde_json::Value::deserialize(from)? {
        serde_json::Value::Bool(said) => Some(said),
        serde_json::Value::String(word) => word.parse().ok(),
        _ => None,
    })
}

fn one_or_many<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Either {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Either::deserialize(from)? {
        Either::One(one) => vec![one],
        Either::Many(many) => many,
    })
}

/// What an identity has to be for.
#[derive(Debug, Clone, Copy)]
pub struct Expected<'a> {
    /// The provider, as it calls itself.
    pub issuer: &'a str,
    /// What the hub is called there.
    pub client: &'a str,
    /// Of this login.
    pub nonce: &'a str,
    /// In seconds since 1970.
    pub now: u64,
}

/// Who an identity token speaks of (OpenID Connect Core 1.0, section 3.1.3.7).
///
/// # Errors
/// When it is for somebody else, over, or was not signed by the provider.
pub fn check(token: &str, keys: &Keys, expected: Expected<'_>) -> Result<Identity, OidcError> {
    let mut parts = token.split('.');
    let (Some(header), Some(claims), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(identity("it is no signed token"));
    };
    let decode = |part: &str| BASE64.decode(part).map_err(|_| identity("it is no signed token"));
    let head: Header =
        serde_json::from_slice(&decode(header)?).map_err(|_| identity("its header cannot be read"))?;
    if head.crit.is_some() {
        return Err(identity("it asks for something that is not known here"));
    }
    let algorithm = Algorithm::read(&head.alg);
    let algorithm = algorithm.ok_or_else(|| identity(format!("it was signed by {:?}", head.alg)))?;
    let signed = &token.as_bytes()[..header.len() + 1 + claims.len()];
    let signature = decode(signature)?;
    let fits = |key: &&Key| algorithm.fits(key) && (head.kid.is_none() || key.kid == head.kid);
    let mut candidates = keys.0.iter().filter(fits).peekable();
    if candidates.peek().is_none() {
        return Err(OidcError::UnknownKey);
    }
    if !candidates.any(|key| algorithm.holds(key, signed, &signature).is_some()) {
        return Err(identity("its signature is wrong"));
    }
    let claims: Identity = serde_json::from_slice(&decode(claims)?)
        .map_err(|error| identity(format!("it says too little: {error}")))?;
    believed(claims, expected)
}

fn believed(claims: Identity, expected: Expected<'_>) -> Result<Identity, OidcError> {
    let Expected { issuer, client, nonce, now } = expected;
    let several = claims.aud.len() > 1;
    let wrong = if claims.iss != issuer {
        "another provider made it"
    } else if !claims.aud.iter().any(|aud| aud == client) {
        "it is for another program"
    } else if claims.azp.as_deref().is_some_and(|azp| azp != client) || (several && claims.azp.is_none()) {
        "another program asked for it"
    } else if claims.nonce.as_deref() != Some(nonce) {
        "it is of another login"
    } else if claims.exp + LEEWAY <= now {
        "it is over"
    } else if claims.iat > now + LEEWAY {
        "it is from the future: one of the two clocks is wrong"
    } else if claims.sub.is_empty() || claims.sub.len() > LONGEST_SUBJECT {
        "it names nobody"
    } else {
        return Ok(claims);
    };
    Err(identity(wrong))
}

#[cfg(test)]
mod tests {
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
    use serde_json::{Value, json};

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const EXPECTED: Expected<'static> =
        Expected { issuer: "https://id.example", client: "kinora", nonce: "n", now: NOW };

    struct Signer {
        key: EcdsaKeyPair,
        other: Ed25519KeyPair,
    }

    impl Signer {
        fn new() -> Self {
            let random = SystemRandom::new();
            let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
            let key =
                EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, made.as_ref(), &random).unwrap();
            let other = Ed25519KeyPair::generate_pkcs8(&random).unwrap();
            Self { key, other: Ed25519KeyPair::from_pkcs8(other.as_ref()).unwrap() }
        }

        fn keys(&self) -> Keys {
            let point = self.key.public_key().as_ref();
            let keys = json!({ "keys": [
                { "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig", "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..]) },
                { "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": BASE64.encode(self.other.public_key()) },
                { "kty": "oct", "kid": "secret", "k": "c2VjcmV0" },
                { "odd": true },
            ]});
            Keys::read(keys.to_string().as_bytes()).unwrap()
        }

        fn token(&self, header: &Value, claims: &Value) -> String {
            let signed =
                format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
            let signature = match header["alg"].as_str() {
                Some("EdDSA") => self.other.sign(signed.as_bytes()).as_ref().to_vec(),
                _ => self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap().as_ref().to_vec(),
            };
            format!("{signed}.{}", BASE64.encode(signature))
        }
    }

    fn claims() -> Value {
        json!({ "iss": "https://id.example", "sub": "42", "aud": "kinora", "exp": NOW + 300, "iat": NOW, "nonce": "n", "preferred_username": "ada" })
    }

    fn ec() -> Value {
        json!({ "alg": "ES256", "kid": "ec" })
    }

    #[test]
    fn what_the_provider_signed_is_believed() {
        let signer = Signer::new();
        for header in [ec(), json!({ "alg": "ES256" }), json!({ "alg": "EdDSA", "kid": "ed" })] {
            let who = check(&signer.token(&header, &claims()), &signer.keys(), EXPECTED).unwrap();
            assert_eq!((who.sub.as_str(), who.names.preferred_username.as_deref()), ("42", Some("ada")));
        }
        let mut many = claims();
        many["aud"] = json!(["kinora", "other"]);
        many["azp"] = json!("kinora");
        assert!(check(&signer.token(&ec(), &many), &signer.keys(), EXPECTED).is_ok());
    }

    #[test]
    fn what_is_for_others_or_over_is_not() {
        let signer = Signer::new();
        for (name, value, words) in [
            ("iss", json!("https://other.example"), "another provider"),
            ("iss", json!("https://id.example/"), "another provider"),
            ("aud", json!("other"), "another program"),
            ("aud", json!(["kinora", "other"]), "another program asked"),
            ("azp", json!("other"), "another program asked"),
            ("nonce", json!("m"), "another login"),
            ("nonce", Value::Null, "another login"),
            ("exp", json!(NOW - LEEWAY), "over"),
            ("iat", json!(NOW + LEEWAY + 1), "future"),
            ("sub", json!(""), "nobody"),
            ("sub", Value::Null, "too little"),
        ] {
            let mut claims = claims();
            claims[name] = value;
            let error = check(&signer.token(&ec(), &claims), &signer.keys(), EXPECTED).unwrap_err();
            assert!(error.to_string().contains(words), "{name}: {error}");
        }
    }

    #[test]
    fn what_was_signed_otherwise_is_not() {
        let (signer, stranger) = (Signer::new(), Signer::new());
        let keys = signer.keys();
        for header in [
            json!({ "alg": "none" }),
            json!({ "alg": "HS256", "kid": "secret" }),
            json!({ "alg": "RS256", "kid": "ec" }),
            json!({ "alg": "ES256", "kid": "ed" }),
            json!({ "alg": "ES256", "kid": "gone" }),
            json!({ "alg": "ES256", "kid": "ec", "crit": ["b64"] }),
        ] {
            assert!(check(&signer.token(&header, &claims()), &keys, EXPECTED).is_err(), "{header}");
        }
        assert_eq!(
            check(&signer.token(&json!({ "alg": "ES256", "kid": "gone" }), &claims()), &keys, EXPECTED),
            Err(OidcError::UnknownKey)
        );
        let forged = check(&stranger.token(&ec(), &claims()), &keys, EXPECTED).unwrap_err();
        assert!(forged.to_string().contains("signature"), "{forged}");
        let good = signer.token(&ec(), &claims());
        let cut = good.rsplit_once('.').unwrap().0;
        for token in ["", "..", cut, &format!("{cut}."), &format!("{good}.x")] {
            assert!(check(token, &keys, EXPECTED).is_err(), "{token}");
        }
    }

    #[test]
    fn providers_are_what_they_are_called() {
        let json = |issuer: &str, token: &str| {
            json!({ "issuer": issuer, "authorization_endpoint": "https://id.example/a", "token_endpoint": token, "jwks_uri": "https://id.example/k" }).to_string()
        };
        let read = |text: String| Provider::read(text.as_bytes(), "https://id.example");
        assert!(read(json("https://id.example", "https://id.example/t")).is_ok());
        let near = json("http://127.0.0.1:9", "http://127.0.0.1:9/t");
        assert!(Provider::read(near.as_bytes(), "http://127.0.0.1:9").is_ok());
        for place in [
            "http://127.0.0.1:80@evil.example/t",
            "https://a@b/",
            "http://localhost:x/",
            "https://",
            "ftp://a",
        ] {
            assert!(!is_safe(place), "{place}");
        }
        for (issuer, token) in [
            ("https://evil.example", "https://id.example/t"),
            ("https://id.example", "http://id.example/t"),
            ("https://id.example", "http://127.0.0.1:9/t"),
            ("https://id.example", "http://127.0.0.1.evil.example/t"),
        ] {
            assert!(read(json(issuer, token)).is_err(), "{issuer} {token}");
        }
        let attempt = Attempt {
            state: String::new(),
            nonce: String::new(),
            verifier: "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".into(),
        };
        assert_eq!(
            attempt.challenge(),
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
            "RFC 7636, appendix B"
        );
    }
}
