//! Mails against a mail server on this machine, and against those of the real Alertmanager.

mod smtp;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use squelch::config;
use squelch::model::{Kind, LabelSet, Notification, NotificationId, Outcome};

use crate::deliver::{World, notification};
use crate::e2e::child::{Child, free_port};
use crate::e2e::{http, until};
use crate::http_client::servers::Authority;
use smtp::{Manner, Received, Smtp};

/// A server that speaks TLS as `mail.test`, and the keys that a configuration needs to trust it.
struct Mail {
    server: Smtp,
    authority: Authority,
    folder: tempfile::TempDir,
}

impl Mail {
    async fn start(manner: Manner) -> Mail {
        let authority = Authority::new();
        let manner = Manner { tls: Some(authority.acceptor("mail.test", None)), ..manner };
        let folder = tempfile::tempdir().unwrap();
        authority.write_ca(folder.path());
        Mail { server: Smtp::start(manner).await, authority, folder }
    }

    /// One integration with these keys besides.
    fn world(&self, keys: &str) -> World {
        world(self.folder.path(), self.server.port, keys)
    }
}

const TRUST: &str = "tls_config: {ca_file: ca.pem, server_name: mail.test}";

fn parse(folder: &Path, port: u16, keys: &str) -> config::Config {
    let text = format!(
        "route: {{receiver: r}}\nreceivers:\n- name: r\n  email_configs:\n  - smarthost: '127.0.0.1:{port}'\n    \
         from: 'Squelch <squelch@example.org>'\n{}\n",
        keys.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    config::parse(&text, "squelch.yml", folder).unwrap_or_else(|error| panic!("{text}\n{error}"))
}

fn world(folder: &Path, port: u16, keys: &str) -> World {
    World::new(&parse(folder, port, keys).receivers)
}

fn page(id: u64) -> Notification {
    notification(id, "r", "email[0]", Kind::Page)
}

const PLAIN: &str = "to: ops@example.org\nrequire_tls: false\nhtml: ''\ntext: hello";

/// Sends a page with these keys, and returns the mail.
async fn sent(mail: &Mail, keys: &str, n: Notification) -> Received {
    let mut world = mail.world(keys);
    world.deliverer.send(n, false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted, "{:?}", mail.server.commands());
    mail.server.mails().pop().unwrap()
}

/// Waits until an attempt has failed with these words.
async fn fails(world: &World, says: &str) {
    let failed = async || {
        let health = world.deliverer.meter().health();
        let detail = health.values().find_map(|health| Some(health.failed.as_ref()?.detail.clone()));
        detail.filter(|detail| detail.contains(says))
    };
    until(says, failed).await;
}

#[tokio::test]
async fn a_mail_goes_out_under_tls_with_the_log_in_that_the_server_offers() {
    let login = "auth_username: tim\nauth_password: p\nauth_secret: tanstaaftanstaaf\nauth_identity: boss";
    for (implicit, auth, expected) in [
        (false, "", None),
        (false, "PLAIN LOGIN", Some("PLAIN boss/tim/p")),
        (true, "LOGIN PLAIN", Some("LOGIN tim p")),
        (true, "XOAUTH2 CRAM-MD5 PLAIN", Some("CRAM-MD5 tim b913a602c7eda7a495b4e6e7334d3890")),
    ] {
        let mail = Mail::start(Manner { implicit, auth, ..Manner::default() }).await;
        let keys = format!(
            "to: ops@example.org\nhello: squelch.test\n{TRUST}\nforce_implicit_tls: {implicit}\n{login}"
        );
        let received = sent(&mail, &keys, page(1)).await;
        assert!(received.secure, "{auth}");
        assert_eq!(received.login.as_deref(), expected, "{auth}");
        assert_eq!(
            (received.from.as_str(), received.to.as_slice()),
            ("squelch@example.org", &["ops@example.org".to_owned()][..])
        );
        let commands = mail.server.commands();
        assert_eq!(commands[0], "EHLO squelch.test", "{commands:?}");
        assert_eq!(commands.contains(&"STARTTLS".to_owned()), !implicit, "{commands:?}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_server_without_the_tls_that_is_required() {
    // No STARTTLS, a certificate of another authority, and a name that is not its own.
    let plain = Smtp::start(Manner::default()).await;
    let mail = Mail::start(Manner::default()).await;
    let other = Mail::start(Manner::default()).await;
    let folder = tempfile::tempdir().unwrap();
    other.authority.write_ca(folder.path());
    let wrong_name = "tls_config: {ca_file: ca.pem, server_name: other.test}";
    for (world, says) in [
        (world(folder.path(), plain.port, "to: a@example.org"), "does not offer STARTTLS"),
        (
            world(folder.path(), mail.server.port, &format!("to: a@example.org\n{TRUST}")),
            "TLS: invalid peer certificate",
        ),
        (mail.world(&format!("to: a@example.org\n{wrong_name}")), "TLS: invalid peer certificate"),
    ] {
        world.deliverer.send(page(1), false);
        fails(&world, says).await;
        world.deliverer.drain(Duration::ZERO).await;
    }
    for server in [&plain, &mail.server] {
        assert!(server.mails().is_empty());
        assert!(!server.commands().iter().any(|c| c.starts_with("MAIL") || c.starts_with("AUTH")));
    }
}

#[tokio::test]
async fn answers_are_judged_and_a_lost_one_may_have_arrived() {
    let mail = Mail::start(Manner { auth: "PLAIN", ..Manner::default() }).await;
    let keys = format!("{PLAIN}\nauth_username: u\nauth_password: hunter2");
    let mut world = mail.world(&keys);
    // Each passes, and the mail arrives once in the end.
    for (command, answer) in [
        ("", "421 4.3.2 Service not available, closing transmission channel"),
        ("", ""),
        ("EHLO", ""),
        ("AUTH", "454 4.7.0 Temporary authentication failure"),
        ("MAIL", "452 4.3.1 Insufficient system storage"),
        ("RCPT", "450 4.2.0 <ops@example.org>: Recipient address rejected: Greylisted"),
        ("DATA", "451 4.3.0 Error: queue file write error"),
        (".", "451 4.3.0 Temporary failure"),
        (".", ""),
    ] {
        mail.server.script(command, answer);
        let before = mail.server.mails().len();
        world.deliverer.send(page(1), false);
        let report = world.report().await;
        assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2), "{command} {answer}");
        assert_eq!(mail.server.mails().len(), before + 1, "{command} {answer}");
    }
    for (command, answer, reason, says) in [
        (
            "AUTH",
            "535 5.7.8 Error: authentication failed: hunter2",
            "authError",
            "authentication failed: <secret>",
        ),
        (
            "MAIL",
            "553 5.7.1 <squelch@example.org>: Sender address rejected: not owned by user u",
            "clientError",
            "not owned",
        ),
        (
            "RCPT",
            "550 5.1.1 <ops@example.org>: Recipient address rejected: User unknown",
            "clientError",
            "User unknown",
        ),
        ("DATA", "554 5.5.1 Error: no valid recipients", "clientError", "no valid recipients"),
        (".", "554 5.7.1 Blocked", "clientError", "Blocked"),
    ] {
        mail.server.script(command, answer);
        world.deliverer.send(page(2), false);
        let rejection = world.rejection().await;
        assert_eq!(rejection.reason, reason, "{answer}");
        assert!(
            rejection.detail.contains(says) && !rejection.detail.contains("hunter2"),
            "{}",
            rejection.detail
        );
        assert!(!rejection.ambiguous, "{answer}");
    }
    // The answer to a whole mail is lost, and the next attempt is refused.
    mail.server.script(".", "");
    mail.server.script(".", "550 5.7.1 No");
    world.deliverer.send(page(3), false);
    assert!(world.rejection().await.ambiguous);
}

/// An old server knows HELO alone. It offers neither TLS nor a log-in, so it gets no mail that needs them.
#[tokio::test]
async fn a_server_without_ehlo_gets_helo_where_no_tls_and_no_log_in_is_required() {
    for answer in ["500 5.5.1 Command unrecognized", "502 5.5.1 Command not implemented"] {
        let mail = Mail::start(Manner::default()).await;
        let (smtp, mut world) = (&mail.server, mail.world(PLAIN));
        smtp.script("EHLO", answer);
        world.deliverer.send(page(1), false);
        let report = world.report().await;
        assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 1), "{answer}");
        let commands = smtp.commands();
        let greeted: Vec<&str> =
            commands.iter().map(String::as_str).filter(|c| c.contains("localhost")).collect();
        assert_eq!(greeted, ["EHLO localhost", "HELO localhost"], "{commands:?}");
        assert_eq!((smtp.mails().len(), smtp.mails()[0].secure), (1, false));
        for keys in [
            format!("to: ops@example.org\n{TRUST}"),
            format!("{PLAIN}\nauth_username: u\nauth_password: hunter2"),
        ] {
            let mut world = mail.world(&keys);
            smtp.script("EHLO", answer);
            world.deliverer.send(page(2), false);
            let detail = world.rejection().await.detail;
            assert!(detail.contains(&answer[..3]), "{detail}");
        }
        assert_eq!(smtp.mails().len(), 1);
    }
}

#[tokio::test]
async fn a_mail_that_is_too_large_is_refused_in_the_words_of_the_server() {
    let mail = Mail::start(Manner { size: 200, ..Manner::default() }).await;
    let mut world = mail.world(PLAIN);
    world.deliverer.send(page(1), false);
    assert!(world.rejection().await.detail.contains("status 552: 5.3.4 Error: message file too big"));
}

#[tokio::test]
async fn each_recipient_gets_the_mail_once_whatever_happens_to_the_others() {
    let mail = Mail::start(Manner::default()).await;
    let keys = "to: 'A <a@example.org>, gone@example.org, nobody at all, busy@example.org'\nrequire_tls: false\nhtml: ''\ntext: x";
    let mut world = mail.world(keys);
    mail.server.script("RCPT TO:<gone@", "550 5.1.1 User unknown");
    mail.server.script("RCPT TO:<busy@", "451 4.7.1 Greylisting in action");
    world.deliverer.send(page(1), false);
    let report = world.report().await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
    let to: Vec<Vec<String>> = mail.server.mails().into_iter().map(|mail| mail.to).collect();
    assert_eq!(to, [["a@example.org"], ["busy@example.org"]]);
}

#[tokio::test]
async fn the_mails_of_an_incident_are_one_thread() {
    let mail = Mail::start(Manner::default()).await;
    let mut world = mail.world(PLAIN);
    let update =
        |id, kind| Notification { id: NotificationId(id), kind, dedup_key: "key-1".into(), ..page(1) };
    for n in [page(1), page(1), update(2, Kind::Update), update(3, Kind::Resolve), page(4)] {
        world.deliverer.send(n, false);
        assert_eq!(world.report().await.outcome, Outcome::Accepted);
    }
    let mails = mail.server.mails();
    let header = |i: usize, name: &str| mails[i].header(name);
    let first = header(0, "Message-Id");
    assert_eq!(first, "<key-1@example.org>");
    assert_eq!(header(1, "Message-Id"), first, "the same mail, sent again");
    assert_eq!(header(0, "References") + &header(0, "In-Reply-To"), "");
    for i in [2, 3] {
        assert_eq!((header(i, "References"), header(i, "In-Reply-To")), (first.clone(), first.clone()));
        assert_ne!(header(i, "Message-Id"), first);
    }
    assert_ne!(header(4, "Message-Id"), first, "another incident");
    let keys = format!("{PLAIN}\nthreading: {{enabled: true, thread_by_date: daily}}");
    let daily = sent(&mail, &keys, page(1)).await;
    let root = daily.header("References");
    assert!(root.starts_with("<alert-") && root == daily.header("In-Reply-To"), "{root}");
}

/// A user's template of the default subject is the subject, as of every other default text.
#[tokio::test]
async fn a_subject_of_the_users_templates_replaces_the_default_one() {
    let mail = Mail::start(Manner::default()).await;
    let subject =
        "{{ define \"email.default.subject\" }}[OPS] {{ .Status }} {{ .GroupLabels.alertname }}{{ end }}";
    std::fs::write(mail.folder.path().join("subject.tmpl"), subject).unwrap();
    let text = format!(
        "templates: [subject.tmpl]\nroute: {{receiver: r}}\nreceivers:\n- name: r\n  email_configs:\n  \
         - {{smarthost: '127.0.0.1:{}', from: a@example.org, to: b@example.org, require_tls: false}}\n",
        mail.server.port
    );
    let config = config::parse(&text, "squelch.yml", mail.folder.path()).unwrap();
    let mut world = World::new(&config.receivers);
    world.deliverer.send(page(1), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    assert_eq!(mail.server.mails()[0].header("Subject"), "[OPS] firing HighLatency");
}

/// Each line break of a template is a blank in a header. A header that fails has the text of the default one.
#[tokio::test]
async fn a_header_is_one_line_and_one_that_fails_has_the_default_text() {
    let mail = Mail::start(Manner::default()).await;
    let keys = "to: ops@example.org\nrequire_tls: false\nheaders: {to: '{{ .Nothing }}', subject: \"OPS: \\n  \
                {{ .GroupLabels.alertname }}\\n\"}";
    let received = sent(&mail, keys, page(1)).await;
    assert_eq!(received.header("Subject"), "OPS: HighLatency");
    assert_eq!(received.header("To"), "ops@example.org");
    let keys = "to: ops@example.org\nrequire_tls: false\nheaders: {subject: '{{ .Nothing.at.all }}'}";
    assert!(sent(&mail, keys, page(2)).await.header("Subject").starts_with("[FIRING:"));
}

/// A label must not end its header, add another, or end the mail.
#[tokio::test]
async fn a_label_changes_nothing_but_its_own_text() {
    let mail = Mail::start(Manner::default()).await;
    let keys = "to: ops@example.org\nrequire_tls: false\nheaders: {subject: '{{ .GroupLabels.alertname }}', x-team: é}\n\
                html: '<p>{{ .GroupLabels.alertname }}</p>'\ntext: '{{ .GroupLabels.alertname }}'";
    for evil in [
        "a\r\nBcc: evil@example.org\r\n\r\nbody",
        "a\nX-Evil: 1",
        "a\r\n.\r\nMAIL FROM:<evil@example.org>",
        "<script>alert(1)</script>",
        "=_key-1_1--",
        &"ü".repeat(2000),
    ] {
        let mut n = page(1);
        n.group_labels = LabelSet::from_pairs([("alertname", evil)]);
        let received = sent(&mail, keys, n).await;
        assert_eq!(received.to, ["ops@example.org"]);
        assert!(received.all("Bcc").is_empty() && received.all("X-Evil").is_empty(), "{}", received.head());
        assert_eq!(received.header("To"), "ops@example.org");
        assert!(received.header("X-Team").starts_with("=?utf-8?"), "{}", received.head());
        let parts = received.parts();
        let kinds: Vec<&str> = parts.iter().map(|(kind, _)| kind.as_str()).collect();
        assert_eq!(kinds, ["text/plain; charset=utf-8", "text/html; charset=utf-8"], "{evil}");
        assert!(!parts[1].1.contains("<script>"), "{}", parts[1].1);
    }
}

#[tokio::test]
async fn the_policy_for_addresses_holds_for_mail_servers() {
    let mail = Mail::start(Manner::default()).await;
    let text = |host: &str| {
        format!(
            "global: {{http_config: {{deny_addresses: [127.0.0.0/8, '::1']}}}}\nroute: {{receiver: r}}\n\
             receivers: [{{name: r, email_configs: [{{smarthost: '{host}:{}', from: a@b.c, to: d@e.f}}]}}]\n",
            mail.server.port
        )
    };
    for host in ["127.0.0.1", "localhost"] {
        let config = config::parse(&text(host), "squelch.yml", mail.folder.path()).unwrap();
        let world = World::new(&config.receivers);
        world.deliverer.send(page(1), false);
        fails(&world, "no connection is allowed").await;
    }
    assert!(mail.server.commands().is_empty());
}

#[test]
fn keys_of_global_are_lent_and_wrong_ones_are_named() {
    let parse = |text: &str| config::parse(text, "squelch.yml", Path::new("/etc"));
    let config = parse(
        "global:\n  smtp_smarthost: 'mail.example.org:submissions'\n  smtp_from: squelch@example.org\n  \
         smtp_hello: h\n  smtp_auth_username: u\n  smtp_auth_password_file: pw\n  smtp_require_tls: false\n\
         route: {receiver: r}\nreceivers:\n- name: r\n  email_configs:\n  - to: a@example.org\n  \
         - {to: b@example.org, from: me@example.org, smarthost: '[::1]:25', require_tls: true, auth_username: v}\n",
    )
    .unwrap();
    let all: Vec<String> = config.receivers["r"]
        .iter()
        .map(|integration| {
            let any: &dyn std::any::Any = &*integration.notifier;
            let email: &squelch::receivers::email::EmailConfig = any.downcast_ref().unwrap();
            format!(
                "{} {:?} {} {} {} {} {:?}",
                email.from,
                email.smarthost,
                email.hello,
                email.auth_username,
                email.require_tls,
                email.implicit_tls,
                email.auth_password.is_some()
            )
        })
        .collect();
    assert_eq!(
        all,
        [
            "squelch@example.org (\"mail.example.org\", 465) h u false true true",
            "me@example.org (\"::1\", 25) h v true false true"
        ]
    );
    let wrong = parse(
        "route: {receiver: r}\nreceivers:\n- name: r\n  email_configs:\n  - {}\n  - to: a@b.c\n    from: a@b.c\n    \
         smarthost: mail\n    headers: {subject: a, Subject: b, 'a b': c, References: x}\n    \
         threading: {enabled: true}\n    auth_password: a\n    auth_password_file: b\n",
    )
    .unwrap_err()
    .to_string();
    for says in [
        "squelch.yml:5: email_configs has no to. Write to",
        "squelch.yml:5: email_configs has no from. Write from, or smtp_from in global",
        "squelch.yml:5: email_configs has no smarthost. Write smarthost, or smtp_smarthost in global",
        "squelch.yml:8: smarthost is \"mail\". Write host:port such as mail.example.org:587",
        "squelch.yml:9: header Subject stands twice. Keep one",
        "squelch.yml:9: \"a b\" is not the name of a header",
        "squelch.yml:10: threading is enabled and header References is given. Keep one",
        "squelch.yml:10: thread_by_date must be none or daily",
        "squelch.yml:12: auth_password and auth_password_file are both given. Keep one",
    ] {
        assert!(wrong.contains(says), "{says} not in\n{wrong}");
    }
}

/// Alertmanager takes any port, and many files hold a placeholder.
#[test]
fn a_port_with_a_blank_is_read_and_one_that_does_not_exist_is_told() {
    let smarthost = |written: &str| {
        let keys = format!("to: a@example.org, from: b@example.org, smarthost: '{written}'");
        let text = format!("route: {{receiver: r}}\nreceivers: [{{name: r, email_configs: [{{{keys}}}]}}]\n");
        let config = config::parse(&text, "squelch.yml", Path::new("/etc")).unwrap();
        let any: &dyn std::any::Any = &*config.receivers["r"][0].notifier;
        let email: &squelch::receivers::email::EmailConfig = any.downcast_ref().unwrap();
        let told = config::warnings(&config);
        (email.smarthost.clone(), told.iter().any(|one| one.message.contains("whose port is none")))
    };
    assert_eq!(smarthost("localhost: 25"), (("localhost".into(), 25), false));
    assert_eq!(smarthost("${HOST}:${PORT}"), (("${HOST}".into(), 0), true));
    assert_eq!(smarthost("mail:99999"), (("mail".into(), 0), true));
}

#[test]
fn a_text_that_can_be_no_safe_html_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |html: &str| {
        let config = parse(folder.path(), 25, &format!("to: ops@example.org\nhtml: '{html}'"));
        config::warnings(&config).into_iter().map(|warning| warning.message).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told("{{ range .Alerts }}{{ .Labels.alertname | urlquery }}{{ end }}"), "");
    let wrong = told("{{ range .Alerts }}<a href=\"{{ end }}");
    assert!(wrong.contains("different contexts"), "{wrong}");
}

/// Two mails differ only as the comments here say, and in how non-ASCII words of a header are encoded:
/// Alertmanager encodes the whole value in `q`, Squelch each such word.
fn same(theirs: &Received, ours: &Received) {
    assert_eq!((&theirs.from, &theirs.to), (&ours.from, &ours.to));
    assert_eq!((&theirs.secure, &theirs.login), (&ours.secure, &ours.login));
    for name in ["Subject", "To", "From", "MIME-Version", "X-Team", "Reply-To"] {
        assert_eq!(theirs.header(name), ours.header(name), "{name}");
    }
    // Squelch's ids follow from the incident, and later mails refer to the first one.
    for mail in [theirs, ours] {
        let id = mail.header("Message-Id");
        assert!(id.starts_with('<') && id.ends_with('>') && id.contains('@'), "{id}");
        let date = mail.header("Date");
        assert!(jiff::fmt::rfc2822::parse(&date).is_ok(), "{date}");
        assert!(mail.header("Content-Type").starts_with("multipart/alternative;"));
    }
    // lettre writes the charset in small letters, and `Received` compares it so.
    assert_eq!(theirs.parts(), ours.parts());
    let names = |mail: &Received| {
        let head = mail.head().replace("\r\n ", " ");
        let mut all: Vec<String> =
            head.lines().filter_map(|line| Some(line.split_once(':')?.0.to_ascii_lowercase())).collect();
        all.sort();
        all
    };
    assert_eq!(names(theirs), names(ours));
}

/// The same group through the Alertmanager of Debian and through Squelch.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_the_mail_that_alertmanager_sends() {
    let mail = Mail::start(Manner { auth: "PLAIN LOGIN", ..Manner::default() }).await;
    let keys = format!(
        "to: 'Ops <ops@example.org>, second@example.org'\nhello: squelch.test\n{TRUST}\nauth_username: u\n\
         auth_password: p\nsend_resolved: true\n\
         headers: {{Subject: 'Overload: page', X-Team: 'core', reply-to: noc@example.org}}\n\
         html: '<p>grüß Gott = {}</p>{{{{ range .Alerts }}}}<a href=\"http://a/?q={{{{ .Labels.alertname | \
         urlquery }}}}\">{{{{ print .Labels.severity \" &\" | urlquery }}}}</a>{{{{ end }}}}'\ntext: |\n  .first line\n  second\n",
        "x".repeat(200)
    );
    let keys = keys.replace("ca.pem", &mail.folder.path().join("ca.pem").display().to_string());
    let text = format!(
        "route: {{receiver: r, group_by: [alertname], group_wait: 1s}}\nreceivers:\n- name: r\n  email_configs:\n  \
         - smarthost: '127.0.0.1:{}'\n    from: 'Squelch <squelch@example.org>'\n{}\n",
        mail.server.port,
        keys.lines().map(|line| format!("    {line}\n")).collect::<String>()
    );
    std::fs::write(mail.folder.path().join("alertmanager.yml"), &text).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let args = [
        format!("--config.file={}", mail.folder.path().join("alertmanager.yml").display()),
        format!("--storage.path={}", mail.folder.path().join("data").display()),
        format!("--web.listen-address={address}"),
        "--cluster.listen-address=".to_owned(),
    ];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let Some(_child) = Child::start("alertmanager", "prometheus-alertmanager", &args) else { return };
    until("Alertmanager is ready", async || {
        http::get(address, "/-/ready").await.ok().filter(|answer| answer.status == 200)
    })
    .await;
    let alert = br#"[{"labels":{"alertname":"HighLatency","severity":"critical"}}]"#;
    assert_eq!(http::post(address, "/api/v2/alerts", alert).await.unwrap().status, 200);
    until("a mail of Alertmanager", async || mail.server.mails().first().cloned()).await;
    let theirs = mail.server.mails().remove(0);
    let config = config::parse(&text, "squelch.yml", mail.folder.path()).unwrap();
    let mut world = World::new(&config.receivers);
    world.deliverer.send(page(1), false);
    assert_eq!(world.report().await.outcome, Outcome::Accepted);
    same(&theirs, &mail.server.mails()[1]);
}
