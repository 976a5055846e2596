//! Puts the built-in modules into the program: the components and the index that `cargo x guests` makes.

use std::env;
use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const INDEX: &str = "index.json";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-env-changed=TIDEMILL_GUESTS");
    println!("cargo::rerun-if-env-changed=CARGO_TARGET_DIR");
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?);
    let Some(guests) = guests_folder(&out) else {
        println!("cargo::error=the built-in modules are not built yet: run `cargo x guests`");
        return Ok(());
    };
    let index = guests.join(INDEX);
    println!("cargo::rerun-if-changed={}", index.display());
    let listed = fs::read_to_string(&index).map_err(|cause| {
        format!(
            "cannot read {}: {cause}: run `cargo x guests`",
            index.display()
        )
    })?;
    fs::write(out.join("builtin.rs"), embedded(&guests, &listed)?)?;
    Ok(())
}

/// `TIDEMILL_GUESTS`, else the folder `guests` of the target folder that is being built into.
fn guests_folder(out: &Path) -> Option<PathBuf> {
    if let Some(folder) = env::var_os("TIDEMILL_GUESTS") {
        return Some(folder.into());
    }
    env::var_os("CARGO_TARGET_DIR")
        .map(PathBuf::from)
        .iter()
        .map(PathBuf::as_path)
        .chain(out.ancestors())
        .map(|target| target.join("guests"))
        .find(|guests| guests.join(INDEX).is_file())
}

/// The index and the files it names, as Rust. The program reads the index when it needs it, so that no
/// JSON parser has to be built before the build begins; a file of an older build is not in the index.
fn embedded(guests: &Path, listed: &str) -> Result<String, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(guests)? {
        let name = entry?.file_name();
        files.extend(name.to_str().map(str::to_owned));
    }
    files.retain(|file| file.ends_with(".wasm") && listed.contains(&format!("\"{file}\"")));
    files.sort();
    let guests = fs::canonicalize(guests)?;
    let mut code = format!("const INDEX: &str = {listed:?};\nconst FILES: &[(&str, &[u8])] = &[\n");
    for file in files {
        let path = guests.join(&file);
        println!("cargo::rerun-if-changed={}", path.display());
        writeln!(code, "    ({file:?}, include_bytes!({path:?})),")?;
    }
    code.push_str("];\n");
    Ok(code)
}
