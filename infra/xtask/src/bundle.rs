//! `cargo x bundle --target lambda|container`: what is deployed, the same bytes from the same sources.
//!
//! ```text
//! program ──┬─▶ bootstrap, project, compiled ──▶ lambda-ARCH.zip
//!           └─▶ system, program, project ──▶ container-ARCH/layout (OCI) and container-ARCH/context (Containerfile)
//! ```
//!
//! The program is linked against the C library and brings it along in the container. A static one was rejected: `musl` has
//! an allocator that is several times slower on many threads, and is another target for which everything is built again. The
//! base images of others were rejected, too: they cannot be had without a registry, and what is in them changes below us.
//! In a Lambda function the C library is the system's, so programs are linked against one that is as old (`zig`), and one that
//! needs a newer one is refused.

mod arch;
pub(crate) mod compiler;
mod containerfile;
mod image;
mod lambda;
mod layers;
mod program;
mod system;
mod tree;
mod zig;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

use crate::workspace::Workspace;
use arch::Arch;
use layers::Effort;
use tree::Tree;

/// What is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Target {
    Lambda,
    Container,
}

/// What was asked for.
#[derive(Debug)]
struct Order {
    target: Target,
    arch: Arch,
    /// The profile of cargo that the program is built in.
    profile: String,
    /// A program that is there already.
    program: Option<PathBuf>,
    /// The folder of a project that goes into the bundle.
    project: Option<PathBuf>,
    /// Where the bundle goes.
    out: Option<PathBuf>,
}

/// Makes a bundle.
///
/// # Errors
/// When the program cannot be built or would not run where it is to run, or a file cannot be written.
#[allow(clippy::print_stdout)]
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let order = Order::parse(arguments)?;
    let workspace = Workspace::load()?;
    let program = match &order.program {
        Some(program) => program.clone(),
        None => program::build(&workspace, order.arch, &order.profile)?,
    };
    let program = program::Program::read(&program, order.arch)?;
    // What a developer builds has the folder in which it was built in it, and is for trying.
    if order.profile == program::PROFILE && order.program.is_none() {
        program.check_paths(&workspace)?;
    }
    let project = project(&order, &workspace, &program)?;
    let out = order.out.clone();
    let out = out.unwrap_or_else(|| workspace.target().join("bundle"));
    std::fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let effort = match order.profile == program::PROFILE {
        true => Effort::Whole,
        false => Effort::Little,
    };
    let (path, digest) = match order.target {
        Target::Lambda => lambda::write(&out, order.arch, &program, project, effort)?,
        Target::Container => {
            let file = workspace.root().join("infra/container/Containerfile");
            let licence = workspace.root().join("LICENSE");
            let system = system::tree(workspace.target(), order.arch, &program, &licence)?;
            image::write(&out, order.arch, &file, [system, project], &program, effort)?
        }
    };
    println!("{}\nsha256:{digest}", path.display());
    Ok(())
}

/// The files of the project, with its modules compiled for the processor of the bundle: by the program itself where it runs
/// here, otherwise by one that is built for that.
fn project(order: &Order, workspace: &Workspace, program: &program::Program) -> Result<Tree> {
    let Some(folder) = &order.project else {
        return Ok(Tree::default());
    };
    let file = folder.join("tidemill.toml");
    ensure!(
        file.is_file(),
        "{} has no tidemill.toml: name the folder of a project with --project",
        folder.display()
    );
    let mut tree = Tree::default();
    tree.add_folder(folder, Path::new(""), &is_deployed)?;
    let compiler = match order.arch.is_this_machine() {
        true => program.path().to_owned(),
        false => program::build_compiler(workspace)?,
    };
    program::compile_modules(&compiler, order.arch, folder, &mut tree)?;
    Ok(tree)
}

/// What of a project is deployed: not its rows, its warehouse, its secrets and its databases, which are elsewhere. Modules in
/// a folder of the project are code, and go along.
fn is_deployed(path: &Path) -> bool {
    const LEFT: [&str; 5] = ["warehouse", "compiled", "target", ".tidemill", ".git"];
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_secret = name == ".env" || name.starts_with(".env.");
    let is_database = [".sqlite", ".sqlite-wal", ".sqlite-shm", ".db"];
    let is_rows = path.parent() == Some(Path::new("lake")) && name != "modules";
    !is_rows
        && !is_secret
        && !LEFT.contains(&&*name)
        && !is_database.iter().any(|end| name.ends_with(end))
}

impl Order {
    fn parse(arguments: &[&str]) -> Result<Self> {
        let mut order = Self {
            target: Target::Container,
            arch: Arch::this_machine()?,
            profile: program::PROFILE.to_owned(),
            program: None,
            project: None,
            out: None,
        };
        let mut target = None;
        let mut rest = arguments.iter();
        while let Some(flag) = rest.next() {
            let mut value = || rest.next().with_context(|| format!("{flag} needs a value"));
            match *flag {
                "--target" => {
                    target = Some(match *value()? {
                        "lambda" => Target::Lambda,
                        "container" => Target::Container,
                        other => {
                            bail!("there is no target `{other}`; there are lambda and container")
                        }
                    });
                }
                "--arch" => order.arch = Arch::parse(value()?)?,
                "--profile" => order.profile = (*value()?).to_owned(),
                "--program" => order.program = Some(value()?.into()),
                "--project" => order.project = Some(value()?.into()),
                "--out" => order.out = Some(value()?.into()),
                other => bail!("cargo x bundle knows no `{other}`"),
            }
        }
        order.target = target.context("name a target: --target lambda or --target container")?;
        Ok(order)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_names_its_target_and_nothing_unknown() {
        let order = Order::parse(&["--target", "lambda", "--arch", "arm64"]).expect("an order");
        assert_eq!((order.target, order.arch), (Target::Lambda, Arch::Arm64));
        assert_eq!(order.profile, program::PROFILE);
        for wrong in [
            &[][..],
            &["--target"],
            &["--target", "heroku"],
            &["--target", "lambda", "--arch", "mips"],
            &["--target", "lambda", "--fast"],
        ] {
            assert!(Order::parse(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn secrets_and_data_stay_where_they_are() {
        for left in [
            "lake/ingestion",
            "lake/processed",
            ".env",
            ".env.production",
            "totesys.sqlite",
            "a/.git",
        ] {
            assert!(!is_deployed(Path::new(left)), "{left}");
        }
        for taken in [
            "tidemill.toml",
            "lake/modules",
            "lake/modules/dim-staff/1.0.0/module.wasm",
        ] {
            assert!(is_deployed(Path::new(taken)), "{taken}");
        }
    }
}
