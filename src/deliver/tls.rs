//! TLS of a client: the servers that it trusts, and its own identity.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::time::Instant;

use super::DeliverError;
use super::pinned::Pinned;
use crate::config::{MAX_FILE, Pem, PemSource, TlsConfig};
use crate::outside;

/// The PEM texts of a [`TlsConfig`], in the order of [`TlsConfig::pems`].
pub(super) type Texts = Vec<Arc<[u8]>>;

/// A value that is made of certificates and keys, and made anew once they are renewed.
pub(super) struct Kept<T> {
    tls: TlsConfig,
    current: Mutex<(Texts, T)>,
}

impl<T: Clone> Kept<T> {
    /// Reads the certificates now.
    pub(super) fn new(
        tls: &TlsConfig,
        make: impl FnOnce(ClientConfig) -> Result<T, DeliverError>,
    ) -> Result<Self, DeliverError> {
        let texts = read(tls)?;
        let made = make(client_config(tls, &texts)?)?;
        Ok(Kept { tls: tls.clone(), current: Mutex::new((texts, made)) })
    }

    /// The thing for the certificates and keys as they are now. The one of before stays if the new ones
    /// cannot be read or used: a page is worth more than they are.
    pub(super) async fn get(
        &self,
        until: Instant,
        make: impl FnOnce(ClientConfig) -> Result<T, DeliverError>,
    ) -> T {
        if self.tls.pems().all(|pem| matches!(pem.from, PemSource::Inline(_))) {
            return self.locked().1.clone();
        }
        let patience = until.saturating_duration_since(Instant::now()) / 8;
        let renewed = match read_apart(&self.tls, patience).await {
            Ok(texts) if texts == self.locked().0 => return self.locked().1.clone(),
            Ok(texts) => client_config(&self.tls, &texts).and_then(make).map(|made| (texts, made)),
            Err(error) => Err(error),
        };
        let mut current = self.locked();
        match renewed {
            Ok(renewed) => *current = renewed,
            Err(error) => tracing::warn!(%error, "the previous certificate stays in use"),
        }
        current.1.clone()
    }

    fn locked(&self) -> MutexGuard<'_, (Texts, T)> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the certificates and keys now. Blocks the thread for as long as [`outside::read`] may.
pub(super) fn read(tls: &TlsConfig) -> Result<Texts, DeliverError> {
    let one = |pem: &Pem| match &pem.from {
        PemSource::Inline(text) => Ok(text.as_bytes().into()),
        PemSource::File(path) => outside::read(path, MAX_FILE).map_err(|error| wrong(pem, error)),
    };
    tls.pems().map(one).collect()
}

/// The same within `patience` for each. It blocks nothing.
async fn read_apart(tls: &TlsConfig, patience: Duration) -> Result<Texts, DeliverError> {
    let mut texts = Vec::new();
    for pem in tls.pems() {
        texts.push(match &pem.from {
            PemSource::Inline(text) => text.as_bytes().into(),
            PemSource::File(path) => {
                let read = outside::read_apart(path, MAX_FILE, patience).await;
                read.map_err(|error| wrong(pem, error))?
            }
        });
    }
    Ok(texts)
}

/// The settings of rustls for these texts.
pub(super) fn client_config(tls: &TlsConfig, texts: &Texts) -> Result<ClientConfig, DeliverError> {
    let mut ca = None;
    let (mut chain, mut key) = (Vec::new(), None);
    for (pem, text) in tls.pems().zip(texts) {
        match pem.key {
            "ca" | "ca_file" => ca = Some((pem, certificates(pem, text)?)),
            "cert" | "cert_file" => chain = certificates(pem, text)?,
            _ => {
                let read = PrivateKeyDer::from_pem_slice(text);
                key = Some((pem, read.map_err(|_| wrong(pem, "holds no private key in PEM"))?));
            }
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = match (tls.only_tls12, tls.only_tls13) {
        (true, _) => &[&TLS12][..],
        (_, true) => &[&TLS13],
        _ => rustls::ALL_VERSIONS,
    };
    let builder = || {
        ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(versions)
            .map_err(|e| DeliverError::Tls(e.to_string()))
    };
    let trusting = match ca {
        _ if tls.insecure_skip_verify => {
            let accepts = |_: &CertificateDer<'_>| Ok(());
            let verifier = Arc::new(ByItself { provider: provider.clone(), accepts });
            builder()?.dangerous().with_custom_certificate_verifier(verifier)
        }
        Some((pem, certificates)) => {
            let verifier = Arc::new(pinned(pem, certificates, provider.clone())?);
            builder()?.dangerous().with_custom_certificate_verifier(verifier)
        }
        None => match builder()?.with_native_roots() {
            Ok(trusting) => trusting,
            Err(error) => {
                tracing::warn!(%error, "no root certificates on this system: https receivers need tls_config.ca_file");
                builder()?.with_root_certificates(RootCertStore::empty())
            }
        },
    };
    match key {
        Some((pem, key)) => trusting.with_client_auth_cert(chain, key).map_err(|error| wrong(pem, error)),
        None => Ok(trusting.with_no_client_auth()),
    }
}

/// The name that the server's certificate must have, if the configuration gives one.
pub(super) fn server_name(tls: &TlsConfig) -> Result<Option<ServerName<'static>>, DeliverError> {
    let name = tls.server_name.clone().map(ServerName::try_from).transpose();
    name.map_err(|_| DeliverError::Tls("tls_config.server_name is not the name of a host".into()))
}

fn pinned(
    pem: &Pem,
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
) -> Result<Pinned, DeliverError> {
    let mut roots = RootCertStore::empty();
    for certificate in &pinned {
        roots.add(certificate.clone()).map_err(|error| wrong(pem, error))?;
    }
    let webpki = WebPkiServerVerifier::builder_with_provider(roots.into(), provider);
    Ok(Pinned { webpki: webpki.build().map_err(|error| wrong(pem, error))?, pinned })
}

fn certificates(pem: &Pem, text: &[u8]) -> Result<Vec<CertificateDer<'static>>, DeliverError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|error| wrong(pem, error))?;
    match all.is_empty() {
        true => Err(wrong(pem, "holds no certificate in PEM")),
        false => Ok(all),
    }
}

fn wrong(pem: &Pem, reason: impl fmt::Display) -> DeliverError {
    DeliverError::Pem { what: pem.to_string(), reason: reason.to_string() }
}

/// Judges the certificate of a server by itself: its name and its issuer do not count. The server must still
/// hold the key of it.
pub(crate) struct ByItself<F> {
    pub(crate) provider: Arc<CryptoProvider>,
    /// Accepts the certificate, or says why not.
    pub(crate) accepts: F,
}

impl<F> fmt::Debug for ByItself<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ByItself")
    }
}

impl<F: Fn(&CertificateDer<'_>) -> Result<(), rustls::Error> + Send + Sync> ServerCertVerifier
    for ByItself<F>
{
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        (self.accepts)(certificate).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
