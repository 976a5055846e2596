//! Users of the S3 server, each with one policy of IAM and nothing else.
//!
//! The server's own protocol for users encrypts what it is told. What it takes without is an export of users and policies
//! from another server: an archive, sent by who may do everything.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::SystemTime;

use anyhow::{Context, Result, ensure};
use aws_sdk_s3::config::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign,
};
use aws_sigv4::sign::v4;
use serde_json::json;

use super::store::{SECRET, Store, USER};

const IMPORT: &str = "/minio/admin/v3/import-iam";

/// A user and the secret.
#[derive(Debug, Clone)]
pub struct User {
    /// The access key.
    pub name: String,
    /// The secret key.
    pub secret: String,
}

/// Credentials for a time.
#[derive(Debug, Clone)]
pub struct Session {
    /// The access key.
    pub id: String,
    /// The secret key.
    pub secret: String,
    /// The token that goes with them.
    pub token: String,
}

impl Store {
    /// Makes a user who may do what `policy` says, as JSON. The name is used once.
    ///
    /// # Errors
    /// When the server does not take the policy.
    pub fn user(&self, name: &str, policy: &str) -> Result<User> {
        let user = User {
            name: name.to_owned(),
            secret: format!("the-secret-of-{name}"),
        };
        let policy: serde_json::Value = serde_json::from_str(policy)?;
        let mapping = json!({
            "version": 1, "policy": name, "updatedAt": "2026-01-01T00:00:00Z",
        });
        let archive = archive(&[
            ("policies", json!({ name: policy })),
            (
                "users",
                json!({ name: { "secretKey": user.secret, "status": "enabled" } }),
            ),
            ("user_mappings", json!({ name: mapping })),
        ]);
        let answer = self.import(&archive)?;
        ensure!(answer.starts_with("HTTP/1.1 200 "), "{policy:#}\n{answer}");
        Ok(user)
    }

    /// Credentials for a time, with all rights.
    ///
    /// # Errors
    /// When the server gives none.
    pub fn session(&self) -> Result<Session> {
        let ask = "Action=AssumeRole&Version=2011-06-15&DurationSeconds=3600";
        let answer = self.send(
            "POST",
            "/",
            "sts",
            "application/x-www-form-urlencoded",
            ask.as_bytes(),
        )?;
        let field = |name: &str| {
            let (_, after) = answer.split_once(&format!("<{name}>"))?;
            Some(after.split_once('<')?.0.to_owned())
        };
        let session = || {
            Some(Session {
                id: field("AccessKeyId")?,
                secret: field("SecretAccessKey")?,
                token: field("SessionToken")?,
            })
        };
        session().with_context(|| answer.clone())
    }

    fn import(&self, archive: &[u8]) -> Result<String> {
        self.send("PUT", IMPORT, "s3", "application/zip", archive)
    }

    /// Sends a request that is signed by who may do everything.
    #[allow(clippy::disallowed_methods, reason = "a signature is of the true time")]
    fn send(
        &self,
        method: &str,
        path: &str,
        service: &str,
        kind: &str,
        body: &[u8],
    ) -> Result<String> {
        let host = format!("127.0.0.1:{}", self.port());
        let identity = Credentials::new(USER, SECRET, None, None, "tests").into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(service)
            .time(SystemTime::now())
            .settings(settings)
            .build()?
            .into();
        let request = SignableRequest::new(
            method,
            format!("http://{host}{path}"),
            [("host", host.as_str()), ("content-type", kind)].into_iter(),
            SignableBody::Bytes(body),
        )?;
        let (signed, _) = sign(request, &parameters)?.into_parts();
        let mut head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-type: {kind}\r\n"
        );
        for (name, value) in signed.headers() {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
        let mut stream = TcpStream::connect(&host)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(body)?;
        let mut answer = String::new();
        stream
            .read_to_string(&mut answer)
            .context("the server runs")?;
        Ok(answer)
    }
}

/// A zip archive of files that are stored as they are.
fn archive(files: &[(&str, serde_json::Value)]) -> Vec<u8> {
    let (mut archive, mut directory) = (Vec::new(), Vec::new());
    let size = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes();
    for (name, content) in files {
        let (name, content) = (format!("iam-assets/{name}.json"), content.to_string());
        let mut sum = flate2::Crc::new();
        sum.update(content.as_bytes());
        // Version, flags, method, time and date; then what is the same in both heads.
        let mut entry: Vec<u8> = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0x5b];
        entry.extend(sum.sum().to_le_bytes());
        entry.extend(size(content.len()));
        entry.extend(size(content.len()));
        entry.extend(u16::try_from(name.len()).unwrap_or(u16::MAX).to_le_bytes());
        entry.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&entry);
        // No comment, first disk, no attributes.
        directory.extend([0; 10]);
        directory.extend(size(archive.len()));
        directory.extend(name.as_bytes());
        archive.extend(b"PK\x03\x04");
        archive.extend(entry);
        archive.extend(name.as_bytes());
        archive.extend(content.as_bytes());
    }
    let count = u16::try_from(files.len()).unwrap_or(u16::MAX).to_le_bytes();
    let begin = size(archive.len());
    let length = size(directory.len());
    archive.extend(directory);
    archive.extend(b"PK\x05\x06\0\0\0\0");
    archive.extend(count);
    archive.extend(count);
    archive.extend(length);
    archive.extend(begin);
    archive.extend([0, 0]);
    archive
}
