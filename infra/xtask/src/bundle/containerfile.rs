//! `infra/container/Containerfile` as the bundler reads it: what an engine would make of it is in the image, and nothing is
//! said twice.
//!
//! Only the instructions that the file uses are understood, in their JSON form where they have one. Another is an error.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

/// What the file says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Containerfile {
    /// Archives, in the order of their layers.
    pub(super) archives: Vec<String>,
    pub(super) user: String,
    pub(super) folder: String,
    pub(super) environment: Vec<String>,
    pub(super) ports: Vec<String>,
    pub(super) stop_signal: String,
    pub(super) entry: Vec<String>,
    pub(super) arguments: Vec<String>,
    pub(super) health: Option<Health>,
}

/// How health is asked.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Health {
    pub(super) command: Vec<String>,
    pub(super) interval: Duration,
    pub(super) timeout: Duration,
    pub(super) start: Duration,
    pub(super) retries: u32,
}

impl Containerfile {
    /// Reads the file.
    ///
    /// # Errors
    /// With the line that is not understood.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut file = Self::default();
        for (line, number) in text.lines().zip(1..) {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (instruction, rest) = line.split_once(' ').unwrap_or((line, ""));
            file.take(instruction, rest.trim())
                .with_context(|| format!("Containerfile:{number}: {line}"))?;
        }
        ensure!(!file.archives.is_empty(), "the Containerfile adds nothing");
        ensure!(!file.entry.is_empty(), "the Containerfile has no entry");
        Ok(file)
    }

    fn take(&mut self, instruction: &str, rest: &str) -> Result<()> {
        match instruction {
            "FROM" => ensure!(rest == "scratch", "the image begins with nothing"),
            "ADD" => {
                let archive = rest.strip_suffix(" /").context("an archive goes to /")?;
                ensure!(archive.ends_with(".tar"), "it is no archive");
                self.archives.push(archive.trim().to_owned());
            }
            "USER" => self.user = rest.to_owned(),
            "WORKDIR" => self.folder = rest.to_owned(),
            "ENV" => {
                ensure!(
                    rest.contains('=') && !rest.contains(' '),
                    "write it as NAME=VALUE"
                );
                self.environment.push(rest.to_owned());
            }
            "EXPOSE" => self.ports.push(rest.to_owned()),
            "STOPSIGNAL" => self.stop_signal = rest.to_owned(),
            "ENTRYPOINT" => self.entry = list(rest)?,
            "CMD" => self.arguments = list(rest)?,
            "HEALTHCHECK" => self.health = Some(Health::parse(rest)?),
            _ => bail!("the bundler does not know this instruction"),
        }
        Ok(())
    }
}

impl Health {
    fn parse(text: &str) -> Result<Self> {
        let (flags, command) = text.split_once("CMD ").context("it has no CMD")?;
        let mut health = Self {
            command: list(command)?,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start: Duration::ZERO,
            retries: 3,
        };
        for flag in flags.split_whitespace() {
            match flag.split_once('=').context("a flag has a value")? {
                ("--interval", value) => health.interval = seconds(value)?,
                ("--timeout", value) => health.timeout = seconds(value)?,
                ("--start-period", value) => health.start = seconds(value)?,
                ("--retries", value) => health.retries = value.parse()?,
                (other, _) => bail!("the bundler does not know {other}"),
            }
        }
        Ok(health)
    }
}

fn seconds(text: &str) -> Result<Duration> {
    let number = text
        .strip_suffix('s')
        .context("write it in seconds, as 30s")?;
    Ok(Duration::from_secs(number.parse()?))
}

/// A list in its JSON form: the other is for a shell, and the image has none.
fn list(text: &str) -> Result<Vec<String>> {
    serde_json::from_str(text).context("write it as [\"program\", \"argument\"]: there is no shell")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_the_project_is_understood() {
        let file = Containerfile::parse(include_str!("../../../container/Containerfile"));
        let file = file.expect("it is understood");
        assert_eq!(file.archives, ["system.tar", "program.tar", "project.tar"]);
        assert_eq!(file.entry, ["/usr/bin/tidemill"]);
        let (user, _) = file.user.split_once(':').expect("a user and a group");
        assert!(user.parse::<u32>().is_ok_and(|user| user >= 1000), "{user}");
        let health = file.health.expect("health is asked");
        assert_eq!(health.command, ["/usr/bin/tidemill", "health"]);
        assert_eq!(health.timeout, Duration::from_secs(6));
    }

    #[test]
    fn what_is_not_understood_is_told_with_its_line() {
        for (line, problem) in [
            ("RUN apt-get install curl", "does not know this instruction"),
            ("ENTRYPOINT tidemill serve", "there is no shell"),
            ("FROM debian", "begins with nothing"),
            ("ENV A B", "NAME=VALUE"),
        ] {
            let error = Containerfile::parse(&format!("\n{line}\n")).expect_err(line);
            let told = format!("{error:#}");
            assert!(
                told.contains("Containerfile:2") && told.contains(problem),
                "{told}"
            );
        }
    }
}
