//! The roles of callers, over real sockets: tokens, passwords, certificates, and reloads.

mod forwarding;
mod mistakes;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use arc_swap::ArcSwap;
use base64::Engine as _;
use rcgen::{CertificateParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use squelch::config::{self, WebConfig};
use squelch::ingest::InvalidReason;
use squelch::journal::{DeadLetters, LetterQuery};
use squelch::model::{Batch, Duration, NotificationId, SilenceRequest, Source, Timestamp};
use squelch::web::{
    Access, Area, Bounded, BoxFuture, Gate, ReleaseError, ReplayError, Replicated, ServerLimits,
    SilenceFailure, Unavailable, serve,
};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const ALERT: &str =
    r#"{"version":"4","externalURL":"http://b","alerts":[{"status":"firing","labels":{"a":"b"}}]}"#;
const SILENCE: &str = r#"{"matchers":[{"name":"a","value":"b","isRegex":false}],"startsAt":"2026-11-23T00:00:00Z",
    "endsAt":"2026-11-24T00:00:00Z","createdBy":"somebody else","comment":"why"}"#;

/// A node that takes everything, and remembers the senders.
struct Fake {
    access: ArcSwap<Access>,
    peers: Mutex<Vec<String>>,
    silenced_by: Mutex<Vec<String>>,
    refused: Mutex<Vec<&'static str>>,
    rejected: Mutex<Vec<InvalidReason>>,
    bounded: Mutex<Vec<Bounded>>,
    replicated: Mutex<Option<Replicated>>,
}

impl Gate for Fake {
    fn now(&self) -> Timestamp {
        Timestamp::parse("2026-11-23T00:15:00Z").unwrap()
    }
    fn resolve_timeout(&self) -> Duration {
        Duration::from_mins(5)
    }
    fn access(&self) -> Arc<Access> {
        self.access.load_full()
    }
    fn refused(&self, area: Area) {
        self.refused.lock().unwrap().push(area.as_str());
    }
    fn crowded(&self) {}
    fn replicated(&self) -> Option<Replicated> {
        self.replicated.lock().unwrap().clone()
    }
    fn bounded(&self, bound: Bounded) {
        self.bounded.lock().unwrap().push(bound);
    }
    fn accept(
        &self,
        batch: Batch,
        _: Option<squelch::spans::TraceContext>,
    ) -> BoxFuture<'_, Result<(), Unavailable>> {
        self.peers.lock().unwrap().push(batch.peer.to_string());
        Box::pin(async { Ok(()) })
    }
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
    fn reload(&self) -> BoxFuture<'_, Result<String, String>> {
        Box::pin(async { Ok(String::new()) })
    }
    fn metrics(&self) -> String {
        "squelch_build_info 1\n".into()
    }
    fn decisions(
        &self,
        _: squelch::decision_log::DecisionQuery,
    ) -> BoxFuture<'_, Result<squelch::decision_log::DecisionPage, squelch::web::SearchError>> {
        Box::pin(async { Err(squelch::web::SearchError::Busy) })
    }
    fn noise(
        &self,
        _: Timestamp,
        _: Timestamp,
    ) -> BoxFuture<'_, Result<squelch::decision_log::Tally, squelch::web::SearchError>> {
        Box::pin(async { Ok(squelch::decision_log::Tally::default()) })
    }
    fn dead_letters(&self, _: LetterQuery) -> BoxFuture<'_, Result<DeadLetters, Unavailable>> {
        Box::pin(async { Ok(DeadLetters::default()) })
    }
    fn replay(&self, _: NotificationId) -> BoxFuture<'_, Result<(), ReplayError>> {
        Box::pin(async { Ok(()) })
    }
    fn silence(&self, request: SilenceRequest) -> BoxFuture<'_, Result<smol_str::SmolStr, SilenceFailure>> {
        if let SilenceRequest::Set(silence) = request {
            self.silenced_by.lock().unwrap().push(silence.created_by.to_string());
        }
        Box::pin(async { Ok("made".into()) })
    }
    fn release(&self, _: squelch::engine::Release) -> BoxFuture<'_, Result<(), ReleaseError>> {
        Box::pin(async { Ok(()) })
    }
    fn look(&self, look: squelch::web::Look) {
        look(Err("there is no engine here"));
    }
    fn stats(&self) -> Arc<squelch::engine::Stats> {
        Arc::default()
    }
    fn health(&self) -> std::collections::BTreeMap<smol_str::SmolStr, squelch::deliver::Health> {
        Default::default()
    }
    fn configuration(&self) -> Arc<str> {
        "".into()
    }
    fn rejected(&self, _: Source, reason: InvalidReason) {
        self.rejected.lock().unwrap().push(reason);
    }
    fn answered(&self, _: &str, _: u16) {}
}

const MINIMAL: &str = "route: {receiver: a}\nreceivers: [{name: a}]\n";

/// The access rules of a minimal `squelch.yml` with `ours`, and of the web-config file.
fn access(ours: &str, web: &str, base: &std::path::Path) -> Access {
    let config =
        config::parse(&format!("{MINIMAL}{ours}"), "squelch.yml", base).unwrap_or_else(|e| panic!("{e}"));
    let web: WebConfig = config::parse_web(web, "web.yml", base).unwrap_or_else(|e| panic!("{e}"));
    Access::new(&config.access, &web).unwrap_or_else(|e| panic!("{e}"))
}

async fn start(access: Access) -> (Arc<Fake>, SocketAddr) {
    let fake = Arc::new(Fake {
        access: ArcSwap::from_pointee(access),
        peers: Mutex::default(),
        silenced_by: Mutex::default(),
        refused: Mutex::default(),
        rejected: Mutex::default(),
        bounded: Mutex::default(),
        replicated: Mutex::default(),
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(serve(listener, fake.clone(), ServerLimits::default(), std::future::pending()));
    (fake, address)
}

/// Head and body of the answer.
async fn over(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> String {
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
         {headers}Content-Length: {length}\r\n\r\n{body}"
    );
    let mut answer = Vec::new();
    let talk = async {
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_end(&mut answer).await;
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), talk).await.expect("an answer");
    String::from_utf8(answer).unwrap()
}

async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
    let answer = over(TcpStream::connect(address).await.unwrap(), method, path, headers, body).await;
    (answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0), answer)
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}\r\n")
}

fn basic(user: &str, password: &str) -> String {
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

const RULES: &str = "
sources:
  - {name: am-a, authorization: {credentials: token-of-am-a}}
  - {name: am-b, basic_auth: {username: am, password_file: am-b.password}}
users:
  - {name: scrape, role: read, authorization: {credentials: token-of-scrape}}
  - {name: bot, role: silence, authorization: {credentials: token-of-bot}}
  - {name: alice, role: admin}
";

fn web_users() -> String {
    let hash = |password| bcrypt::hash_with_salt(password, 4, [9; 16]).unwrap().to_string();
    format!("basic_auth_users: {{alice: {}, carol: {}}}\n", hash("wonderland"), hash("carols"))
}

/// Passwords that take long to check hold up no caller with a token, and not even each other for long.
#[tokio::test]
async fn a_flood_of_wrong_passwords_keeps_no_source_out() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("am-b.password"), "hunter22\n").unwrap();
    let slow = bcrypt::hash_with_salt("wonderland", 11, [9; 16]).unwrap();
    let web = format!("basic_auth_users: {{alice: {slow}}}\n");
    let (fake, address) = start(access(RULES, &web, folder.path())).await;
    let mut guesses = tokio::task::JoinSet::new();
    for n in 0..60 {
        let guess = basic("alice", &format!("guess {n}"));
        guesses.spawn(async move { ask(address, "GET", "/metrics", &guess, "").await });
    }
    let first = guesses.join_next().await.unwrap().unwrap();
    assert_eq!(first.0, 503, "one that is refused is the first to hear: {}", first.1);
    assert!(first.1.to_lowercase().contains("connection: close"), "{}", first.1);
    let hook = ask(address, "POST", "/alertmanager/webhook", &bearer("token-of-am-a"), ALERT).await;
    assert_eq!(hook.0, 200, "{}", hook.1);
    assert_eq!(ask(address, "GET", "/-/healthy", "", "").await.0, 200);
    assert_eq!(ask(address, "GET", "/metrics", &bearer("token-of-scrape"), "").await.0, 200);
    let mut answers: Vec<u16> = vec![first.0];
    while let Some(answer) = guesses.join_next().await {
        answers.push(answer.unwrap().0);
    }
    let of = |status| answers.iter().filter(|found| **found == status).count();
    assert_eq!(of(401) + of(503), 60, "{answers:?}");
    assert!(of(401) >= 2 && fake.bounded.lock().unwrap().len() == of(503), "{answers:?}");
    assert_eq!(ask(address, "GET", "/metrics", &basic("alice", "wonderland"), "").await.0, 200);
}

#[tokio::test]
async fn each_may_do_what_its_role_says_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("am-b.password"), "hunter22\n").unwrap();
    let (fake, address) = start(access(RULES, &web_users(), folder.path())).await;
    let (am_a, am_b) = (bearer("token-of-am-a"), basic("am", "hunter22"));
    let (scrape, bot) = (bearer("token-of-scrape"), bearer("token-of-bot"));
    let (alice, carol) = (basic("alice", "wonderland"), basic("carol", "carols"));
    let wrong = [
        String::new(),
        bearer("token-of-am-b"),
        bearer(""),
        basic("am", "hunter2"),
        basic("alice", "carols"),
        basic("nobody", "wonderland"),
        format!("{am_a}{am_a}"),
        "Authorization: Bearer\r\n".into(),
    ];
    let hook = ("POST", "/alertmanager/webhook", ALERT);
    let look = ("GET", "/api/v1/openapi.json", "");
    let silence = ("POST", "/api/v2/silences", SILENCE);
    let expire = ("DELETE", "/api/v1/silences/x", "");
    let reload = ("POST", "/-/reload", "");
    let replay = ("POST", "/api/v1/dead-letters/7/replay", "");
    let nothing = ("POST", "/no/such/path", "");
    let table = [
        (&am_a, [200, 401, 401, 401, 401, 401, 401]),
        (&am_b, [200, 401, 401, 401, 401, 401, 401]),
        (&scrape, [401, 200, 403, 403, 403, 403, 403]),
        (&bot, [401, 200, 200, 200, 403, 403, 403]),
        (&alice, [401, 200, 200, 200, 200, 202, 404]),
        // Not named in `users`: may look.
        (&carol, [401, 200, 403, 403, 403, 403, 403]),
    ];
    let asks = [hook, look, silence, expire, reload, replay, nothing];
    for (who, codes) in table.into_iter().chain(wrong.iter().map(|who| (who, [401; 7]))) {
        for ((method, path, body), expected) in asks.into_iter().zip(codes) {
            let (code, answer) = ask(address, method, path, who, body).await;
            assert_eq!(code, expected, "{method} {path} by {who:?}: {answer}");
            assert_eq!(code == 401, answer.contains("www-authenticate: Basic"), "{answer}");
            assert!(!answer.contains("token-of") && !answer.contains("hunter22"), "{answer}");
        }
    }
    assert_eq!(*fake.peers.lock().unwrap(), ["am-a@http://b", "am-b@http://b"], "bound to its credentials");
    assert_eq!(*fake.silenced_by.lock().unwrap(), ["bot", "alice"], "nobody signs for somebody else");
    assert!(
        ["ingest", "read", "silence", "admin"].iter().all(|area| fake.refused.lock().unwrap().contains(area))
    );
    let person = |who: &str| format!("{who}Accept: text/html\r\n");
    let (code, page) = ask(address, "POST", "/incident/acknowledge", &person(&scrape), "").await;
    assert!(code == 403 && page.contains("<h1>You may not do this</h1>"), "{code}: {page}");
    assert!(page.contains("scrape has the role read, and this needs silence"), "{page}");
    let (code, page) = ask(address, "GET", "/", &person(""), "").await;
    assert!(code == 401 && page.contains("www-authenticate: Basic"), "{code}: {page}");
    assert!(page.contains("<h1>You are not logged in</h1>") && !page.contains("as of"), "{page}");
    let (code, page) = ask(address, "GET", "/no/such/page", &person(&scrape), "").await;
    assert!(code == 404 && page.contains("There is no page here") && !page.contains("webhook"), "{page}");
    for path in ["/-/healthy", "/-/ready"] {
        assert_eq!(ask(address, "GET", path, "", "").await.0, 200, "a probe has no password");
    }
}

/// Only a source can lose alerts at a wrong path. Requests of strangers raise no alarm.
#[tokio::test]
async fn alerts_of_a_source_at_a_wrong_path_count_and_those_of_strangers_do_not() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("am-b.password"), "hunter22\n").unwrap();
    let (fake, address) = start(access(RULES, &web_users(), folder.path())).await;
    let paths = ["/no/such/path", "/api/v1/alerts", "/-/reload", "/api/v2/silences"];
    for (who, count) in [(String::new(), 0), (bearer("wrong"), 0), (bearer("token-of-am-a"), paths.len())] {
        for path in paths {
            assert_eq!(ask(address, "POST", path, &who, ALERT).await.0, 401, "{path}");
        }
        assert_eq!(*fake.rejected.lock().unwrap(), vec![InvalidReason::WrongPath; count], "{who}");
    }
}

#[tokio::test]
async fn without_sources_whoever_may_administer_may_send() {
    let (fake, address) = start(access("", &web_users(), "".as_ref())).await;
    for (who, code) in [(basic("alice", "wonderland"), 200), (String::new(), 401), (basic("alice", "x"), 401)]
    {
        assert_eq!(ask(address, "POST", "/api/v2/alerts", &who, r#"[{"labels":{"a":"b"}}]"#).await.0, code);
    }
    assert_eq!(*fake.peers.lock().unwrap(), ["alice@127.0.0.1"]);
}

#[tokio::test]
async fn sources_alone_leave_the_rest_open_as_before() {
    let rules = "sources: [{name: a, authorization: {credentials: abc}}]\n";
    let (_, address) = start(access(rules, "", "".as_ref())).await;
    assert_eq!(ask(address, "GET", "/api/v1/openapi.json", "", "").await.0, 200);
    assert_eq!(ask(address, "POST", "/alertmanager/webhook", "", ALERT).await.0, 401);
}

#[tokio::test]
async fn a_reload_takes_away_what_was_allowed_on_open_connections_too() {
    let rules = "sources: [{name: a, authorization: {credentials: abc}}]\n";
    let (fake, address) = start(access(rules, "", "".as_ref())).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!(
        "POST /alertmanager/webhook HTTP/1.1\r\nHost: localhost\r\n{}Content-Length: {}\r\n\r\n{ALERT}",
        bearer("abc"),
        ALERT.len()
    );
    for expected in ["HTTP/1.1 200", "HTTP/1.1 401"] {
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = vec![0; 4096];
        let n = stream.read(&mut answer).await.unwrap();
        assert!(answer[..n].starts_with(expected.as_bytes()), "{}", String::from_utf8_lossy(&answer[..n]));
        fake.access.store(Arc::new(access(&rules.replace("abc", "abd"), "", "".as_ref())));
    }
}

#[tokio::test]
async fn every_answer_carries_the_headers_and_the_web_config_has_the_last_word() {
    let web =
        "http_server_config: {headers: {Strict-Transport-Security: max-age=1, X-Frame-Options: sameorigin}}";
    let (_, address) = start(access("", web, "".as_ref())).await;
    for (method, path) in
        [("GET", "/"), ("GET", "/metrics"), ("GET", "/no"), ("POST", "/alertmanager/webhook"), ("PUT", "/")]
    {
        let (_, answer) = ask(address, method, path, "", "").await;
        for header in [
            "content-security-policy: default-src 'none'; script-src 'self'",
            "x-content-type-options: nosniff",
            // A page's own forms would come as if from nowhere.
            if path == "/" && method == "GET" {
                "referrer-policy: same-origin"
            } else {
                "referrer-policy: no-referrer"
            },
            "x-frame-options: sameorigin",
            "strict-transport-security: max-age=1",
        ] {
            assert!(answer.contains(header), "{method} {path}: {answer}");
        }
    }
    let (_, answer) = ask(address, "GET", "/api/v1/openapi.json", "", "").await;
    assert!(answer.contains("cache-control: no-store"), "{answer}");
}

#[tokio::test]
async fn the_buttons_of_the_pages_ask_who_presses_them() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("am-b.password"), "hunter22").unwrap();
    let (_, address) = start(access(RULES, &web_users(), folder.path())).await;
    let (scrape, bot) = (bearer("token-of-scrape"), bearer("token-of-bot"));
    let alice = basic("alice", "wonderland");
    // A caller with the right role learns that this is no form.
    for (path, codes) in [
        ("/act/silence", [401, 403, 415, 415]),
        ("/silences/expire", [401, 403, 415, 415]),
        ("/act/release", [401, 403, 403, 415]),
    ] {
        for (who, expected) in [&String::new(), &scrape, &bot, &alice].into_iter().zip(codes) {
            let (code, answer) = ask(address, "POST", path, who, "{}").await;
            assert_eq!(code, expected, "{path} by {who:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn a_page_of_another_site_reaches_nothing_that_changes() {
    let (fake, address) = start(Access::open()).await;
    let evil = "Origin: http://evil.example\r\n";
    for (method, path, body) in [
        ("POST", "/alertmanager/webhook", ALERT),
        ("POST", "/api/v2/silences", SILENCE),
        ("DELETE", "/api/v2/silence/x", ""),
        ("POST", "/api/v1/silences", SILENCE),
        ("DELETE", "/api/v1/silences/x", ""),
        ("POST", "/api/v1/dead-letters/7/replay", ""),
        ("POST", "/act/silence", ""),
        ("POST", "/act/release", ""),
        ("POST", "/silences/expire", ""),
        ("POST", "/-/reload", ""),
    ] {
        let (code, answer) = ask(address, method, path, evil, body).await;
        assert_eq!(code, 403, "{answer}");
    }
    assert!(fake.peers.lock().unwrap().is_empty() && fake.silenced_by.lock().unwrap().is_empty());
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET /api/v1/alerts HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 403") && answer.contains("--web.external-url"), "{answer}");
}

/// A certificate authority with a server and clients, as files.
struct Pki {
    folder: tempfile::TempDir,
    ca: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), ca.pem()).unwrap();
        let pki = Pki { folder, ca };
        pki.issue("server", "localhost");
        pki
    }

    fn issue(&self, file: &str, name: &str) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &self.ca).unwrap();
        std::fs::write(self.path(&format!("{file}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
    }

    fn path(&self, file: &str) -> std::path::PathBuf {
        self.folder.path().join(file)
    }

    fn access(&self, ours: &str, tls: &str) -> Access {
        let web = format!("tls_server_config: {{cert_file: server.pem, key_file: server.key{tls}}}\n");
        access(ours, &web, self.folder.path())
    }

    /// A client that trusts the authority, with a certificate if one is named.
    fn client(&self, certificate: Option<&str>) -> rustls::ClientConfig {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = vec![CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap()];
                let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        }
    }
}

/// The answer's code over TLS. It is 0 if there was no connection.
async fn secure(
    address: SocketAddr,
    client: rustls::ClientConfig,
    method: &str,
    path: &str,
    body: &str,
) -> u16 {
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let Ok(stream) = tokio_rustls::TlsConnector::from(Arc::new(client)).connect(name, stream).await else {
        return 0;
    };
    let answer = over(stream, method, path, "", body).await;
    answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn tls_with_client_certificates_tells_sources_apart() {
    let pki = Pki::new();
    pki.issue("am", "am-a.example");
    pki.issue("other", "other.example");
    let rules = "sources: [{name: am-a, client_san: am-a.example}]\n";
    let tls = ", client_auth_type: VerifyClientCertIfGiven, client_ca_file: ca.pem";
    let (fake, address) = start(pki.access(rules, tls)).await;
    let hook = async |client| secure(address, client, "POST", "/alertmanager/webhook", ALERT).await;
    assert_eq!(hook(pki.client(Some("am"))).await, 200);
    assert_eq!(hook(pki.client(Some("other"))).await, 401);
    assert_eq!(hook(pki.client(None)).await, 401);
    assert_eq!(*fake.peers.lock().unwrap(), ["am-a@http://b"]);
    // A certificate of the same name that no trusted authority has signed.
    let strangers = Pki::new();
    strangers.issue("am", "am-a.example");
    std::fs::copy(pki.path("ca.pem"), strangers.path("ca.pem")).unwrap();
    assert_eq!(hook(strangers.client(Some("am"))).await, 0);
    assert_eq!(ask(address, "GET", "/-/healthy", "", "").await.0, 0, "no plain HTTP beside TLS");
}

#[tokio::test]
async fn required_certificates_and_allowed_names_are_required() {
    let pki = Pki::new();
    pki.issue("am", "am-a.example");
    pki.issue("other", "other.example");
    let tls = ", client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem, client_allowed_sans: [am-a.example]";
    let (_, address) = start(pki.access("", tls)).await;
    let code = async |name| secure(address, pki.client(name), "GET", "/-/healthy", "").await;
    assert_eq!((code(Some("am")).await, code(Some("other")).await, code(None).await), (200, 0, 0));
}

#[tokio::test]
async fn a_new_certificate_serves_new_connections_and_drops_no_old_one() {
    let pki = Pki::new();
    let (fake, address) = start(pki.access("", "")).await;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(pki.client(None)));
    let mut old = connector.connect(name, TcpStream::connect(address).await.unwrap()).await.unwrap();
    let next = Pki::new();
    fake.access.store(Arc::new(next.access("", "")));
    assert_eq!(
        secure(address, pki.client(None), "GET", "/-/healthy", "").await,
        0,
        "the old authority is not in force"
    );
    assert_eq!(secure(address, next.client(None), "GET", "/-/healthy", "").await, 200);
    old.write_all(b"GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = old.read_to_string(&mut answer).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn the_oldest_version_that_is_allowed_is_the_oldest_that_is_spoken() {
    let pki = Pki::new();
    let (_, address) = start(pki.access("", ", min_version: TLS13")).await;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(pki.path("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let old = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    assert_eq!(secure(address, old, "GET", "/-/healthy", "").await, 0);
    assert_eq!(secure(address, pki.client(None), "GET", "/-/healthy", "").await, 200);
}
