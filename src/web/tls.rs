//! TLS in front of the HTTP surface, as the web-config file has it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{CertificateError, Error, NamedGroup, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

use super::access::AccessError;
use crate::config::{ClientAuth, MAX_FILE, TlsServerConfig};
use crate::model::Timestamp;
use crate::outside;

/// How connections are served over TLS.
pub(super) struct Served {
    pub(super) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, by which other replicas recognise this server.
    pub(super) pin: Pin,
    /// The certificate, and those between it and its authority.
    pub(super) chain: Vec<CertificateDer<'static>>,
}

/// SHA-256 of a certificate in DER.
pub(super) type Pin = [u8; 32];

pub(super) fn pin(certificate: &CertificateDer<'_>) -> Pin {
    Sha256::digest(certificate).into()
}

/// The TLS configuration of connections. It reads the files now.
pub(super) fn server_config(tls: &TlsServerConfig) -> Result<Served, AccessError> {
    let provider = Arc::new(provider(tls));
    let versions: &[&rustls::SupportedProtocolVersion] = match (tls.only_tls12, tls.only_tls13) {
        (true, _) => &[&rustls::version::TLS12],
        (_, true) => &[&rustls::version::TLS13],
        _ => rustls::DEFAULT_VERSIONS,
    };
    let unusable = |e: rustls::Error| AccessError::Tls(e.to_string());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(unusable)?;
    let builder = match &tls.client_ca_file {
        Some(file) if tls.client_auth != ClientAuth::None => {
            let mut roots = RootCertStore::empty();
            for cert in certificates(file)? {
                roots.add(cert).map_err(|e| wrong(file, e.to_string()))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = match tls.client_auth {
                ClientAuth::IfGiven => verifier.allow_unauthenticated(),
                ClientAuth::None | ClientAuth::Require => verifier,
            };
            builder.with_client_cert_verifier(verifier.build().map_err(|e| wrong(file, e.to_string()))?)
        }
        _ => builder.with_no_client_auth(),
    };
    let key = read(&tls.key_file)?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|e| wrong(&tls.key_file, e.to_string()))?;
    let chain = certificates(&tls.cert_file)?;
    let pin = chain.first().map(pin).unwrap_or_default();
    let mut config =
        builder.with_single_cert(chain.clone(), key).map_err(|e| wrong(&tls.cert_file, e.to_string()))?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Served { config: Arc::new(config), pin, chain })
}

/// ring's algorithms, without those that the file does not name. The suites of TLS 1.3 stay, as in Go.
fn provider(tls: &TlsServerConfig) -> CryptoProvider {
    let mut provider = ring::default_provider();
    if !tls.cipher_suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            let name = format!("{:?}", suite.suite());
            name.starts_with("TLS13_") || tls.cipher_suites.contains(&name)
        });
    }
    if !tls.curves.is_empty() {
        provider.kx_groups.retain(|group| {
            let name = match group.name() {
                NamedGroup::X25519 => "X25519",
                NamedGroup::secp256r1 => "CurveP256",
                NamedGroup::secp384r1 => "CurveP384",
                _ => return false,
            };
            tls.curves.iter().any(|wanted| wanted == name)
        });
    }
    provider
}

/// Why clients refuse one of these certificates at `now`, if it has expired or is not valid yet.
pub(super) fn out_of_date(chain: &[CertificateDer<'_>], now: Timestamp) -> Option<String> {
    let now = UnixTime::since_unix_epoch(now.since(Timestamp::EPOCH).to_std());
    let algorithms = ring::default_provider().signature_verification_algorithms.all;
    let date = |at: UnixTime| Timestamp::from_millis(i64::try_from(at.as_secs() * 1000).unwrap_or(i64::MAX));
    chain.iter().find_map(|certificate| {
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        // Without an authority each certificate is refused. The dates are looked at first.
        let roots = RootCertStore::empty();
        match verify_server_cert_signed_by_trust_anchor(&parsed, &roots, &[], now, algorithms) {
            Err(Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. })) => {
                Some(format!("it expired at {}", date(not_after)))
            }
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                Some(format!("it is not valid before {}", date(not_before)))
            }
            _ => None,
        }
    })
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, AccessError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    let certificates = certificates.map_err(|e| wrong(file, e.to_string()))?;
    if certificates.is_empty() {
        return Err(wrong(file, "holds no certificate in PEM".into()));
    }
    Ok(certificates)
}

fn read(file: &Path) -> Result<Arc<[u8]>, AccessError> {
    outside::read(file, MAX_FILE).map_err(|e| wrong(file, e.to_string()))
}

fn wrong(file: &Path, reason: String) -> AccessError {
    AccessError::File { path: file.to_owned(), reason }
}

/// Whether a certificate is for this DNS name or IP address: one of its subject alternative names.
pub(super) fn is_for(certificate: &CertificateDer<'_>, san: &str) -> bool {
    let (Ok(parsed), Ok(name)) = (ParsedCertificate::try_from(certificate), ServerName::try_from(san)) else {
        return false;
    };
    verify_server_name(&parsed, &name).is_ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn a_certificate_out_of_its_dates_is_named_with_the_date() {
        let certificate = |from: i32, to: i32| {
            let mut params = CertificateParams::new(["squelch".to_owned()]).unwrap();
            (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
            params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
        };
        let good = certificate(2020, 2040);
        let said = |chain: &[&CertificateDer<'static>]| {
            let chain: Vec<_> = chain.iter().map(|certificate| (*certificate).clone()).collect();
            out_of_date(&chain, Timestamp::parse("2030-01-01T00:00:00Z").unwrap())
        };
        assert_eq!(said(&[&good, &good]), None);
        let (expired, early) = (certificate(2020, 2029), certificate(2031, 2040));
        assert_eq!(said(&[&expired]).unwrap(), "it expired at 2029-01-01T00:00:00Z");
        assert_eq!(said(&[&good, &early]).unwrap(), "it is not valid before 2031-01-01T00:00:00Z");
    }
}
