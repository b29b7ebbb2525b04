//! Amazon SNS and STS: signatures, topics, and errors in XML.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};
use squelch::config::{Secret, SecretFile, SecretForm, Url};
use squelch::model::{Kind, Outcome};
use squelch::receivers::Notifier;
use squelch::receivers::sns::{AwsRole, Identity, SigV4, SnsConfig};

use super::{Fake, of_incident, page, receiver, refused};
use crate::conformance::sink::{Answered, Request, form};
use crate::deliver::{Receivers, World};

#[derive(Default)]
struct Aws {
    published: Vec<Value>,
}

fn error(status: u16, code: &str) -> Answered {
    let body =
        format!("<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code></Error></ErrorResponse>");
    Answered::text(status, "text/xml", body)
}

const ROLE: &str = "<AssumeRoleResponse><AssumeRoleResult><Credentials><AccessKeyId>ROLE</AccessKeyId>\
                    <SecretAccessKey>s2</SecretAccessKey><SessionToken>tok</SessionToken></Credentials>\
                    </AssumeRoleResult></AssumeRoleResponse>";

fn answer(vendor: &mut Aws, request: &Request) -> Answered {
    let header = |name: &str| {
        let found = request.headers.iter().find(|(n, _)| n == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let authorization = header("authorization");
    let body = form(&request.body);
    let text = |key: &str| body[key].as_str().unwrap_or_default();
    let signed = |key: &str, service: &str| {
        authorization.starts_with(&format!("AWS4-HMAC-SHA256 Credential={key}/"))
            && authorization
                .contains(&format!("/eu-west-1/{service}/aws4_request, SignedHeaders=content-type;host;"))
    };
    match text("Action") {
        "AssumeRole" if signed("AK", "sts") && text("ExternalId") == "ext" => {
            Answered::text(200, "text/xml", ROLE)
        }
        "AssumeRoleWithWebIdentity" if authorization.is_empty() && text("WebIdentityToken") == "t0ken" => {
            Answered::text(200, "text/xml", ROLE)
        }
        "Publish"
            if signed("AK", "sns") || (signed("ROLE", "sns") && header("x-amz-security-token") == "tok") =>
        {
            let subject = text("Subject");
            if subject.chars().count() >= 100 || subject.contains('\n') || text("Message").len() > 256 * 1024
            {
                return error(400, "InvalidParameter");
            }
            vendor.published.push(body);
            Answered::text(200, "text/xml", "<PublishResponse/>")
        }
        _ => error(403, "SignatureDoesNotMatch"),
    }
}

fn config(fake: &Fake<Aws>, place: &str, more: &str) -> String {
    format!(
        "sns_configs: [{{api_url: '{}', sigv4: {{region: eu-west-1, access_key: AK, secret_key: s1}}, {place}, \
         subject: down, message: much{more}}}]",
        fake.sink.url("/sns")
    )
}

#[tokio::test]
async fn a_topic_gets_a_signed_message_with_its_attributes() {
    let fake = Fake::start(answer).await;
    let place = "topic_arn: 'arn:aws:sns:eu-west-1:1:t'";
    let mut world = World::new(&receiver(&config(&fake, place, ", attributes: {team: x, empty: ''}")));
    assert_eq!(page(&mut world, "sns[0]", 1).await.outcome, Outcome::Accepted);
    let expected = json!({
        "Action": "Publish", "Version": "2010-03-31", "TopicArn": "arn:aws:sns:eu-west-1:1:t",
        "Subject": "down", "Message": "much", "MessageAttributes.entry.1.Name": "team",
        "MessageAttributes.entry.1.Value.DataType": "String",
        "MessageAttributes.entry.1.Value.StringValue": "x",
    });
    assert_eq!(fake.state().published, [expected]);
}

/// SNS drops a message with an id that it saw in the last five minutes.
#[tokio::test]
async fn a_fifo_topic_takes_the_resolve_after_the_page() {
    let fake = Fake::start(answer).await;
    let place = "topic_arn: 'arn:aws:sns:eu-west-1:1:t.fifo'";
    let mut world = World::new(&receiver(&config(&fake, place, "")));
    super::lifecycle(&mut world, "sns[0]").await;
    let published = &fake.state().published;
    let ids: Vec<&Value> = published.iter().map(|body| &body["MessageDeduplicationId"]).collect();
    assert_eq!(ids, ["1-key-1", "2-key-1", "3-key-1"]);
    assert!(published.iter().all(|body| body["MessageGroupId"] == "key-1"));
}

#[tokio::test]
async fn an_sms_is_cut_and_says_so() {
    let fake = Fake::start(answer).await;
    let long = format!(
        "sns_configs: [{{api_url: '{}', sigv4: {{region: eu-west-1, access_key: AK, secret_key: s1}}, \
         phone_number: '+49', subject: '', message: '{}'}}]",
        fake.sink.url("/"),
        "é".repeat(2_000)
    );
    let mut world = World::new(&receiver(&long));
    assert_eq!(page(&mut world, "sns[0]", 1).await.outcome, Outcome::Accepted);
    let body = &fake.state().published[0];
    assert_eq!(body["Message"].as_str().unwrap().chars().count(), 1_600);
    assert_eq!(body["MessageAttributes.entry.1.Name"], "truncated");
    assert_eq!(body.get("Subject"), None);
}

/// Changes `sigv4` of the integration.
fn with(all: &mut Receivers, change: impl FnOnce(&mut SigV4)) {
    let integration = &mut all.get_mut("r").unwrap()[0];
    let notifier = &*integration.notifier as &dyn Notifier as &dyn Any;
    let mut config = notifier.downcast_ref::<SnsConfig>().unwrap().clone();
    change(&mut config.sigv4);
    integration.notifier = Arc::new(config);
}

fn file(folder: &Path, text: &str, form: SecretForm) -> Secret {
    let path = folder.join("file");
    std::fs::write(&path, text).unwrap();
    Secret::File(Arc::new(SecretFile { path, key: "sigv4.profile".into(), line: 1, form }))
}

#[tokio::test]
async fn a_profile_of_the_shared_credentials_file_signs() {
    let fake = Fake::start(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let text = "[ovens]\naws_access_key_id = AK\naws_secret_access_key = s1\nregion = eu-west-1\n";
    let mut all = receiver(&config(&fake, "target_arn: 'arn:x'", ""));
    let profile = |name: &str| {
        let file = file(folder.path(), text, SecretForm::Profiles);
        Some(Identity::Profile { file, name: name.to_owned() })
    };
    with(&mut all, |sigv4| (sigv4.region, sigv4.identity) = (None, profile("ovens")));
    let mut world = World::new(&all);
    assert_eq!(page(&mut world, "sns[0]", 1).await.outcome, Outcome::Accepted);
    assert_eq!(fake.state().published[0]["TargetArn"], "arn:x");
    with(&mut all, |sigv4| sigv4.identity = profile("ovns"));
    let notifier = &all["r"][0].notifier;
    let [(secret, _)] = notifier.secrets()[..] else { panic!("one file") };
    let doubt = notifier.doubt(secret, text).unwrap();
    assert!(doubt.contains("has no profile \"ovns\". Write the line [ovns]"), "{doubt}");
}

#[tokio::test]
async fn a_web_identity_gets_credentials_and_takes_on_a_role() {
    let fake = Fake::start(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let role =
        || AwsRole { arn: "arn:web".into(), external_id: None, sts_url: Some(Url(fake.sink.url("/sts/"))) };
    let mut all = receiver(&config(&fake, "target_arn: 'arn:x'", ""));
    let token = file(folder.path(), "t0ken\n", SecretForm::Password);
    with(&mut all, |sigv4| sigv4.identity = Some(Identity::Web { token, role: role() }));
    assert_eq!(page(&mut World::new(&all), "sns[0]", 1).await.outcome, Outcome::Accepted);
    let asked = &fake.sink.requests()[0]["body"];
    assert_eq!((&asked["RoleArn"], &asked["RoleSessionName"]), (&json!("arn:web"), &json!("squelch")));
    assert_eq!(fake.state().published.len(), 1);
}

#[tokio::test]
async fn a_role_is_taken_on_before_the_message_leaves() {
    let fake = Fake::start(answer).await;
    let mut all = receiver(&config(&fake, "target_arn: 'arn:x'", ""));
    let sts_url = Some(Url(fake.sink.url("/sts/")));
    let role = Some(AwsRole { arn: "arn:role".into(), external_id: Some("ext".into()), sts_url });
    with(&mut all, |sigv4| sigv4.role = role);
    let mut world = World::new(&all);
    assert_eq!(page(&mut world, "sns[0]", 1).await.outcome, Outcome::Accepted);
    assert_eq!(fake.state().published[0]["TargetArn"], "arn:x");
    assert_eq!(fake.sink.requests()[0]["body"]["RoleArn"], "arn:role");
}

#[tokio::test]
async fn errors_of_sns_are_told_apart() {
    let fake = Fake::start(answer).await;
    let mut world = World::new(&receiver(&config(&fake, "target_arn: 'arn:x'", "")));
    fake.answer(error(400, "Throttling"));
    let report = page(&mut world, "sns[0]", 1).await;
    assert_eq!((report.outcome, report.attempts), (Outcome::Accepted, 2));
    for (status, code, reason) in [
        (400, "InvalidParameter", "clientError"),
        (403, "AuthorizationError", "authError"),
        (404, "NotFound", "clientError"),
    ] {
        fake.answer(error(status, code));
        world
            .deliverer
            .send(of_incident("sns[0]", u64::from(status) + reason.len() as u64, Kind::Page), false);
        let rejection = world.rejection().await;
        assert_eq!(rejection.reason, reason);
        assert!(rejection.detail.contains(code), "{}", rejection.detail);
    }
}

#[test]
fn what_cannot_be_in_force_is_refused_with_its_key() {
    let sigv4 = |sigv4: &str| refused(&format!("sns_configs: [{{topic_arn: a, sigv4: {{{sigv4}}}}}]"));
    assert!(sigv4("access_key: a").contains("one half of the credentials"));
    assert!(sigv4("external_id: e").contains("external_id is for role_arn"));
    let two = "sns_configs: [{topic_arn: a, target_arn: b}]";
    assert!(refused(two).contains("needs exactly one place to send to"));
    // Alertmanager takes all three, and SNS refuses the message.
    receiver("sns_configs: [{topic_arn: a, target_arn: b, phone_number: c}]");
}
