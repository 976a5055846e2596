//! Which server certificates are accepted, with libpq's meaning of the `sslmode`s.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, aws_lc_rs, verify_tls12_signature,
    verify_tls13_signature,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::ConnectError;
use super::url::Roots;

/// The TLS side of a connection that trusts `roots`, and the host's name too when `check_name`.
pub(super) async fn connector(
    roots: &Roots,
    check_name: bool,
) -> Result<MakeRustlsConnect, ConnectError> {
    let trust = match roots {
        Roots::Unchecked => None,
        Roots::System => Some(system_trust().await?),
        Roots::File(path) => Some(file_trust(path).await?),
    };
    // The provider is named because a process-wide default would be a hidden setting that any
    // dependency may change.
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("the provider has ciphers for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Verifier::new(trust, check_name, &provider)))
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// The certificates that vouch for a server.
#[derive(Debug)]
struct Trust {
    anchors: RootCertStore,
    /// The same certificates as bytes. A server whose own self-signed certificate is the named root is
    /// trusted by equality, as in libpq; the chain builder refuses an authority as a server's certificate.
    named: Vec<CertificateDer<'static>>,
}

async fn system_trust() -> Result<Trust, ConnectError> {
    let unusable = |reason: String| ConnectError::RootCertificates {
        origin: "the system's store".into(),
        reason,
    };
    let loaded = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs)
        .await
        .map_err(|error| unusable(error.to_string()))?;
    let mut anchors = RootCertStore::empty();
    // A store may hold a few certificates that are too old to be understood; the others still count.
    anchors.add_parsable_certificates(loaded.certs);
    if anchors.is_empty() {
        let reason = loaded
            .errors
            .first()
            .map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(unusable(reason));
    }
    Ok(Trust {
        anchors,
        named: Vec::new(),
    })
}

async fn file_trust(path: &std::path::Path) -> Result<Trust, ConnectError> {
    let unusable = |reason: String| ConnectError::RootCertificates {
        origin: path.display().to_string(),
        reason,
    };
    let pem = tokio::fs::read(path)
        .await
        .map_err(|error| unusable(error.to_string()))?;
    let named = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| unusable(error.to_string()))?;
    if named.is_empty() {
        return Err(unusable("it holds no PEM certificate".into()));
    }
    let mut anchors = RootCertStore::empty();
    for certificate in &named {
        anchors
            .add(certificate.clone())
            .map_err(|error| unusable(error.to_string()))?;
    }
    Ok(Trust { anchors, named })
}

/// Accepts a server's certificate as far as the `sslmode` asks. That the server owns the certificate's
/// key is checked in every mode.
#[derive(Debug)]
struct Verifier {
    /// `None` accepts any certificate: encryption without authentication, libpq's `require`.
    trust: Option<Trust>,
    check_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn new(trust: Option<Trust>, check_name: bool, provider: &CryptoProvider) -> Self {
        Self {
            trust,
            check_name,
            algorithms: provider.signature_verification_algorithms,
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(trust) = &self.trust else {
            return Ok(ServerCertVerified::assertion());
        };
        let certificate = ParsedCertificate::try_from(end_entity)?;
        if !trust.named.contains(end_entity) {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &trust.anchors,
                intermediates,
                now,
                self.algorithms.all,
            )?;
        }
        if self.check_name {
            verify_server_name(&certificate, server_name)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
