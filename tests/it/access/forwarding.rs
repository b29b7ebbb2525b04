//! A standby passes requests on to the owner, over TLS too.

use std::sync::Arc;

use squelch::web::Replicated;

use super::{Fake, Pki, SILENCE, access, ask, start};

const WORD: &str = "only replicas know this";
const USERS: &str = "users:\n  - {name: ann, role: silence, authorization: {credentials: ann-token}}\n";
const ANN: &str = "Authorization: Bearer ann-token\r\n";

fn stands(replica: &Fake, owner: Option<String>) {
    let (owner, why) = (owner.map(Into::into), "standby: db1 (pid 7) owns the database, by epoch 3".into());
    *replica.replicated.lock().unwrap() = Some(Replicated { secret: WORD.into(), owner, why });
}

#[tokio::test]
async fn the_owner_knows_who_called_the_standby_and_shows_the_right_certificate() {
    let (pki, folder) = (Pki::new(), tempfile::tempdir().unwrap());
    let served = pki.access(USERS, "");
    let pin = served.certificate_pin().unwrap();
    let (owner, at) = start(served).await;
    stands(&owner, None);
    let (standby, address) = start(access(USERS, "", folder.path())).await;
    let url = |pin: &str| Some(format!("https://{at}#{pin}"));
    stands(&standby, url(&pin));
    let silence = async || ask(address, "POST", "/api/v2/silences", ANN, SILENCE).await;
    let (code, body) = silence().await;
    assert_eq!(code, 200, "{body}");
    assert_eq!(*owner.silenced_by.lock().unwrap(), ["ann"], "the owner knows who called");
    assert!(standby.silenced_by.lock().unwrap().is_empty());
    assert_eq!(
        ask(address, "POST", "/api/v2/silences", "", SILENCE).await.0,
        401,
        "the standby asks who calls"
    );

    // A renewed certificate that the database does not know yet, or an attacker in between.
    let other = Pki::new().access(USERS, "").certificate_pin().unwrap();
    let (stranger, address) = start(access(USERS, "", folder.path())).await;
    stands(&stranger, url(&other));
    let (code, body) = ask(address, "POST", "/api/v2/silences", ANN, SILENCE).await;
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("its certificate is not the one of the owner"), "{body}");
    assert!(body.contains("db1 (pid 7) owns the database"), "{body}");
}

#[tokio::test]
async fn replicas_do_not_pass_a_request_round_in_a_circle() {
    let folder = tempfile::tempdir().unwrap();
    let replicas: Vec<(Arc<Fake>, _)> =
        vec![start(access("", "", folder.path())).await, start(access("", "", folder.path())).await];
    let url = |n: usize| Some(format!("http://{}", replicas[n].1));
    stands(&replicas[0].0, url(1));
    stands(&replicas[1].0, url(0));
    let (code, body) = ask(replicas[0].1, "GET", "/api/v1/incidents", "", "").await;
    assert_eq!(code, 503, "{body}");
    assert!(body.contains("the owner has just changed"), "{body}");
    assert_eq!(ask(replicas[0].1, "GET", "/metrics", "", "").await.0, 200, "a standby answers for itself");
}
