//! TLS in front of the HTTP surface, as the web-config file has it.

use std::path::Path;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::{NamedGroup, RootCertStore, ServerConfig};
use sha2::{Digest, Sha256};

use super::access::AccessError;
use crate::config::{ClientAuth, MAX_FILE, TlsServerConfig};
use crate::outside;

/// How connections are served over TLS.
pub(super) struct Served {
    pub(super) config: Arc<ServerConfig>,
    /// SHA-256 of the certificate, by which other replicas recognise this server.
    pub(super) pin: Pin,
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
        builder.with_single_cert(chain, key).map_err(|e| wrong(&tls.cert_file, e.to_string()))?;
    config.ignore_client_order = tls.prefer_server_cipher_suites;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Served { config: Arc::new(config), pin })
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
