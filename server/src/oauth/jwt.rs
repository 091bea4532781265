//! JSON Web Tokens (RFC 7519) as far as a mail server meets them: signed (RFC 7515), by a key of a set (RFC 7517).
//!
//! The key decides which algorithm may be used, never the token: `none` and HMAC do not exist here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde::Deserialize;
use serde_json::{Map, Value};
use waypost_base::Timestamp;

/// Bytes of a token; real ones with many groups have 8 KiB.
const TOKEN_MAX: usize = 32 * 1024;
/// Keys of a set that are looked at.
const KEYS_MAX: usize = 100;
/// Their clock may differ from ours by so much.
const LEEWAY_MILLIS: i64 = 60 * 1000;

#[derive(Clone, Debug, Deserialize)]
pub struct Header {
    pub alg: String,
    #[serde(default)]
    pub kid: Option<String>,
    /// Extensions that we would have to understand, and don't.
    #[serde(default)]
    pub crit: Option<Value>,
}

/// A token in its parts, not believed yet.
pub struct Parsed<'a> {
    pub header: Header,
    signed: &'a str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

/// What a token says, once its signature is good.
#[derive(Clone, Debug)]
pub struct Claims(Map<String, Value>);

pub fn parse(token: &str) -> Result<Parsed<'_>, String> {
    if token.len() > TOKEN_MAX {
        return Err("the token is too long".into());
    }
    let malformed = || "not a JWT".to_owned();
    let (signed, signature) = token.rsplit_once('.').ok_or_else(malformed)?;
    let (header, payload) = signed.split_once('.').ok_or_else(malformed)?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| malformed());
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| malformed())?;
    if header.crit.is_some() {
        return Err("the token has extensions that are not known here".into());
    }
    Ok(Parsed { header, signed, payload: decode(payload)?, signature: decode(signature)? })
}

/// The provider's keys.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

#[derive(Debug)]
struct Key {
    id: Option<String>,
    /// What the set says that it is for, where it does.
    algorithm: Option<String>,
    material: Material,
}

#[derive(Debug)]
enum Material {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    P256(Vec<u8>),
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl Keys {
    /// Keys of kinds that are not known are left out.
    pub fn read(set: &Value) -> Result<Keys, String> {
        let list = set.get("keys").and_then(Value::as_array).ok_or("it is no key set")?;
        let keys: Vec<Key> = list.iter().take(KEYS_MAX).filter_map(key).collect();
        if keys.is_empty() { Err("it has no key that can be used".into()) } else { Ok(Keys(keys)) }
    }

    /// Whether there is a key that the token may be signed with.
    pub fn has(&self, header: &Header) -> bool {
        self.fitting(header).next().is_some()
    }

    fn fitting<'a>(&'a self, header: &'a Header) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(|key| {
            let named = header.kid.is_none() || key.id == header.kid;
            let algorithm = key.algorithm.as_ref().is_none_or(|a| *a == header.alg);
            named && algorithm && key.material.does(&header.alg)
        })
    }

    pub fn verify(&self, token: &Parsed<'_>) -> Result<Claims, String> {
        let mut any = false;
        for key in self.fitting(&token.header) {
            any = true;
            if key.material.verify(&token.header.alg, token.signed.as_bytes(), &token.signature) {
                let claims =
                    serde_json::from_slice(&token.payload).map_err(|_| "its claims are no object")?;
                return Ok(Claims(claims));
            }
        }
        Err(match any {
            true => "the signature is not the provider's".into(),
            false => format!(
                "signed by {} with key {:?}, which the provider does not have",
                token.header.alg,
                token.header.kid.as_deref().unwrap_or_default()
            ),
        })
    }
}

fn key(json: &Value) -> Option<Key> {
    let text = |name: &str| json.get(name).and_then(Value::as_str);
    if text("use").is_some_and(|u| u != "sig") {
        return None;
    }
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
    let point = || {
        let mut point = vec![4];
        point.extend(bytes("x")?);
        point.extend(bytes("y")?);
        Some(point)
    };
    let material = match (text("kty")?, text("crv")) {
        ("RSA", _) => Material::Rsa { n: bytes("n")?, e: bytes("e")? },
        ("EC", Some("P-256")) => Material::P256(point()?),
        ("EC", Some("P-384")) => Material::P384(point()?),
        ("OKP", Some("Ed25519")) => Material::Ed25519(bytes("x")?),
        _ => return None,
    };
    Some(Key { id: text("kid").map(str::to_owned), algorithm: text("alg").map(str::to_owned), material })
}

impl Material {
    fn does(&self, algorithm: &str) -> bool {
        match self {
            Material::Rsa { .. } => {
                matches!(algorithm, "RS256" | "RS384" | "RS512" | "PS256" | "PS384" | "PS512")
            }
            Material::P256(_) => algorithm == "ES256",
            Material::P384(_) => algorithm == "ES384",
            Material::Ed25519(_) => algorithm == "EdDSA" || algorithm == "Ed25519",
        }
    }

    fn verify(&self, algorithm: &str, message: &[u8], given: &[u8]) -> bool {
        match self {
            Material::Rsa { n, e } => {
                let parameters: &signature::RsaParameters = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_2048_8192_SHA256,
                    "RS384" => &signature::RSA_PKCS1_2048_8192_SHA384,
                    "RS512" => &signature::RSA_PKCS1_2048_8192_SHA512,
                    "PS256" => &signature::RSA_PSS_2048_8192_SHA256,
                    "PS384" => &signature::RSA_PSS_2048_8192_SHA384,
                    _ => &signature::RSA_PSS_2048_8192_SHA512,
                };
                RsaPublicKeyComponents { n, e }.verify(parameters, message, given).is_ok()
            }
            Material::P256(point) => UnparsedPublicKey::new(&signature::ECDSA_P256_SHA256_FIXED, point)
                .verify(message, given)
                .is_ok(),
            Material::P384(point) => UnparsedPublicKey::new(&signature::ECDSA_P384_SHA384_FIXED, point)
                .verify(message, given)
                .is_ok(),
            Material::Ed25519(point) => {
                UnparsedPublicKey::new(&signature::ED25519, point).verify(message, given).is_ok()
            }
        }
    }
}

impl Claims {
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).and_then(Value::as_str).filter(|t| !t.is_empty()).map(str::to_owned)
    }

    /// The claim that says who it is. An address that the provider has not verified is whatever its user typed there: anybody
    /// could be anybody by it (OpenID Connect Core 1.0 §5.7).
    pub fn user(&self, claim: &str) -> Result<String, String> {
        let unverified = match self.0.get("email_verified") {
            Some(Value::Bool(verified)) => !verified,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("false"),
            _ => false,
        };
        if claim == "email" && unverified {
            return Err("the provider has not verified the address".into());
        }
        self.text(claim).ok_or_else(|| format!("the token has no claim {claim:?}"))
    }

    /// Issuer, times, audience and scope.
    pub fn check(
        &self,
        issuer: &str,
        audiences: &[String],
        scope: &str,
        now: Timestamp,
    ) -> Result<(), String> {
        let theirs = self.text("iss").unwrap_or_default();
        if theirs.trim_end_matches('/') != issuer.trim_end_matches('/') {
            return Err(format!("issued by {theirs:?}"));
        }
        let time =
            |name: &str| self.0.get(name).and_then(Value::as_f64).map(|s| Timestamp((s * 1000.0) as i64));
        let expires = time("exp").ok_or("it never expires")?;
        if now.since(expires) > LEEWAY_MILLIS {
            return Err(format!("expired at {expires}"));
        }
        if let Some(begins) = time("nbf").filter(|at| at.since(now) > LEEWAY_MILLIS) {
            return Err(format!("not valid before {begins}"));
        }
        let audience = self.list("aud");
        if !audiences.iter().any(|ours| audience.contains(ours)) {
            return Err(format!("meant for {}", audience.join(", ")));
        }
        let scopes = [self.words("scope"), self.words("scp"), self.list("scp")].concat();
        if !scope.is_empty() && !scopes.iter().any(|s| s == scope) {
            return Err(format!("without the scope {scope}"));
        }
        Ok(())
    }

    /// One text or several.
    fn list(&self, name: &str) -> Vec<String> {
        match self.0.get(name) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(all)) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            _ => Vec::new(),
        }
    }

    fn words(&self, name: &str) -> Vec<String> {
        self.text(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::rand::SystemRandom;
    use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
    use serde_json::json;

    const NOW: Timestamp = Timestamp(1_772_525_720_000);

    struct Issuer {
        pair: EcdsaKeyPair,
        keys: Keys,
    }

    fn issuer() -> Issuer {
        let random = SystemRandom::new();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let pair =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.as_ref(), &random).unwrap();
        let point = pair.public_key().as_ref();
        let (x, y) = (URL_SAFE_NO_PAD.encode(&point[1..33]), URL_SAFE_NO_PAD.encode(&point[33..]));
        let set = json!({"keys": [
            {"kty": "oct", "k": "c2VjcmV0"},
            {"kty": "EC", "crv": "P-256", "kid": "one", "use": "sig", "x": x, "y": y},
        ]});
        Issuer { keys: Keys::read(&set).unwrap(), pair }
    }

    impl Issuer {
        fn token(&self, header: Value, claims: Value) -> String {
            let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
            let signed = format!("{}.{}", part(header), part(claims));
            let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
            format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
        }

        fn verify(&self, token: &str) -> Result<Claims, String> {
            self.keys.verify(&parse(token)?)
        }
    }

    fn claims(change: impl FnOnce(&mut Value)) -> Value {
        let mut claims = json!({
            "iss": "https://id.contoso.test", "aud": ["mail"], "exp": 1_772_525_780, "email": "amy@contoso.test",
            "scope": "openid mail",
        });
        change(&mut claims);
        claims
    }

    #[test]
    fn a_good_token() {
        let issuer = issuer();
        let token = issuer.token(json!({"alg": "ES256", "kid": "one"}), claims(|_| {}));
        let found = issuer.verify(&token).unwrap();
        found.check("https://id.contoso.test/", &["mail".into()], "mail", NOW).unwrap();
        assert_eq!(found.text("email").as_deref(), Some("amy@contoso.test"));
    }

    #[test]
    fn an_address_that_nobody_has_verified() {
        let of = |verified: Value| {
            let claims = claims(|c| c["email_verified"] = verified);
            Claims(serde_json::from_value(claims).unwrap())
        };
        assert_eq!(of(json!(true)).user("email").as_deref(), Ok("amy@contoso.test"));
        assert_eq!(of(Value::Null).user("email").as_deref(), Ok("amy@contoso.test"), "many do not say");
        assert!(of(json!(false)).user("email").is_err());
        assert!(of(json!("false")).user("email").is_err());
        assert!(of(json!(false)).user("scope").is_ok(), "it speaks of the address only");
        assert!(of(json!(true)).user("upn").is_err());
    }

    #[test]
    fn tokens_that_are_not_believed() {
        let issuer = issuer();
        let header = json!({"alg": "ES256", "kid": "one"});
        let good = issuer.token(header.clone(), claims(|_| {}));
        for bad in ["", "a.b", "a.b.c", &good[..good.len() - 4], &format!("{good}AAAA")] {
            assert!(issuer.verify(bad).is_err(), "{bad}");
        }
        for header in [
            json!({"alg": "none"}),
            json!({"alg": "HS256"}),
            json!({"alg": "RS256", "kid": "one"}),
            json!({"alg": "ES256", "kid": "two"}),
            json!({"alg": "ES256", "kid": "one", "crit": ["b64"]}),
        ] {
            assert!(issuer.verify(&issuer.token(header.clone(), claims(|_| {}))).is_err(), "{header}");
        }
        // Another's signature over the same words.
        let forged = super::tests::issuer().token(header, claims(|_| {}));
        assert_eq!(issuer.verify(&forged).unwrap_err(), "the signature is not the provider's");
    }

    #[test]
    fn tokens_that_are_for_somebody_else() {
        let issuer = issuer();
        type Spoil = fn(&mut Value);
        let table: [(Spoil, &str); 6] = [
            (|c| c["iss"] = json!("https://evil.example"), "issued by \"https://evil.example\""),
            (|c| c["exp"] = json!(1_772_525_600), "expired at 2026-03-03T08:13:20.000Z"),
            (|c| drop(c.as_object_mut().map(|c| c.remove("exp"))), "it never expires"),
            (|c| c["nbf"] = json!(1_772_525_900), "not valid before 2026-03-03T08:18:20.000Z"),
            (|c| c["aud"] = json!("web"), "meant for web"),
            (|c| c["scope"] = json!("openid"), "without the scope mail"),
        ];
        for (change, why) in table {
            let token = issuer.token(json!({"alg": "ES256", "kid": "one"}), claims(change));
            let found = issuer.verify(&token).unwrap();
            let judged = found.check("https://id.contoso.test", &["mail".into()], "mail", NOW);
            assert_eq!(judged.unwrap_err(), why);
        }
    }
}
