//! TLS to `https` addresses: which authorities are believed, and streams over it for HTTP/1.1 and HTTP/2.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use http::Uri;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::either::Either;

use crate::cli::Trust;

/// Whether an address wants TLS.
pub(crate) fn is_https(address: &str) -> bool {
    address.starts_with("https://")
}

/// The settings that `trust` asks for. Reads its file, or the system's authorities.
pub(crate) fn client_config(trust: &Trust) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .context("TLS versions")?;
    if trust.insecure_skip_verify {
        let anyone = Arc::new(Anyone { provider });
        return Ok(builder.dangerous().with_custom_certificate_verifier(anyone).with_no_client_auth());
    }
    let roots = match &trust.ca {
        Some(path) => authorities(path).with_context(|| format!("--ca {}", path.display()))?,
        None => system_authorities()?,
    };
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn authorities(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path)? {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        bail!("has no certificate; want PEM");
    }
    Ok(roots)
}

fn system_authorities() -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    let (_added, _ignored) = roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        bail!("this system has no certificate authorities; want --ca FILE or --insecure-skip-verify");
    }
    Ok(roots)
}

/// A connection, with TLS or without.
pub(super) type Stream = Either<TcpStream, TlsStream<TcpStream>>;

/// Connects to `authority`; with a `config` proves that `host` is there, and speaks `alpn` afterwards.
pub(super) async fn open(
    authority: &str,
    host: &str,
    config: Option<&ClientConfig>,
    alpn: &[u8],
) -> anyhow::Result<Stream> {
    let stream = TcpStream::connect(authority).await.context("connecting")?;
    stream.set_nodelay(true)?;
    let Some(config) = config else { return Ok(Either::Left(stream)) };
    let mut config = config.clone();
    config.alpn_protocols = vec![alpn.to_vec()];
    // Addresses of IPv6 stand in brackets in a URL.
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let name = ServerName::try_from(host).context("the name of the server")?;
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.context("TLS")?;
    Ok(Either::Right(stream))
}

/// `host:port` of an address, with the scheme's port where none is said.
pub(super) fn authority(uri: &Uri) -> anyhow::Result<String> {
    let host = uri.host().context("has no host")?;
    let port = uri.port_u16().unwrap_or(if uri.scheme_str() == Some("https") { 443 } else { 80 });
    Ok(format!("{host}:{port}"))
}

/// Believes every certificate, as `--insecure-skip-verify` asks; signatures of the handshake are still checked.
#[derive(Debug)]
struct Anyone {
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
