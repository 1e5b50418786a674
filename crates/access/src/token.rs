//! Signed tokens (RFC 7519): short-lived, EdDSA only, for one audience of one hub.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};

use crate::signature;

/// For whom a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// The API, from a user's program.
    Api,
    /// The hub, from a machine that works for it.
    Node,
}

impl Audience {
    fn text(self) -> &'static str {
        match self {
            Self::Api => "kinora-api",
            Self::Node => "kinora-node",
        }
    }
}

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Which hub made it.
    iss: String,
    /// For whom.
    aud: String,
    /// About whom: a user or a node.
    pub sub: String,
    /// The login that it belongs to; the node's own number of its identity.
    pub sid: String,
    /// When it was made, in seconds since 1970.
    pub iat: u64,
    /// When it ends.
    pub exp: u64,
}

/// Why a token is no good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was good once.
    #[error("the token has expired")]
    Expired,
    /// It never was.
    #[error("the token is not one of this hub's for this: {0}")]
    Invalid(String),
    /// None can be made.
    #[error("no token can be made: {0}")]
    Failed(String),
}

/// Makes and checks tokens.
pub struct Issuer {
    name: String,
    /// The first signs; the others are those before it, whose tokens may be good yet.
    keys: Vec<Key>,
}

struct Key {
    /// What tokens say by which they were signed.
    id: String,
    signing: EncodingKey,
    verifying: DecodingKey,
}

impl Key {
    fn read(key: &[u8]) -> Result<Self, TokenError> {
        let pair = Ed25519KeyPair::from_pkcs8(key).map_err(|e| TokenError::Failed(e.to_string()))?;
        let public = pair.public_key().as_ref();
        let id = blake3::hash(public).to_hex().chars().take(16).collect();
        Ok(Self { id, signing: EncodingKey::from_ed_der(key), verifying: DecodingKey::from_ed_der(public) })
    }
}

/// Seconds that clocks may be from one another.
const SKEW: u64 = 600;

impl Issuer {
    /// The hub `name`, which signs with the first of these keys, and knows what the others have signed.
    ///
    /// # Errors
    /// When there is no key, or one is none.
    pub fn new<K: AsRef<[u8]>>(name: &str, keys: &[K]) -> Result<Self, TokenError> {
        signature::install();
        let keys = keys.iter().map(|key| Key::read(key.as_ref())).collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(TokenError::Failed("there is no key".to_owned()));
        }
        Ok(Self { name: name.to_owned(), keys })
    }

    /// A token for `audience` about `subject`, which ends `lifetime` seconds after `now`.
    ///
    /// # Errors
    /// When it cannot be signed.
    pub fn issue(
        &self,
        audience: Audience,
        subject: &str,
        session: &str,
        now: u64,
        lifetime: u64,
    ) -> Result<String, TokenError> {
        let claims = Claims {
            iss: self.name.clone(),
            aud: audience.text().to_owned(),
            sub: subject.to_owned(),
            sid: session.to_owned(),
            iat: now,
            exp: now + lifetime,
        };
        let key = self.keys.first().ok_or_else(|| TokenError::Failed("there is no key".to_owned()))?;
        let header = Header { kid: Some(key.id.clone()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &key.signing).map_err(|e| TokenError::Failed(e.to_string()))
    }

    /// What a token says that is for `audience`, at the time `now`.
    ///
    /// # Errors
    /// When it is over, for somebody else, or was not signed here.
    pub fn check(&self, audience: Audience, token: &str, now: u64) -> Result<Claims, TokenError> {
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&[audience.text()]);
        rules.set_issuer(&[&self.name]);
        rules.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        // The time is the caller's.
        rules.validate_exp = false;
        let invalid = |e: jsonwebtoken::errors::Error| TokenError::Invalid(e.to_string());
        let said = decode_header(token).map_err(invalid)?.kid;
        let key = self.keys.iter().find(|key| Some(&key.id) == said.as_ref());
        let key =
            key.ok_or_else(|| TokenError::Invalid("it was signed with no key of this hub".to_owned()))?;
        let data = decode::<Claims>(token, &key.verifying, &rules).map_err(invalid)?;
        // One of a time that is to come was made while the clock was wrong, and may be good for years.
        if data.claims.iat > now + SKEW {
            return Err(TokenError::Invalid("it is of a time that is to come".to_owned()));
        }
        if data.claims.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(data.claims)
    }
}

impl std::fmt::Debug for Issuer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Issuer({})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
    use serde_json::{Value, json};

    use super::*;
    use crate::node::SigningKey;

    const NOW: u64 = 1_800_000_000;

    fn issuer(name: &str) -> Issuer {
        Issuer::new(name, &[SigningKey::generate().unwrap()]).unwrap()
    }

    fn token(issuer: &Issuer) -> String {
        issuer.issue(Audience::Api, "anna", "one", NOW, 600).unwrap()
    }

    fn part(token: &str, place: usize) -> Value {
        let text = token.split('.').nth(place).unwrap();
        serde_json::from_slice(&BASE64.decode(text).unwrap()).unwrap()
    }

    fn put(value: &Value) -> String {
        BASE64.encode(value.to_string())
    }

    #[test]
    fn a_token_is_good_for_its_time() {
        let hub = issuer("hub");
        let token = token(&hub);
        assert_eq!(part(&token, 0), json!({ "typ": "JWT", "alg": "EdDSA", "kid": hub.keys[0].id }));
        let claims = hub.check(Audience::Api, &token, NOW + 599).unwrap();
        assert_eq!((claims.sub.as_str(), claims.sid.as_str(), claims.exp), ("anna", "one", NOW + 600));
        assert_eq!(hub.check(Audience::Api, &token, NOW + 600), Err(TokenError::Expired));
    }

    #[test]
    fn the_key_before_is_known_until_it_is_dropped() {
        let (old, new) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let before = Issuer::new("hub", &[&old]).unwrap();
        let after = Issuer::new("hub", &[&new, &old]).unwrap();
        let later = Issuer::new("hub", &[&new]).unwrap();
        let good = |issuer: &Issuer, token: &str| issuer.check(Audience::Api, token, NOW).is_ok();
        let (first, second) = (token(&before), token(&after));
        assert!(good(&after, &first) && good(&after, &second));
        assert!(!good(&later, &first) && good(&later, &second) && !good(&before, &second));
        assert!(Issuer::new::<Vec<u8>>("hub", &[]).is_err());
    }

    #[test]
    fn what_is_for_others_or_by_others_is_refused() {
        let hub = issuer("hub");
        let good = token(&hub);
        let refused = |token: &str| match hub.check(Audience::Api, token, NOW) {
            Err(TokenError::Invalid(_)) => {}
            other => panic!("{token}: {other:?}"),
        };
        refused(&hub.issue(Audience::Node, "anna", "one", NOW, 600).unwrap());
        // Another hub with the same key, and another key with the same name.
        refused(&token(&issuer("hub")));
        let key = SigningKey::generate().unwrap();
        let (one, two) = (Issuer::new("one", &[&key]).unwrap(), Issuer::new("two", &[&key]).unwrap());
        assert!(two.check(Audience::Api, &token(&one), NOW).is_err());
        for text in ["", "..", "a.b.c", &good[..good.len() - 2], &format!("{good}.x")] {
            refused(text);
        }
    }

    #[test]
    fn no_other_algorithm_is_taken() {
        let hub = issuer("hub");
        let good = token(&hub);
        let words: Vec<&str> = good.split('.').collect();
        let public = {
            // What a forger knows: the public key is no secret, and good as one of HMAC only to those who ask the token.
            let pair = Ed25519KeyPair::from_pkcs8(hub.keys[0].signing.as_bytes()).unwrap();
            pair.public_key().as_ref().to_vec()
        };
        for algorithm in ["none", "None", "HS256", "HS512", "RS256", "ES256"] {
            let header = put(&json!({ "typ": "JWT", "alg": algorithm, "kid": hub.keys[0].id }));
            let signed = format!("{header}.{}", words[1]);
            let mac = BASE64.encode(
                blake3::keyed_hash(&public.clone().try_into().unwrap(), signed.as_bytes()).as_bytes(),
            );
            for signature in ["", words[2], mac.as_str()] {
                let forged = format!("{signed}.{signature}");
                let verdict = hub.check(Audience::Api, &forged, NOW);
                assert!(matches!(verdict, Err(TokenError::Invalid(_))), "{algorithm}: {verdict:?}");
            }
        }
    }

    #[test]
    fn nothing_in_it_can_be_changed() {
        let hub = issuer("hub");
        let good = token(&hub);
        let words: Vec<&str> = good.split('.').collect();
        let changes = [("sub", json!("root")), ("exp", json!(NOW * 2)), ("aud", json!(["kinora-api"]))];
        for (name, value) in changes {
            let mut claims = part(&good, 1);
            claims[name] = value;
            let forged = format!("{}.{}.{}", words[0], put(&claims), words[2]);
            assert!(hub.check(Audience::Api, &forged, NOW).is_err(), "{name}");
        }
        for (place, byte) in good.bytes().enumerate().filter(|(_, byte)| *byte != b'.') {
            let mut forged = good.clone().into_bytes();
            forged[place] = if byte == b'A' { b'B' } else { b'A' };
            let forged = String::from_utf8(forged).unwrap();
            // The last digit of a signature has bits that stand for nothing.
            if place + 1 < good.len() {
                assert!(hub.check(Audience::Api, &forged, NOW).is_err(), "{place}");
            }
        }
    }
}
