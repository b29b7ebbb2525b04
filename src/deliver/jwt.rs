//! A JSON Web Token that a client signs to get a token of OAuth 2 (RFC 7519, RFC 7523).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{SignatureScheme, crypto::ring};
use serde_json::{Map, Value, json};

use crate::config::{JwtAlgorithm, JwtBearer};
use crate::model::{Duration, Timestamp, hex};

/// How long a token server may take it. prometheus/common says so too.
const LASTS: Duration = Duration::from_mins(10);

/// The token, signed with the RSA key that the PEM text holds. An error says what is wrong with the key, and
/// does not show it.
pub(super) fn signed(
    jwt: &JwtBearer,
    client_id: &str,
    scopes: &str,
    pem: &str,
    now: Timestamp,
) -> Result<String, String> {
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes());
    let key = key.map_err(|_| "is not a private key in PEM. Write one without a passphrase")?;
    let key = ring::sign::any_supported_type(&key).map_err(|_| "is no key of a kind that is known")?;
    let scheme = match jwt.algorithm {
        JwtAlgorithm::Rs256 => SignatureScheme::RSA_PKCS1_SHA256,
        JwtAlgorithm::Rs384 => SignatureScheme::RSA_PKCS1_SHA384,
        JwtAlgorithm::Rs512 => SignatureScheme::RSA_PKCS1_SHA512,
    };
    let signer = key.choose_scheme(&[scheme]).ok_or("is not an RSA key. Write one")?;
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(header(jwt));
    let text = format!("{header}.{}", part(claims(jwt, client_id, scopes, now)?));
    let signature = signer.sign(text.as_bytes()).map_err(|_| "cannot sign".to_owned())?;
    Ok(format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn header(jwt: &JwtBearer) -> Value {
    let mut header = json!({"alg": jwt.algorithm.name(), "typ": "JWT"});
    if let Some(id) = &jwt.key_id {
        header["kid"] = json!(id);
    }
    header
}

fn claims(jwt: &JwtBearer, client_id: &str, scopes: &str, now: Timestamp) -> Result<Value, String> {
    let mut id = [0; 16];
    let random = ring::default_provider().secure_random;
    random.fill(&mut id).map_err(|_| "cannot sign, because the system has no random numbers")?;
    let seconds = |at: Timestamp| at.as_millis().div_euclid(1000);
    let mut claims = Map::from_iter([
        ("iss".to_owned(), json!(jwt.issuer)),
        ("sub".to_owned(), json!(client_id)),
        ("aud".to_owned(), json!(jwt.audience)),
        ("jti".to_owned(), json!(hex(&id))),
        ("iat".to_owned(), json!(seconds(now))),
        ("exp".to_owned(), json!(seconds(now + LASTS))),
    ]);
    if !scopes.is_empty() {
        claims.insert("scope".to_owned(), json!(scopes));
    }
    claims.extend(jwt.claims.iter().cloned());
    Ok(Value::Object(claims))
}
