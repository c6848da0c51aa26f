//! A CA of its own, a server's and a client's certificate, and a server that asks
//! for the latter.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

use super::{RedisServer, ServerKind};

/// The files of a private CA.
#[derive(Debug)]
pub(crate) struct Certificates {
    folder: tempfile::TempDir,
}

impl Certificates {
    /// Makes them: `ca.pem`, and `server` and `client`, each `.pem` and `.key`.
    pub(crate) fn new() -> Self {
        let made = Self {
            folder: tempfile::tempdir().expect("a folder"),
        };
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params
            .distinguished_name
            .push(DnType::CommonName, "authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().expect("a key");
        let ca = CertifiedIssuer::self_signed(params, key).expect("a CA");
        made.write("ca.pem", &ca.pem());
        for name in ["server", "client"] {
            let key = KeyPair::generate().expect("a key");
            let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
            let mut params = CertificateParams::new(hosts).expect("parameters");
            // With its issuer's name it would count as signed by itself.
            params.distinguished_name.push(DnType::CommonName, name);
            let certificate = params.signed_by(&key, &ca).expect("signed");
            made.write(&format!("{name}.pem"), &certificate.pem());
            made.write(&format!("{name}.key"), &key.serialize_pem());
        }
        made
    }

    /// The path of one of the files.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A server on a port for TLS only, beside a plain port for the test itself; with
    /// more lines for its configuration.
    pub(crate) fn server(&self, more: &[&str]) -> (RedisServer, u16) {
        let port = super::free_port();
        let file = |name| self.file(name).display().to_string();
        let mut lines = vec![
            format!("tls-port {port}"),
            format!("tls-ca-cert-file {}", file("ca.pem")),
            format!("tls-cert-file {}", file("server.pem")),
            format!("tls-key-file {}", file("server.key")),
            "tls-auth-clients yes".to_owned(),
        ];
        lines.extend(more.iter().map(|line| (*line).to_owned()));
        let server = RedisServer::start_as(ServerKind {
            more: lines,
            ..ServerKind::default()
        });
        (server, port)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("written");
    }
}
