//! URLs and what they say of TLS; real handshakes are tried against real servers.

use super::*;

fn parsed(url: &str) -> PgUrl {
    PgUrl::parse(url).expect(url)
}

fn refused(url: &str) -> String {
    PgUrl::parse(url).expect_err(url).to_string()
}

#[test]
fn every_part_of_a_url_is_decoded() {
    let url = parsed(
        "postgresql://o%27keefe:p%40ss%3Aword@[::1]:6543/a%20b?options=-c%20geqo%3Doff&connect_timeout=7",
    );
    assert_eq!(url.config.get_user(), Some("o'keefe"));
    assert_eq!(url.config.get_password(), Some(b"p@ss:word".as_slice()));
    assert_eq!(url.config.get_options(), Some("-c geqo=off"));
    assert_eq!(url.config.get_application_name(), Some("tidemill"));
    assert_eq!(url.timeout, Duration::from_secs(7));
    assert_eq!(url.target(), "[::1]:6543/a b");
}

#[test]
fn the_modes_mean_what_they_mean_in_libpq() {
    for (query, mode, roots) in [
        ("", TlsMode::Prefer, Roots::Unchecked),
        ("?sslmode=require", TlsMode::Require, Roots::Unchecked),
        (
            "?sslmode=require&sslrootcert=%2Fca.pem",
            TlsMode::Require,
            Roots::File("/ca.pem".into()),
        ),
        ("?sslmode=verify-ca", TlsMode::VerifyCa, Roots::System),
        ("?sslrootcert=system", TlsMode::VerifyFull, Roots::System),
    ] {
        let url = parsed(&format!("postgresql://db/t{query}"));
        assert_eq!((url.mode, url.roots), (mode, roots), "{query}");
    }
}

#[test]
fn a_socket_is_never_encrypted() {
    for url in [
        "postgresql://%2Frun%2Fpg/t?sslmode=verify-full",
        "postgresql:///t?host=/run/pg&sslmode=require",
    ] {
        let url = parsed(url);
        assert_eq!(url.mode, TlsMode::Disable);
        assert_eq!(url.target(), "/run/pg:5432/t");
    }
}

#[test]
fn a_wrong_parameter_is_named_and_the_password_is_not() {
    let message = refused("postgresql://ann:secret@db/t?sslmod=require");
    assert_eq!(
        message,
        "the URL `postgresql://ann:***@db/t?sslmod=require` is not usable: unknown option `sslmod`"
    );
    assert!(refused("postgresql://db/t?sslmode=yes").contains("`yes` is not an sslmode"));
    assert!(
        refused("postgresql://db/t?sslmode=require&sslrootcert=system").contains("verify-full")
    );
    assert!(refused("mysql://db/t").contains("does not begin with postgresql://"));
}

#[test]
fn a_debug_print_shows_no_password() {
    let shown = format!("{:?}", parsed("postgresql://ann:secret@db/t"));
    assert!(!shown.contains("secret"), "{shown}");
}
