//! TLS: from PEM files to what connections are made with, for both sides.
//!
//! rustls with ring; TLS 1.2 and 1.3. A peer's certificate is always verified:
//! there is no setting that switches it off. Every error names the file it is
//! about, since a wrong certificate is nearly always a wrong file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

/// `[queues.NAME.output.tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientSettings {
    /// Whether connections are made with TLS.
    pub enabled: bool,
    /// PEM file of the authorities that the hosts' certificates are verified by;
    /// the system's without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// PEM file of our own certificate, and of those between it and its authority.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of its key: PKCS#8, PKCS#1 or SEC1, not encrypted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name that the hosts' certificates are for; that in `hosts` without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server_name: Option<String>,
}

/// What is wrong with the files of a TLS side.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("cannot read {}: {error}", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A file is no PEM, or does not hold what it should.
    #[error("{} {what}", file.display())]
    Unfit {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// One of two files that belong together is missing.
    #[error("cert_file and key_file belong together: name both, or none")]
    Half,
    /// The system has no authorities of its own.
    #[error("the system's certificates of authorities cannot be used ({0}); name a ca_file")]
    NoRoots(String),
    /// A name that no certificate can be for.
    #[error("{0:?} is no name that a certificate can be for; write a DNS name or an IP address")]
    Name(String),
    /// The parts do not make a whole.
    #[error("these TLS settings cannot be used: {0}")]
    Unusable(String),
}

impl TlsError {
    fn unfit(file: &Path, what: impl Into<String>) -> Self {
        Self::Unfit {
            file: file.to_owned(),
            what: what.into(),
        }
    }

    /// The one of `settings` that is to blame, from the output's section on.
    pub(crate) fn setting(&self, settings: &ClientSettings) -> &'static str {
        match self {
            Self::Unreadable { file, .. } | Self::Unfit { file, .. } => {
                let is = |setting: &Option<PathBuf>| setting.as_ref() == Some(file);
                match () {
                    () if is(&settings.ca_file) => "tls.ca_file",
                    () if is(&settings.cert_file) => "tls.cert_file",
                    () => "tls.key_file",
                }
            }
            Self::Half if settings.cert_file.is_none() => "tls.key_file",
            Self::Half => "tls.cert_file",
            Self::NoRoots(_) => "tls.ca_file",
            Self::Name(_) => "tls.server_name",
            Self::Unusable(_) => "tls.enabled",
        }
    }

    fn unusable(error: impl std::fmt::Display) -> Self {
        Self::Unusable(error.to_string())
    }
}

/// The client side, loaded. Cheap to clone; equal to another that was loaded from
/// the same settings and the same bytes.
#[derive(Debug, Clone)]
pub struct Client {
    config: Arc<ClientConfig>,
    server_name: Option<ServerName<'static>>,
    loaded_from: (ClientSettings, Vec<u128>),
}

impl PartialEq for Client {
    fn eq(&self, other: &Self) -> bool {
        self.loaded_from == other.loaded_from
    }
}

impl Client {
    /// Reads the files that `settings` name; `None` if TLS is off. Blocks on the
    /// disk.
    ///
    /// # Errors
    ///
    /// Whatever makes connections with these settings impossible.
    pub fn load(settings: &ClientSettings) -> Result<Option<Self>, TlsError> {
        if !settings.enabled {
            return Ok(None);
        }
        let mut files = Files::default();
        let roots = match &settings.ca_file {
            Some(file) => files.roots(file)?,
            None => system_roots()?,
        };
        let server_name = settings.server_name.as_deref().map(to_name).transpose()?;
        let own = match (&settings.cert_file, &settings.key_file) {
            (Some(cert), Some(key)) => Some(files.identity(cert, key)?),
            (None, None) => None,
            _ => return Err(TlsError::Half),
        };
        Ok(Some(Self {
            config: Arc::new(client_config(roots, own)?),
            server_name,
            loaded_from: (settings.clone(), files.hashes),
        }))
    }

    /// The name that a certificate of `host` has to be for.
    ///
    /// # Errors
    ///
    /// `host` is neither a DNS name nor an IP address.
    pub fn name_of(&self, host: &str) -> Result<ServerName<'static>, TlsError> {
        self.server_name.clone().map_or_else(|| to_name(host), Ok)
    }

    /// What connections are made with.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.config.clone()
    }

    /// The beginning of a connection to the holder of `name`.
    ///
    /// # Errors
    ///
    /// None that is known; rustls reserves the right.
    pub fn session(&self, name: ServerName<'static>) -> Result<ClientConnection, rustls::Error> {
        ClientConnection::new(self.config.clone(), name)
    }
}

fn client_config(
    roots: RootCertStore,
    own: Option<CertifiedKey>,
) -> Result<ClientConfig, TlsError> {
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::unusable)?
        .with_webpki_verifier(verifier.build().map_err(TlsError::unusable)?);
    Ok(match own {
        Some(own) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
        None => builder.with_no_client_auth(),
    })
}

/// The server side: shows the certificate in `cert_file`, and with `client_ca_file`
/// takes only clients with a certificate of an authority in that. Blocks on the disk.
///
/// # Errors
///
/// Whatever makes it impossible to serve with these files.
pub fn server_config(
    cert_file: &Path,
    key_file: &Path,
    client_ca_file: Option<&Path>,
) -> Result<Arc<ServerConfig>, TlsError> {
    let mut files = Files::default();
    let own = files.identity(cert_file, key_file)?;
    let builder = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(TlsError::unusable)?;
    let builder = match client_ca_file {
        None => builder.with_no_client_auth(),
        Some(file) => {
            let roots = Arc::new(files.roots(file)?);
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
            builder.with_client_cert_verifier(verifier.build().map_err(TlsError::unusable)?)
        }
    };
    Ok(Arc::new(
        builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(own))),
    ))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn to_name(text: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(text.to_owned()).map_err(|_| TlsError::Name(text.to_owned()))
}

fn system_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 {
        let why = found.errors.first().map(ToString::to_string);
        return Err(TlsError::NoRoots(
            why.unwrap_or_else(|| "there are none".into()),
        ));
    }
    Ok(roots)
}

/// Files that were read, by the hash of what was in them.
#[derive(Default)]
struct Files {
    hashes: Vec<u128>,
}

impl Files {
    fn read(&mut self, file: &Path) -> Result<Vec<u8>, TlsError> {
        let bytes = fs::read(file).map_err(|error| TlsError::Unreadable {
            file: file.to_owned(),
            error,
        })?;
        self.hashes.push(xxh3_128(&bytes));
        Ok(bytes)
    }

    fn certificates(&mut self, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let pem = self.read(file)?;
        let found: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&pem).collect();
        let found = found.map_err(|error| TlsError::unfit(file, format!("is damaged: {error}")))?;
        if found.is_empty() {
            let what = "holds no certificate; it has to be PEM, with -----BEGIN CERTIFICATE-----";
            return Err(TlsError::unfit(file, what));
        }
        Ok(found)
    }

    fn roots(&mut self, file: &Path) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates(file)? {
            roots.add(certificate).map_err(|error| {
                TlsError::unfit(
                    file,
                    format!("holds what is no authority's certificate: {error}"),
                )
            })?;
        }
        Ok(roots)
    }

    fn identity(&mut self, cert: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
        let chain = self.certificates(cert)?;
        let secret = self.key(key)?;
        CertifiedKey::from_der(chain, secret, &provider()).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                let what = format!("is not the key of the certificate in {}", cert.display());
                TlsError::unfit(key, what)
            }
            rustls::Error::InvalidCertificate(_) => {
                TlsError::unfit(cert, format!("holds a certificate that is none: {error}"))
            }
            _ => TlsError::unfit(key, format!("holds a key that cannot be used: {error}")),
        })
    }

    fn key(&mut self, file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
        let pem = self.read(file)?;
        // What the parser says may quote the file: it is a secret.
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| {
            let encrypted = memchr::memmem::find(&pem, b"ENCRYPTED").is_some();
            TlsError::unfit(file, if encrypted { ENCRYPTED } else { NO_KEY })
        })
    }
}

const ENCRYPTED: &str =
    "holds an encrypted key; decrypt it: openssl pkey -in ENCRYPTED.pem -out KEY.pem";
const NO_KEY: &str = "holds no private key; it has to be PEM, with -----BEGIN PRIVATE KEY----- \
    (PKCS#8), -----BEGIN RSA PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----";

#[cfg(test)]
mod tests;
