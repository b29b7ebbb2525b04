//! `oauth2` of a client.
//!
//! Source of the rules: prometheus/common `config/http_config.go` and `config/oauth_assertion.go`.

use std::path::Path;

use serde_json::Value as Json;

use super::keys::secret;
use super::proxy::proxy;
use super::section::{Section, scalar, shown};
use super::tls::{given, tls_config};
use super::url::check_url;
use super::yaml::{Key, Node, Value};
use super::{Grant, JwtAlgorithm, JwtBearer, OAuth2, SecretForm};

/// The grant that asks for a token by one that the client signs.
const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
/// The keys that belong to [`JWT_BEARER`] alone. Alertmanager does not look at them without it.
const OF_JWT: [&str; 7] = [
    "client_certificate_key_id",
    "client_certificate_key",
    "client_certificate_key_file",
    "signature_algorithm",
    "iss",
    "audience",
    "claims",
];
/// The fields that a form with a signed token already has. Alertmanager sends nothing if a parameter names
/// one of them.
const OF_FORM: [&str; 2] = ["assertion", "scope"];

/// The keys of an `oauth2`. Files are relative to `base`.
pub(super) fn oauth2(mut keys: Section<'_>, base: &Path) -> Option<OAuth2> {
    let client_id = given(&mut keys, "client_id");
    let token_url = given(&mut keys, "token_url");
    for (key, missing) in [("client_id", client_id.is_none()), ("token_url", token_url.is_none())] {
        if missing {
            keys.problems.add(keys.line, format!("oauth2 has no {key}. Write {key}"));
        }
    }
    if let Some(url) = token_url
        && let Err(why) = check_url(url)
    {
        let line = keys.line_of("token_url");
        keys.problems.add(line, format!("token_url {} {why}. Write an http or https URL", shown(url)));
    }
    let scopes = keys.texts("scopes").unwrap_or_default().into_iter();
    let params = keys.text_map("endpoint_params").into_iter();
    let params: Vec<(String, String)> =
        params.map(|(name, value)| (name.to_owned(), value.text.to_owned())).collect();
    let grant = match given(&mut keys, "grant_type") == Some(JWT_BEARER) {
        true => Grant::Jwt(Box::new(jwt_bearer(&mut keys, &params, client_id, token_url, base))),
        false => client_credentials(&mut keys, base),
    };
    let oauth2 = OAuth2 {
        client_id: client_id.unwrap_or_default().to_owned(),
        grant,
        scopes: scopes.map(|scope| scope.text.to_owned()).collect(),
        token_url: token_url.unwrap_or_default().to_owned(),
        endpoint_params: params,
        tls: keys.section("tls_config").map(|tls| tls_config(tls, base)).unwrap_or_default(),
        proxy: proxy(&mut keys),
    };
    keys.finish();
    (client_id.is_some() && token_url.is_some()).then_some(oauth2)
}

fn client_credentials(keys: &mut Section<'_>, base: &Path) -> Grant {
    for key in OF_JWT {
        if let Some(text) = keys.node(key).and_then(scalar)
            && key == "client_certificate_key"
        {
            keys.problems.secret(text);
        }
    }
    // This key belongs to the other grant too, where it needs a secret manager, which no Alertmanager has.
    keys.node("client_certificate_key_ref");
    keys.unsupported(&["client_secret_ref"]);
    Grant::Secret(secret(keys, ("client_secret", "client_secret_file"), SecretForm::Password, base))
}

fn jwt_bearer(
    keys: &mut Section<'_>,
    params: &[(String, String)],
    client_id: Option<&str>,
    token_url: Option<&str>,
    base: &Path,
) -> JwtBearer {
    // Alertmanager does not look at the secret of the other grant.
    for key in ["client_secret", "client_secret_file", "client_secret_ref"] {
        if let Some(text) = keys.node(key).and_then(scalar)
            && key == "client_secret"
        {
            keys.problems.secret(text);
        }
    }
    let names = ("client_certificate_key", "client_certificate_key_file");
    let key = secret(keys, names, SecretForm::Key, base);
    if key.is_none() {
        let message = "oauth2 has no key to sign with, so no token is granted. Write client_certificate_key_file (or client_certificate_key)";
        keys.problems.doubt(keys.line, message);
    }
    for name in params.iter().map(|(name, _)| name).filter(|name| OF_FORM.contains(&name.as_str())) {
        let message = format!("endpoint_params has {name}, which is set already. Remove it");
        keys.problems.doubt(keys.line_of("endpoint_params"), message);
    }
    let by_name = |text: &str| JwtAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name() == text);
    let algorithm = match keys.text("signature_algorithm").is_some_and(|text| text.text.is_empty()) {
        true => None,
        false => keys.parsed("signature_algorithm", "RS256, RS384 or RS512", by_name),
    };
    keys.unsupported(&["client_certificate_key_ref"]);
    let or = |text: Option<&str>, other: Option<&str>| text.or(other).unwrap_or_default().to_owned();
    JwtBearer {
        key,
        key_id: given(keys, "client_certificate_key_id").map(str::to_owned),
        algorithm: algorithm.unwrap_or(JwtAlgorithm::Rs256),
        issuer: or(given(keys, "iss"), client_id),
        audience: or(given(keys, "audience"), token_url),
        claims: match keys.section("claims") {
            Some(claims) => claims.entries().map(|(_, name, node)| (name.to_owned(), json(node))).collect(),
            None => Vec::new(),
        },
    }
}

/// A value of YAML as JSON.
fn json(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Scalar(text) if node.quoted => Json::String(text.clone()),
        Value::Scalar(text) => match serde_saphyr::from_str::<Json>(text) {
            Ok(typed @ (Json::Bool(_) | Json::Number(_))) => typed,
            _ => Json::String(text.clone()),
        },
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Map(entries) => {
            let entry = |(key, node): &(Key, Node)| (key.name.clone(), json(node));
            Json::Object(entries.iter().map(entry).collect())
        }
    }
}
