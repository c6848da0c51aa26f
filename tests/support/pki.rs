//! An authority with certificates in files, and a front that speaks TLS for a
//! server that does not.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, KeyUsagePurpose};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

/// An authority. Its files live in a folder of the caller's.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: PathBuf,
    name: String,
}

/// A certificate and its key.
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

impl Authority {
    pub(crate) fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(params, key).expect("signed");
        let authority = Self {
            issuer,
            folder: folder.to_owned(),
            name: name.to_owned(),
        };
        std::fs::write(authority.file(), authority.issuer.pem()).expect("written");
        authority
    }

    /// Its own certificate.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(format!("{}.pem", self.name))
    }

    /// A certificate for `name`, which may be an IP address.
    pub(crate) fn certify(&self, name: &str) -> Files {
        let params = CertificateParams::new([name.to_owned()]).expect("parameters");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.issuer).expect("signed");
        let file = |kind| self.folder.join(format!("{}-{name}-{kind}.pem", self.name));
        let files = Files {
            cert: file("cert"),
            key: file("key"),
        };
        std::fs::write(&files.cert, cert.pem()).expect("written");
        std::fs::write(&files.key, key.serialize_pem()).expect("written");
        files
    }
}

/// Takes TLS connections and hands on what is in them. Dropped, it is gone.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    /// New connections are taken by the kernel, and by nobody else.
    pub(crate) silent: Arc<AtomicBool>,
    _serving: JoinSet<()>,
}

impl Front {
    pub(crate) async fn start(config: Arc<ServerConfig>, backend: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let address = listener.local_addr().expect("bound");
        let mut serving = JoinSet::new();
        let silent = Arc::new(AtomicBool::new(false));
        let is_silent = silent.clone();
        serving.spawn(async move {
            let (mut connections, mut ignored) = (JoinSet::new(), Vec::new());
            loop {
                let (client, _) = listener.accept().await.expect("accepted");
                match is_silent.load(Relaxed) {
                    true => ignored.push(client),
                    false => {
                        let acceptor = TlsAcceptor::from(config.clone());
                        connections.spawn(hand_on(client, acceptor, backend));
                    }
                }
            }
        });
        Self {
            address,
            silent,
            _serving: serving,
        }
    }
}

async fn hand_on(client: TcpStream, acceptor: TlsAcceptor, backend: SocketAddr) {
    let Ok(mut client) = acceptor.accept(client).await else {
        return;
    };
    if let Ok(mut backend) = TcpStream::connect(backend).await {
        let _ = tokio::io::copy_bidirectional(&mut client, &mut backend).await;
    }
}
