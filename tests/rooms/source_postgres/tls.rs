//! The modes of TLS against certificates of our own making.

use super::*;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("it signs").pem();
        Self {
            pem,
            issuer: Issuer::new(params, key),
        }
    }

    /// A certificate for `host` and its key.
    fn sign(&self, host: &str) -> (String, String) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &self.issuer).expect("it signs");
        (certificate.pem(), key.serialize_pem())
    }
}

/// Whether the connection was encrypted, or why there was none.
async fn encrypted(server: &Server, query: &str) -> Result<bool, SourceError> {
    let url = format!(
        "postgresql://postgres@localhost:{}/postgres?{query}",
        server.port()
    );
    let url = tidemill::connection::postgres::PgUrl::parse(&url)?;
    let connection = tidemill::connection::postgres::connect(&url).await?;
    let row = connection
        .query_one(
            "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
            &[],
        )
        .await
        .expect("it runs");
    connection.close().await;
    Ok(row.get(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_trusts_what_it_should() {
    let authority = Authority::new();
    let stranger = Authority::new();
    let folder = tempfile::tempdir().expect("there is room");
    let file = |name: &str, pem: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, pem).expect("there is room");
        path.display().to_string()
    };
    let (certificate, key) = authority.sign("localhost");
    let root = file("root.pem", &authority.pem);
    let other = file("other.pem", &stranger.pem);
    let itself = file("self.pem", &certificate);
    let empty = file("empty.pem", "");

    let server = Server::start("");
    assert!(
        !encrypted(&server, "sslmode=prefer")
            .await
            .expect("plain will do")
    );
    let error = encrypted(&server, "sslmode=require")
        .await
        .expect_err("it has no TLS");
    assert!(
        error
            .to_string()
            .starts_with("no secure connection to localhost"),
        "{error}"
    );

    server.write("server.crt", &certificate);
    server.write("server.key", &key);
    server.restart("ssl = on\n");
    for (query, outcome) in [
        ("sslmode=disable".to_owned(), Some(false)),
        ("sslmode=allow".to_owned(), Some(false)),
        ("sslmode=prefer".to_owned(), Some(true)),
        ("sslmode=require".to_owned(), Some(true)),
        (format!("sslmode=require&sslrootcert={root}"), Some(true)),
        (format!("sslmode=require&sslrootcert={other}"), None),
        (format!("sslmode=prefer&sslrootcert={other}"), Some(false)),
        (format!("sslmode=verify-ca&sslrootcert={root}"), Some(true)),
        (
            format!("sslmode=verify-ca&sslrootcert={itself}"),
            Some(true),
        ),
        ("sslmode=verify-ca".to_owned(), None),
        (
            format!("sslmode=verify-full&sslrootcert={root}"),
            Some(true),
        ),
        (format!("sslmode=verify-full&sslrootcert={other}"), None),
        (format!("sslmode=verify-full&sslrootcert={empty}"), None),
        (
            "sslmode=verify-full&sslrootcert=/no/such/file".to_owned(),
            None,
        ),
    ] {
        let result = encrypted(&server, &query).await;
        assert_eq!(
            result.as_ref().ok().copied(),
            outcome,
            "{query}: {result:?}"
        );
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::Config);
        }
    }

    let (certificate, key) = authority.sign("db.example");
    server.write("server.crt", &certificate);
    server.write("server.key", &key);
    server.restart("");
    for (query, outcome) in [
        (format!("sslmode=verify-ca&sslrootcert={root}"), Some(true)),
        (format!("sslmode=verify-full&sslrootcert={root}"), None),
    ] {
        let result = encrypted(&server, &query).await;
        assert_eq!(
            result.as_ref().ok().copied(),
            outcome,
            "{query}: {result:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_decides_between_plain_and_encrypted() {
    let authority = Authority::new();
    let (certificate, key) = authority.sign("localhost");
    let server = Server::start("");
    server.write("server.crt", &certificate);
    server.write("server.key", &key);
    for (rule, allow, prefer, disable) in [
        ("hostssl all all all trust", Some(true), Some(true), None),
        (
            "hostnossl all all all trust",
            Some(false),
            Some(false),
            Some(false),
        ),
    ] {
        server.write("pg_hba.conf", &format!("{rule}\nlocal all all trust\n"));
        server.restart("ssl = on\n");
        for (mode, outcome) in [("allow", allow), ("prefer", prefer), ("disable", disable)] {
            let result = encrypted(&server, &format!("sslmode={mode}")).await;
            assert_eq!(
                result.as_ref().ok().copied(),
                outcome,
                "{rule} {mode}: {result:?}"
            );
        }
    }
}
