//! `http_config` against real sockets: proxies, tokens, certificates, redirects.

pub mod servers;

use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use rustls::SignatureScheme;
use serde_json::{Value, json};
use squelch::config::load_http;
use squelch::deliver::{Answer, AttemptError, HttpClient};
use squelch::model::Timestamp;

use crate::conformance::sink::form;
use crate::wire::answer;
use servers::{Authority, Server, http_proxy, socks_proxy};

const TIMEOUT: Duration = Duration::from_secs(20);
const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_500);

/// A client of the `http_config` in a file of this folder.
fn client(folder: &Path, text: &str) -> HttpClient {
    let path = folder.join("http.yml");
    std::fs::write(&path, text).unwrap();
    let config = load_http(&path).unwrap_or_else(|error| panic!("{text}\n{error}"));
    HttpClient::new(&config, TIMEOUT, || NOW).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

async fn post(client: &HttpClient, url: &str) -> Result<Answer, AttemptError> {
    client.change(Method::POST, url, b"{\"page\":1}".to_vec(), 1000).await
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn requests_take_the_proxy_and_the_proxy_looks_the_name_up() {
    let authority = Authority::new();
    let secure = Server::start(Some(authority.acceptor("target.test", None)), |_| answer(200, "", "s")).await;
    let plain = Server::start(None, |_| answer(200, "", "p")).await;
    let proxy = http_proxy("Basic bWU6aHVudGVyMg==").await;
    let folder = folder();
    authority.write_ca(folder.path());
    let text = format!(
        "proxy_url: http://me:hunter2@127.0.0.1:{}\nproxy_connect_header: {{X-Tenant: [a, b]}}\n\
         basic_auth: {{username: u, password: for-the-target}}\ntls_config: {{ca_file: ca.pem}}\n",
        proxy.port
    );
    let client = client(folder.path(), &text);
    let answer = post(&client, &format!("https://target.test:{}/x", secure.port)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"s"[..]));
    let answer = post(&client, &format!("http://target.test:{}/x", plain.port)).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"p"[..]));
    let seen = proxy.seen();
    let [tunnel, passed] = &seen[..] else { panic!("{seen:?}") };
    assert!(tunnel.starts_with(&format!("connect target.test:{} http/1.1\r\n", secure.port)), "{tunnel}");
    assert!(tunnel.contains("x-tenant: a\r\nx-tenant: b\r\n"), "{tunnel}");
    assert!(!tunnel.contains("\r\nauthorization"), "credentials of the target at the proxy: {tunnel}");
    assert!(
        passed.starts_with(&format!("post http://target.test:{}/x http/1.1\r\n", plain.port)),
        "{passed}"
    );
    assert!(!passed.contains("x-tenant"), "{passed}");
    assert!(secure.seen()[0].contains("\r\nauthorization: basic "), "{:?}", secure.seen());
    assert!(!secure.seen()[0].contains("proxy-authorization"), "{:?}", secure.seen());
}

/// Alertmanager loads both. The first one works there with `no_proxy`, and the second one never does.
#[tokio::test]
async fn a_proxy_without_a_scheme_speaks_http_and_one_without_a_host_is_named() {
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let proxy = http_proxy("").await;
    let (folder, url) = (folder(), format!("http://target.test:{}/", target.port));
    let without_scheme = format!("proxy_url: localhost:{}\n", proxy.port);
    assert_eq!(post(&client(folder.path(), &without_scheme), &url).await.unwrap().status, 200);
    assert_eq!((proxy.seen().len(), target.seen().len()), (1, 1));
    let error = post(&client(folder.path(), "proxy_url: /proxy\n"), &url).await.unwrap_err();
    assert!(!error.ambiguous && error.detail.contains("proxy_url names no host. Write one"), "{error}");
}

#[tokio::test]
async fn a_proxy_that_refuses_leaves_no_doubt_and_shows_no_password() {
    let proxy = http_proxy("Basic c29tZWJvZHk6ZWxzZQ==").await;
    let folder = folder();
    let client = client(folder.path(), &format!("proxy_url: http://me:hunter2@127.0.0.1:{}\n", proxy.port));
    let error = post(&client, "https://target.test/x").await.unwrap_err();
    assert!(!error.ambiguous, "nothing was sent: {error}");
    assert!(error.detail.contains("proxy authorization required"), "{error}");
    assert!(!error.detail.contains("hunter2"), "{error}");
}

#[tokio::test]
async fn hosts_of_no_proxy_are_reached_without_it() {
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let proxy = http_proxy("").await;
    let folder = folder();
    let text = format!("proxy_url: http://127.0.0.1:{}\nno_proxy: example.org\n", proxy.port);
    let client = client(folder.path(), &text);
    assert_eq!(post(&client, &format!("http://127.0.0.1:{}/", target.port)).await.unwrap().status, 200);
    assert_eq!((proxy.seen().len(), target.seen().len()), (0, 1));
}

#[tokio::test]
async fn a_socks_proxy_takes_requests_and_looks_the_name_up() {
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let proxy = socks_proxy().await;
    let folder = folder();
    let text = format!("proxy_url: socks5://me:hunter2@127.0.0.1:{}\n", proxy.port);
    let client = client(folder.path(), &text);
    assert_eq!(post(&client, &format!("http://target.test:{}/", target.port)).await.unwrap().status, 200);
    assert_eq!(proxy.seen(), [format!("me hunter2 target.test:{}", target.port)]);
    assert!(target.seen()[0].starts_with("post / http/1.1\r\n"), "{:?}", target.seen());
}

#[tokio::test]
async fn the_policy_for_addresses_holds_for_proxies_tokens_and_redirects() {
    let proxy = http_proxy("").await;
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let folder = folder();
    let deny = "deny_addresses: [127.0.0.0/8, '::1']\n";
    for (text, url) in [
        (format!("proxy_url: http://127.0.0.1:{}\n", proxy.port), "http://192.0.2.1/".to_owned()),
        (format!("proxy_url: http://localhost:{}\n", proxy.port), "http://192.0.2.1/".to_owned()),
        (
            format!("oauth2: {{client_id: a, token_url: 'http://127.0.0.1:{}/'}}\n", target.port),
            "http://192.0.2.1/".to_owned(),
        ),
    ] {
        let error = post(&client(folder.path(), &format!("{deny}{text}")), &url).await.unwrap_err();
        assert!(error.detail.contains("no connection is allowed"), "{text}: {error}");
        assert!(!error.ambiguous, "{error}");
    }
    // A target that is written as an address is checked, though the proxy would connect to it.
    let text = format!("proxy_url: http://127.0.0.1:{}\ndeny_addresses: [192.0.2.0/24]\n", proxy.port);
    for url in ["http://192.0.2.1/", "http://169.254.169.254/latest"] {
        let error = post(&client(folder.path(), &text), url).await.unwrap_err();
        assert!(error.detail.contains("no connection is allowed"), "{error}");
    }
    assert_eq!((proxy.seen().len(), target.seen().len()), (0, 0));
}

#[tokio::test]
async fn a_token_is_kept_and_renewed_after_a_401() {
    let tokens = Server::counting(|n, _| {
        let token =
            format!("{{\"access_token\":\"token-{n}\",\"token_type\":\"bearer\",\"expires_in\":3600}}");
        answer(200, "Content-Type: application/json\r\n", &token)
    })
    .await;
    let answers = |n, _: &str| if n == 2 { answer(401, "", "expired") } else { answer(200, "", "") };
    let target = Server::counting(answers).await;
    let folder = folder();
    std::fs::write(folder.path().join("secret"), "p&ss word\n").unwrap();
    let text = format!(
        "oauth2:\n  client_id: 'me:1'\n  client_secret_file: secret\n  scopes: [page, write]\n  \
         token_url: 'http://127.0.0.1:{}/token'\n  endpoint_params: {{audience: 'a b'}}\n",
        tokens.port
    );
    let client = client(folder.path(), &text);
    let url = format!("http://127.0.0.1:{}/", target.port);
    for _ in 0..3 {
        assert_eq!(post(&client, &url).await.unwrap().status, 200);
    }
    // Each request once, and the second one again under a new token.
    assert_eq!((target.seen().len(), tokens.seen().len()), (4, 2));
    for (seen, token) in target.seen().iter().zip(["token-1", "token-1", "token-2", "token-2"]) {
        assert!(seen.contains(&format!("\r\nauthorization: bearer {token}\r\n")), "{seen}");
    }
    let asked = &tokens.seen()[0];
    assert!(asked.starts_with("post /token http/1.1\r\n"), "{asked}");
    // RFC 6749, section 2.3.1: both halves are encoded before base64.
    assert!(asked.contains("\r\nauthorization: basic bwulm0exonalmjzzcyt3b3jk\r\n"), "{asked}");
    assert!(asked.ends_with("grant_type=client_credentials&scope=page+write&audience=a+b"), "{asked}");
}

#[tokio::test]
async fn a_token_is_renewed_before_its_end_and_asked_for_as_the_server_wants_it() {
    let tokens = Server::start(None, |request| {
        if request.contains("\r\nauthorization: basic") {
            return answer(401, "", "{\"error\":\"invalid_client\"}");
        }
        answer(200, "", "{\"access_token\":\"t0ken\",\"expires_in\":\"9\"}")
    })
    .await;
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let folder = folder();
    let text = format!(
        "oauth2: {{client_id: me, client_secret: s3cret, token_url: 'http://127.0.0.1:{}/'}}\n",
        tokens.port
    );
    let client = client(folder.path(), &text);
    for _ in 0..2 {
        assert_eq!(post(&client, &format!("http://127.0.0.1:{}/", target.port)).await.unwrap().status, 200);
    }
    // A token of 9 s is too short to be kept. The way that worked is kept.
    let seen = tokens.seen();
    assert_eq!(seen.len(), 3, "{seen:?}");
    assert!(seen[2].ends_with("grant_type=client_credentials&client_id=me&client_secret=s3cret"), "{seen:?}");
}

/// The parts of a token of the fake's only client, if its signature is good.
fn claims(assertion: &str, scheme: SignatureScheme) -> Option<[Value; 2]> {
    let (signed, signature) = assertion.rsplit_once('.')?;
    let plain = |text: &str| URL_SAFE_NO_PAD.decode(text).ok();
    let public = include_bytes!("../data/jwt/public.der");
    let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
    let (_, known) = algorithms.mapping.iter().find(|(known, _)| *known == scheme)?;
    let verified = known
        .iter()
        .any(|a| a.verify_signature(public, signed.as_bytes(), &plain(signature).unwrap()).is_ok());
    let (header, body) = signed.split_once('.').filter(|_| verified)?;
    let json = |text| serde_json::from_slice(&plain(text)?).ok();
    Some([json(header)?, json(body)?])
}

/// RFC 7523, section 2.1, as prometheus/common does it.
#[tokio::test]
async fn a_token_is_granted_for_one_that_the_client_signs() {
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let folder = folder();
    let key = include_str!("../data/jwt/key.pem");
    std::fs::write(folder.path().join("key.pem"), key).unwrap();
    let url = format!("http://127.0.0.1:{}/", target.port);
    for (more, scheme, algorithm) in [
        ("", SignatureScheme::RSA_PKCS1_SHA256, "RS256"),
        ("  signature_algorithm: RS384\n", SignatureScheme::RSA_PKCS1_SHA384, "RS384"),
        ("  signature_algorithm: RS512\n", SignatureScheme::RSA_PKCS1_SHA512, "RS512"),
    ] {
        let tokens = Server::start(None, move |request| {
            let (head, body) = request.split_once("\r\n\r\n").unwrap();
            let form = form(body);
            let field = |name: &str| form[name].as_str().unwrap_or_default().to_owned();
            let good = claims(&field("assertion"), scheme).is_some()
                && field("grant_type") == "urn:ietf:params:oauth:grant-type:jwt-bearer"
                && (field("scope"), field("tenant")) == ("page write".to_owned(), "t 1".to_owned())
                && !head.contains("\r\nauthorization:");
            match good {
                true => answer(200, "", "{\"access_token\":\"t0ken\",\"token_type\":\"Bearer\"}"),
                false => answer(400, "", "{\"error\":\"invalid_grant\"}"),
            }
        })
        .await;
        let text = format!(
            "oauth2:\n  grant_type: urn:ietf:params:oauth:grant-type:jwt-bearer\n  client_id: me\n  \
             client_certificate_key_file: key.pem\n  client_certificate_key_id: k1\n  scopes: [page, write]\n  \
             claims: {{tenant: bakery, level: 2, sub: other, text: '5'}}\n  endpoint_params: {{tenant: t 1}}\n  \
             token_url: 'http://127.0.0.1:{}/token'\n{more}",
            tokens.port
        );
        let client = client(folder.path(), &text);
        for _ in 0..2 {
            assert_eq!(post(&client, &url).await.unwrap().status, 200);
        }
        assert!(target.seen().last().unwrap().contains("\r\nauthorization: bearer t0ken\r\n"));
        let seen = tokens.seen();
        assert_eq!(seen.len(), 1, "the token is kept");
        let assertion = form(seen[0].split_once("\r\n\r\n").unwrap().1)["assertion"].clone();
        let [header, mut claims] = claims(assertion.as_str().unwrap(), scheme).unwrap();
        assert_eq!(header, json!({"alg": algorithm, "kid": "k1", "typ": "JWT"}));
        let id = claims.as_object_mut().unwrap().remove("jti").unwrap();
        assert_eq!(id.as_str().map(str::len), Some(32));
        let audience = format!("http://127.0.0.1:{}/token", tokens.port);
        let expected = json!({
            "iss": "me", "sub": "other", "aud": audience, "iat": 1_700_000_000, "exp": 1_700_000_600,
            "scope": "page write", "tenant": "bakery", "level": 2, "text": "5",
        });
        assert_eq!(claims, expected);
    }
}

#[tokio::test]
async fn a_key_that_cannot_sign_is_named_and_not_shown() {
    let folder = folder();
    let elliptic = Authority::new().client().1;
    for (key, says) in [("hunter2", "is not PEM"), (elliptic.as_str(), "is not an RSA key. Write one")] {
        std::fs::write(folder.path().join("key.pem"), key).unwrap();
        let text = "oauth2: {grant_type: 'urn:ietf:params:oauth:grant-type:jwt-bearer', client_id: me, \
                    client_certificate_key_file: key.pem, token_url: 'http://127.0.0.1:1/'}\n";
        let error = post(&client(folder.path(), text), "http://127.0.0.1:1/").await.unwrap_err();
        assert!(error.detail.contains("client_certificate_key") && error.detail.contains(says), "{error}");
        assert!(!error.detail.contains("hunter2") && !error.ambiguous, "{error}");
    }
}

#[tokio::test]
async fn a_server_of_tokens_that_refuses_is_named_without_the_secret() {
    let tokens = Server::start(None, |_| answer(400, "", "no: s3cret")).await;
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let folder = folder();
    let text = format!(
        "oauth2: {{client_id: me, client_secret: s3cret, token_url: 'http://127.0.0.1:{}/'}}\n",
        tokens.port
    );
    let client = client(folder.path(), &text);
    let error = post(&client, &format!("http://127.0.0.1:{}/", target.port)).await.unwrap_err();
    assert_eq!(error.detail, "oauth2: token_url answered status 400: no: <secret>");
    assert!(!error.ambiguous && target.seen().is_empty());
}

#[tokio::test]
async fn a_client_certificate_is_shown_and_a_renewed_one_counts_at_once() {
    let (authority, others) = (Authority::new(), Authority::new());
    let server =
        Server::start(Some(authority.acceptor("receiver.test", Some(&authority))), |_| answer(200, "", ""))
            .await;
    let url = format!("https://127.0.0.1:{}/", server.port);
    let folder = folder();
    authority.write_ca(folder.path());
    others.write_client(folder.path());
    let trust = "ca_file: ca.pem, server_name: receiver.test";
    let without = client(folder.path(), &format!("tls_config: {{{trust}}}\n"));
    assert!(post(&without, &url).await.is_err(), "the server asks for a certificate");
    let with =
        client(folder.path(), &format!("tls_config: {{{trust}, cert_file: c.pem, key_file: k.pem}}\n"));
    assert!(post(&with, &url).await.is_err(), "another authority signed it");
    authority.write_client(folder.path());
    assert_eq!(post(&with, &url).await.unwrap().status, 200);
    // Files that are gone or broken cost nothing while the client has read them once.
    std::fs::write(folder.path().join("c.pem"), "broken").unwrap();
    assert_eq!(post(&with, &url).await.unwrap().status, 200);
    std::fs::remove_file(folder.path().join("k.pem")).unwrap();
    assert_eq!(post(&with, &url).await.unwrap().status, 200);
    // The same inline.
    let (cert, key) = authority.client();
    let indented = |pem: &str| pem.lines().map(|line| format!("    {line}\n")).collect::<String>();
    let inline = format!(
        "tls_config:\n  server_name: receiver.test\n  ca: |\n{}  cert: |\n{}  key: |\n{}",
        indented(&authority.pem()),
        indented(&cert),
        indented(&key)
    );
    assert_eq!(post(&client(folder.path(), &inline), &url).await.unwrap().status, 200);
}

#[tokio::test]
async fn the_server_is_verified_as_the_configuration_says() {
    let authority = Authority::new();
    let server =
        Server::start(Some(authority.acceptor("receiver.test", None)), |_| answer(200, "", "")).await;
    let old = Server::start(Some(authority.old_acceptor("receiver.test")), |_| answer(200, "", "")).await;
    let folder = folder();
    authority.write_ca(folder.path());
    let (new, old) = (server.port, old.port);
    for (tls, port, works) in [
        ("", new, false),
        ("ca_file: ca.pem", new, false),
        ("ca_file: ca.pem, server_name: receiver.test", new, true),
        ("ca_file: ca.pem, server_name: other.test", new, false),
        ("insecure_skip_verify: true", new, true),
        ("insecure_skip_verify: true, min_version: TLS12, max_version: TLS12", old, true),
        ("insecure_skip_verify: true, min_version: TLS10", old, true),
        ("insecure_skip_verify: true, min_version: TLS13", old, false),
        ("insecure_skip_verify: true, min_version: TLS13, max_version: TLS13", new, true),
    ] {
        let client = client(folder.path(), &format!("tls_config: {{{tls}}}\n"));
        let answered = post(&client, &format!("https://127.0.0.1:{port}/")).await;
        assert_eq!(answered.is_ok(), works, "{tls}: {answered:?}");
        if let Err(error) = answered {
            assert!(!error.ambiguous, "{tls}: {error}");
        }
    }
}

#[tokio::test]
async fn redirects_stay_at_the_host_and_keep_the_message() {
    let authority = Authority::new();
    let secure = Server::start(Some(authority.acceptor("localhost", None)), |_| answer(200, "", "")).await;
    let other = Server::start(None, |_| answer(200, "", "")).await;
    let to_secure = format!("Location: https://localhost:{}/new?a=1\r\n", secure.port);
    let to_other = format!("Location: http://127.0.0.1:{}/\r\n", other.port);
    let to_port = format!("Location: http://localhost:{}/\r\n", other.port);
    let server = Server::start(None, move |request| {
        let path = request.split(' ').nth(1).unwrap_or_default();
        match path {
            "/secure" => answer(308, &to_secure, ""),
            "/other" => answer(307, &to_other, ""),
            "/port" => answer(307, &to_port, ""),
            "/loop" => answer(307, "Location: loop\r\n", ""),
            "/moved" => answer(301, "Location: /there\r\n", ""),
            _ => answer(200, "", ""),
        }
    })
    .await;
    let folder = folder();
    authority.write_ca(folder.path());
    let text = "tls_config: {ca_file: ca.pem}\nauthorization: {credentials: t0ken}\n";
    let follows = client(folder.path(), text);
    let url = |path: &str| format!("http://localhost:{}{path}", server.port);
    assert_eq!(post(&follows, &url("/secure")).await.unwrap().status, 200);
    let seen = secure.seen();
    let [seen] = &seen[..] else { panic!("{seen:?}") };
    assert!(seen.starts_with("post /new?a=1 http/1.1\r\n") && seen.ends_with("{\"page\":1}"), "{seen}");
    assert!(seen.contains("authorization: bearer t0ken") && seen.contains("host: localhost"), "{seen}");
    for (path, says) in [
        ("/other", "a redirect to http://127.0.0.1"),
        ("/port", "which is another port"),
        ("/loop", "more than 10 redirects"),
        ("/moved", "would drop the message"),
    ] {
        let error = post(&follows, &url(path)).await.unwrap_err();
        assert!(error.detail.contains(says), "{path}: {error}");
        assert!(!error.ambiguous, "{path}: {error}");
    }
    assert!(other.seen().is_empty(), "a redirect leads the credentials elsewhere: {:?}", other.seen());
    assert_eq!(follows.get(&url("/moved"), 100).await.unwrap().status, 200);
    let stays = client(folder.path(), &format!("{text}follow_redirects: false\n"));
    assert_eq!(post(&stays, &url("/secure")).await.unwrap().status, 308);
}

#[tokio::test]
async fn credentials_and_headers_come_from_files_too() {
    let target = Server::start(None, |_| answer(200, "", "")).await;
    let folder = folder();
    for (name, text) in
        [("user", "me\n"), ("password", "pass\n"), ("token", "t0ken\n"), ("header", "third\n")]
    {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let url = format!("http://127.0.0.1:{}/", target.port);
    for (text, header) in [
        ("basic_auth: {username_file: user, password_file: password}", "authorization: basic bwu6cgfzcw=="),
        ("bearer_token: t0ken", "authorization: bearer t0ken"),
        ("bearer_token_file: token", "authorization: bearer t0ken"),
        ("authorization: {type: Token, credentials_file: token}", "authorization: token t0ken"),
        (
            "http_headers: {X-A: {values: [first], secrets: [second], files: [header]}}",
            "x-a: first\r\nx-a: second\r\nx-a: third",
        ),
    ] {
        post(&client(folder.path(), text), &url).await.unwrap();
        let seen = target.seen().pop().unwrap_or_default();
        assert!(seen.contains(&format!("\r\n{header}\r\n")), "{text}: {seen}");
    }
}
