//! How clients speak TLS: one set-up for HTTP and gRPC, made of the `tls` keys (config/configtls of the collector).
//!
//! With `reload_interval` certificate and key are read again for a handshake that comes after that time, on a thread of
//! their own, so that a disk that hangs holds up no other work; a pair that does not fit together leaves the old one in use
//! and is told in the log.

use std::sync::Arc;
use std::time::{Duration, Instant};

use model::ErrorKind;
use parking_lot::Mutex;
use pipelines::{ConfigError, PipelineError, PipelineResult};
use runtime::Tasks;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme, SupportedProtocolVersion};

use super::config::{TlsConfig, TlsVersion};

/// How long a handshake waits for its certificate to be read again; then it takes the old one, and the next has the new.
const READ_PATIENCE: Duration = Duration::from_millis(100);

/// The provider with the suites of TLS 1.2 and the groups that a config allows; empty lists allow all.
pub fn provider(suites: &[String], curves: &[String]) -> Result<CryptoProvider, ConfigError> {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !suites.is_empty() {
        let name = |suite: &rustls::SupportedCipherSuite| format!("{:?}", suite.suite());
        // Those of TLS 1.3 are not to be chosen, as in Go.
        let is_old = |suite: &rustls::SupportedCipherSuite| suite.tls13().is_none();
        let known: Vec<String> = provider.cipher_suites.iter().filter(|s| is_old(s)).map(name).collect();
        if let Some(unknown) = suites.iter().find(|asked| !known.contains(asked)) {
            let message = format!("invalid TLS cipher suite: {unknown:?}, have {}", known.join(", "));
            return Err(ConfigError::at("tls.cipher_suites", message));
        }
        provider.cipher_suites.retain(|suite| !is_old(suite) || suites.contains(&name(suite)));
    }
    if !curves.is_empty() {
        let mut chosen = Vec::new();
        for asked in curves {
            let name = match asked.as_str() {
                "P256" => "secp256r1",
                "P384" => "secp384r1",
                other => other,
            };
            let found = provider.kx_groups.iter().find(|group| format!("{:?}", group.name()) == name);
            chosen.push(*found.ok_or_else(|| {
                let message = format!("invalid curve {asked:?}, have X25519, P256, P384, X25519MLKEM768");
                ConfigError::at("tls.curve_preferences", message)
            })?);
        }
        provider.kx_groups = chosen;
    }
    Ok(provider)
}

fn invalid(message: impl std::fmt::Display) -> PipelineError {
    PipelineError::new(ErrorKind::Invalid, format!("tls: {message}"))
}

/// The set-up for connections that speak one of the protocols.
pub(super) fn client(config: &TlsConfig, protocols: &[&[u8]]) -> PipelineResult<ClientConfig> {
    let provider = provider(&config.cipher_suites, &config.curve_preferences).map_err(invalid)?;
    let provider = Arc::new(provider);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(&versions(config)).map_err(invalid)?;
    let material = config.load()?;
    let builder = match config.insecure_skip_verify {
        true => {
            let verifier = Arc::new(Unchecked(Arc::clone(&provider)));
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
        false => builder.with_root_certificates(roots(config, material.ca_pem.as_deref())?),
    };
    let mut client = match material.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let pair = pair(&certificate, &key, &provider)?;
            let shared = SharedPair::new(config, provider, pair);
            builder.with_client_cert_resolver(Arc::new(shared))
        }
    };
    if config.reload_interval.is_some() {
        // A resumed session would go on with the old certificate.
        client.resumption = Resumption::disabled();
    }
    client.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(client)
}

fn versions(config: &TlsConfig) -> Vec<&'static SupportedProtocolVersion> {
    let [min, max] = config.versions();
    let (min, max) = (min.unwrap_or(TlsVersion::V12), max.unwrap_or(TlsVersion::V13));
    let all = [(TlsVersion::V12, &rustls::version::TLS12), (TlsVersion::V13, &rustls::version::TLS13)];
    all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, found)| found).collect()
}

/// The authorities to trust: those of the config, those of the system without any, or both.
fn roots(config: &TlsConfig, ca_pem: Option<&[u8]>) -> PipelineResult<RootCertStore> {
    let mut roots = RootCertStore::empty();
    if ca_pem.is_none() || config.include_system_ca_certs_pool {
        // What cannot be read is left out: a certificate that needs it will not be trusted.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    if let Some(pem) = ca_pem {
        let authorities = certificates(pem)?;
        for authority in authorities {
            roots.add(authority).map_err(invalid)?;
        }
    }
    Ok(roots)
}

fn certificates(pem: &[u8]) -> PipelineResult<Vec<CertificateDer<'static>>> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => Err(invalid("no certificate in the PEM text")),
        Ok(found) => Ok(found),
        Err(error) => Err(invalid(error)),
    }
}

fn pair(certificate: &[u8], key: &[u8], provider: &CryptoProvider) -> PipelineResult<CertifiedKey> {
    let key =
        PrivateKeyDer::from_pem_slice(key).map_err(|error| invalid(format!("no private key: {error}")))?;
    CertifiedKey::from_der(certificates(certificate)?, key, provider).map_err(invalid)
}

/// The client's certificate, which follows its files.
#[derive(Debug)]
struct SharedPair {
    files: Arc<PairFiles>,
    tasks: Tasks,
}

#[derive(Debug)]
struct PairFiles {
    config: TlsConfig,
    provider: Arc<CryptoProvider>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    /// When the files were looked at.
    looked: Instant,
    /// What they held.
    pair: Arc<CertifiedKey>,
    /// Whether somebody looks at them now.
    is_read: bool,
}

impl SharedPair {
    fn new(config: &TlsConfig, provider: Arc<CryptoProvider>, pair: CertifiedKey) -> Self {
        let current = Current { looked: Instant::now(), pair: Arc::new(pair), is_read: false };
        let files = PairFiles { config: config.clone(), provider, current: Mutex::new(current) };
        Self { files: Arc::new(files), tasks: Tasks::new() }
    }

    /// Reads the files again on a thread of its own, and waits for it as long as a disk that works may take.
    fn follow(&self) {
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        let files = Arc::clone(&self.files);
        let read = move || {
            files.read_again();
            // Nobody waits any more for a slow disk.
            let _ = done.send(());
        };
        match self.tasks.spawn_thread("tls-certificate", read) {
            Ok(_) => {
                let _ = wait.recv_timeout(READ_PATIENCE);
            }
            Err(error) => {
                self.files.current.lock().is_read = false;
                tracing::warn!(%error, "no thread to read the client's certificate again, keeping the old one");
            }
        }
    }
}

impl PairFiles {
    /// Whether it is time to look at the files, which is then for the caller to do.
    fn is_due(&self) -> bool {
        let interval = self.config.reload_interval.as_ref().map_or(Duration::ZERO, |interval| interval.0);
        let mut current = self.current.lock();
        // Without an interval they are read once, as in the collector.
        let is_due = !interval.is_zero() && current.looked.elapsed() >= interval && !current.is_read;
        if is_due {
            current.looked = Instant::now();
            current.is_read = true;
        }
        is_due
    }

    fn read_again(&self) {
        let read = self.config.load_identity().and_then(|identity| match identity {
            Some((certificate, key)) => pair(&certificate, &key, &self.provider),
            None => Err(invalid("no certificate")),
        });
        let mut current = self.current.lock();
        current.is_read = false;
        match read {
            Ok(pair) => current.pair = Arc::new(pair),
            Err(error) => {
                tracing::warn!(%error, "the client's certificate cannot be read again, keeping the old one");
            }
        }
    }
}

impl ResolvesClientCert for SharedPair {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        if self.files.is_due() {
            self.follow();
        }
        Some(Arc::clone(&self.files.current.lock().pair))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes every certificate: `insecure_skip_verify`.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
