//! Files as people have them, good and bad.

use std::process::Command;

use super::*;
use crate::pki::Authority;

/// A folder with an authority, and settings that name its file.
fn folder() -> (tempfile::TempDir, Authority, ClientSettings) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(folder.path(), "ca");
    let settings = ClientSettings {
        enabled: true,
        ca_file: Some(authority.file()),
        ..ClientSettings::default()
    };
    (folder, authority, settings)
}

/// What is said about `settings`, and the setting it is said of.
fn complaint(settings: &ClientSettings) -> (&'static str, String) {
    let error = Client::load(settings).expect_err("refused");
    (error.setting(settings), error.to_string())
}

#[test]
fn nothing_is_read_while_it_is_off() {
    let settings = ClientSettings {
        ca_file: Some("/not/there.pem".into()),
        ..ClientSettings::default()
    };
    assert!(Client::load(&settings).expect("off").is_none());
}

#[test]
fn a_file_that_is_missing_or_holds_something_else_is_named() {
    let (folder, authority, mut settings) = folder();
    let missing = folder.path().join("missing.pem");
    settings.ca_file = Some(missing.clone());
    let (setting, said) = complaint(&settings);
    assert_eq!(setting, "tls.ca_file");
    assert!(said.contains(missing.to_str().expect("text")), "{said}");

    let own = authority.certify("gateway.example");
    settings.ca_file = Some(own.key.clone());
    let (_, said) = complaint(&settings);
    assert!(said.contains("holds no certificate"), "{said}");

    settings.ca_file = Some(authority.file());
    settings.cert_file = Some(own.cert.clone());
    settings.key_file = Some(own.cert);
    let (_, said) = complaint(&settings);
    assert!(said.contains("holds no private key"), "{said}");
}

#[test]
fn a_certificate_and_its_key_belong_together() {
    let (_folder, authority, mut settings) = folder();
    let (own, other) = (
        authority.certify("own.example"),
        authority.certify("other.example"),
    );
    settings.cert_file = Some(own.cert);
    assert_eq!(complaint(&settings).0, "tls.cert_file");
    settings.key_file = Some(other.key);
    let (setting, said) = complaint(&settings);
    assert_eq!(setting, "tls.key_file");
    assert!(
        said.contains("is not the key of the certificate in"),
        "{said}"
    );
    settings.key_file = Some(own.key);
    assert!(Client::load(&settings).expect("fits").is_some());
}

/// Has openssl write a file, and returns it.
fn openssl(folder: &Path, arguments: &str, name: &str) -> PathBuf {
    let file = folder.join(name);
    let mut command = Command::new("openssl");
    let (subcommand, rest) = arguments.split_once(' ').expect("arguments");
    command
        .args([subcommand, "-out", name])
        .args(rest.split(' '));
    let made = command.current_dir(folder).output().expect("openssl runs");
    assert!(made.status.success(), "{arguments}: {made:?}");
    file
}

#[test]
fn keys_are_read_in_each_form_that_openssl_writes() {
    let (folder, ..) = folder();
    let folder = folder.path();
    let made = [
        (
            "pkcs1",
            "genrsa -traditional 2048",
            "-----BEGIN RSA PRIVATE KEY-----",
        ),
        (
            "sec1",
            "ecparam -name prime256v1 -genkey -noout",
            "-----BEGIN EC PRIVATE KEY-----",
        ),
        (
            "pkcs8",
            "genpkey -algorithm ed25519",
            "-----BEGIN PRIVATE KEY-----",
        ),
    ];
    for (name, arguments, first_line) in made {
        let key = openssl(folder, arguments, name);
        let pem = fs::read_to_string(&key).expect("read");
        assert!(pem.starts_with(first_line), "{pem}");
        let request = format!("req -x509 -new -key {name} -subj /CN=a.example");
        let cert = openssl(folder, &request, "cert");
        server_config(&cert, &key, None).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn an_encrypted_key_is_refused_with_the_way_to_decrypt_it() {
    let (folder, authority, mut settings) = folder();
    let key = openssl(folder.path(), "genrsa -aes128 -passout pass:x 2048", "key");
    settings.cert_file = Some(authority.certify("own.example").cert);
    settings.key_file = Some(key);
    let (_, said) = complaint(&settings);
    assert!(said.contains("openssl pkey -in"), "{said}");
}

#[test]
fn other_bytes_in_the_same_files_are_another_client() {
    let (folder, _, settings) = folder();
    let load = || Client::load(&settings).expect("loaded").expect("on");
    let before = load();
    assert_eq!(before, load());
    Authority::new(folder.path(), "ca");
    assert_ne!(before, load());
}

#[test]
fn a_host_is_a_name_or_an_address_unless_another_name_is_set() {
    let (_folder, _, mut settings) = folder();
    let client = Client::load(&settings).expect("loaded").expect("on");
    for host in ["logstash.example", "10.0.0.7"] {
        assert_eq!(client.name_of(host).expect("a name").to_str(), host);
    }
    assert!(matches!(
        client.name_of("::1"),
        Ok(ServerName::IpAddress(_))
    ));
    assert!(client.name_of("not a name").is_err());
    settings.server_name = Some("other.example".into());
    let client = Client::load(&settings).expect("loaded").expect("on");
    assert_eq!(
        client.name_of("10.0.0.7").expect("a name").to_str(),
        "other.example"
    );
}
