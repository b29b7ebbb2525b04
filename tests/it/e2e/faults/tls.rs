//! Receivers whose certificate is wrong: they get nothing, and the page is owed.

use std::sync::{Arc, Mutex};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use tokio_rustls::TlsAcceptor;

use super::alert;
use super::rogue::{Manner, Rogue};
use crate::e2e::sender::body;
use crate::e2e::squelch::Home;
use crate::e2e::until;

/// The flaw of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    Expired,
    WrongName,
    SelfSigned,
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn acceptor(authority: &CertifiedIssuer<'static, KeyPair>, flaw: Flaw) -> TlsAcceptor {
    let (params, key) = wanted(flaw);
    let certificate = match flaw {
        Flaw::SelfSigned => params.self_signed(&key).unwrap(),
        _ => params.signed_by(&key, authority).unwrap(),
    };
    with(&certificate, &key)
}

fn wanted(flaw: Flaw) -> (CertificateParams, KeyPair) {
    let name = if flaw == Flaw::WrongName { "other.example" } else { "localhost" };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    if flaw == Flaw::Expired {
        (params.not_before, params.not_after) = (date_time_ymd(2019, 1, 1), date_time_ymd(2020, 1, 1));
    }
    (params, KeyPair::generate().unwrap())
}

fn with(certificate: &Certificate, key: &KeyPair) -> TlsAcceptor {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(server))
}

/// Configures one webhook at `rogue`, with this `ca_file`.
fn trusts(home: &Home, rogue: &Rogue, pem: &str) {
    std::fs::write(home.path("ca.pem"), pem).unwrap();
    home.configure(&format!(
        "\
route: {{receiver: pager, group_by: [alertname]}}
receivers:
  - name: pager
    webhook_configs:
      - url: 'https://localhost:{}/'
        http_config: {{tls_config: {{ca_file: '{}'}}}}
",
        rogue.address.port(),
        home.path("ca.pem").display()
    ));
}

/// Nothing of a notification may reach a server without a valid identity. Once the server has one, the page
/// comes.
async fn is_told_nothing_until_it_is_right(flaw: Flaw) {
    let authority = authority();
    let tls = Arc::new(Mutex::new(acceptor(&authority, flaw)));
    let now = tls.clone();
    let rogue = Rogue::start_with(Manner::Good, move |stream| {
        let acceptor = now.lock().unwrap().clone();
        async move { acceptor.accept(stream).await.ok() }
    })
    .await;
    let home = Home::new("");
    trusts(&home, &rogue, &authority.pem());
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[alert("Down")])).await;
    let tried = async || {
        let failed = squelch.scrape().await.sum("squelch_notifications_failed_total", &[("reason", "other")]);
        (failed >= 2.0).then_some(())
    };
    until("the handshake fails, and is tried again", tried).await;
    assert!(rogue.taken().is_empty(), "{flaw:?}: it was told {:?}", rogue.taken());
    squelch.child.line(&["attempt failed", "ertificate"]).await;
    *tls.lock().unwrap() = acceptor(&authority, Flaw::None);
    until("the page arrives", async || (rogue.taken().len() == 1).then_some(())).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_told_nothing() {
    is_told_nothing_until_it_is_right(Flaw::Expired).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_told_nothing() {
    is_told_nothing_until_it_is_right(Flaw::WrongName).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_nobody_signed_is_told_nothing() {
    is_told_nothing_until_it_is_right(Flaw::SelfSigned).await;
}

/// A certificate that stands in `ca_file` itself is trusted for its names, with any signer, while it is
/// valid.
async fn is_trusted_as_its_own_authority(flaw: Flaw, is_ca: IsCa, signed: bool) -> Rogue {
    let (mut params, key) = wanted(flaw);
    params.is_ca = is_ca;
    let certificate = match signed {
        true => params.signed_by(&key, &authority()).unwrap(),
        false => params.self_signed(&key).unwrap(),
    };
    let acceptor = with(&certificate, &key);
    let rogue = Rogue::start_with(Manner::Good, move |stream| {
        let acceptor = acceptor.clone();
        async move { acceptor.accept(stream).await.ok() }
    })
    .await;
    let home = Home::new("");
    trusts(&home, &rogue, &certificate.pem());
    let squelch = home.serve().await;
    squelch.hook(&body("http://am-0", &[alert("Down")])).await;
    let decided = async || {
        let failed = squelch.scrape().await.sum("squelch_notifications_failed_total", &[("reason", "other")]);
        (failed >= 2.0 || !rogue.taken().is_empty()).then_some(())
    };
    until("the page arrives, or the handshake fails", decided).await;
    assert_eq!(squelch.stop().await.code(), Some(0));
    rogue
}

#[tokio::test(flavor = "multi_thread")]
async fn a_self_signed_certificate_that_is_the_ca_file_is_trusted() {
    let ca = || IsCa::Ca(BasicConstraints::Unconstrained);
    for (is_ca, signed) in
        [(ca(), false), (IsCa::NoCa, false), (IsCa::ExplicitNoCa, false), (IsCa::NoCa, true)]
    {
        let rogue = is_trusted_as_its_own_authority(Flaw::None, is_ca, signed).await;
        assert_eq!(rogue.taken().len(), 1, "{is_ca:?}, signed by another: {signed}");
    }
    for flaw in [Flaw::Expired, Flaw::WrongName] {
        let rogue = is_trusted_as_its_own_authority(flaw, ca(), false).await;
        assert!(rogue.taken().is_empty(), "{flaw:?}");
    }
}
