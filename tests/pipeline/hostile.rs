//! Modules that mean harm in the place of one that does not: the other ten tables are made, the error says who it was,
//! and the table catches up. And a module that looks for what it was not meant to see.

use anyhow::{Context, Result, ensure};
use arrow::datatypes::{DataType, Field, Schema};
use tidemill::contract::{Description, LoadMode, Output};
use tidemill::registry::{Promoter, Registry};
use tidemill::sandbox::module_digest;
use tidemill_tests::guests;
use tidemill_tests::oracle;
use tidemill_tests::postgres::execute;
use tidemill_tests::puppet::{Puppet, hollow_schema, input};
use tidemill_tests::star::Star;

use super::world::{At, Beginning, World, report_of};

/// The table that has a bad time, and the module that should make it.
const TABLE: &str = "fact_payment";
const MODULE: &str = "fact-payment";
const GOOD: &str = "1.0.0";

/// What a module does, and what is said of it after its name, version and digest.
fn deeds() -> Vec<(Deed, &'static str)> {
    let puppet = |puppet: Puppet| Deed::Puppet(puppet);
    let honest = honest();
    vec![
        (puppet(honest.clone().does("push", "loop")), "was stopped in push: it ran longer than 3s"),
        (puppet(honest.clone().does("push", "hoard")), "was stopped in push: it asked for more memory than 64.0 MiB"),
        (
            puppet(honest.clone().does("describe", "unreachable")),
            "was stopped in describe: it trapped: wasm trap: wasm `unreachable` instruction executed",
        ),
        (
            puppet(honest.clone().does("open", "recurse")),
            "was stopped in open: it trapped: wasm trap: call stack exhausted",
        ),
        (
            puppet(honest.clone().does_with("push", "rows", b"payment_id\n1\n")),
            "was stopped in push: its rows are no valid Arrow stream: a message does not begin with its mark",
        ),
        (
            puppet(honest.clone().does_with("push", "rows", &hollow_schema())),
            "was stopped in push: its rows are no valid Arrow stream: the decoder gave up on it",
        ),
        (
            puppet(honest.clone().does("push", "counts 1000000 0 0 0")),
            "was stopped in push: it counts 1000000 rows in, but there are ",
        ),
        (
            puppet(honest.clone().set("inputs", 10_000)),
            "was stopped in describe: its description is wrong: it has 10000 inputs; there must be 1 to 64",
        ),
        (
            puppet(honest.says("name", &[b"fact-sales-order"])),
            "was stopped in describe: its description is wrong: it calls itself fact-sales-order@",
        ),
        (
            Deed::Bytes(b"(component (import \"wasi:filesystem/preopens@0.2.0\" (instance)) (instance $none) \
                (export \"tidemill:transform/transform@1.0.0\" (instance $none)))"),
            "is refused: it imports `wasi:filesystem/preopens@0.2.0`; a module may import nothing but \
             `tidemill:transform/log@1.0.0`",
        ),
        (Deed::Bytes(b"(module)"), "is refused: it is a core WebAssembly module, not a component"),
    ]
}

/// A module in the making.
enum Deed {
    Puppet(Puppet),
    Bytes(&'static [u8]),
}

/// A module that makes nothing of payments.
fn honest() -> Puppet {
    let id = Schema::new(vec![Field::new("payment_id", DataType::Int32, false)]);
    Puppet::default()
        .says("name", &[MODULE.as_bytes()])
        .takes(vec![input(
            "payment",
            &id,
            "changes",
            "streamed",
            &["payment_id"],
        )])
        .makes(TABLE, &id, &["payment_id"])
}

#[tokio::test]
async fn hostile_modules_stop_their_own_table_alone_which_catches_up() -> Result<()> {
    let mut beginning = Beginning::at(At::Folder);
    beginning.edits = &[(
        "[warehouse]",
        "[limits]\ntime = \"3s\"\nmemory = \"64 MiB\"\n\n[warehouse]",
    )];
    let mut world = World::begin(beginning).await?;
    world.run().await?;
    for (number, (deed, said)) in deeds().into_iter().enumerate() {
        let version = format!("1.6.{number}");
        let digest = push(&world, MODULE, &version, deed).await?;
        promote(&world, MODULE, &version).await?;
        world.live().await?;
        let told = world.call(&["run"])?;
        let context = || format!("{said}: {told:#?}");
        ensure!(told.code == Some(1), context());
        let report = report_of(&told)?;
        let failures = report["transform"]["failures"]
            .as_array()
            .with_context(context)?;
        ensure!(failures.len() == 1, context());
        let message = failures[0]["message"].as_str().with_context(context)?;
        let begins = format!("module {MODULE}@{version} ({digest}) {said}");
        ensure!(message.starts_with(&begins), context());
        ensure!(
            failures[0]["table"] == TABLE && failures[0]["kind"] == "module",
            context()
        );
        ensure!(
            failures[0]["hint"]
                .as_str()
                .is_some_and(|hint| !hint.is_empty()),
            context()
        );
        // What panics in the host is caught, and nobody has to read it.
        ensure!(!told.stderr.contains("panicked"), context());
        others_are_exact(&world).await.with_context(context)?;
        world.evolution.run();
    }
    promote(&world, MODULE, GOOD).await?;
    world.done(&["run"])?;
    // Every version of every day is there.
    world.check().await?;
    world.verify()?;
    Ok(())
}

async fn others_are_exact(world: &World) -> Result<()> {
    let mut expected = oracle::expected(&world.source).await?;
    ensure!(
        expected.tables.remove(TABLE).is_some(),
        "the oracle knows {TABLE}"
    );
    let found = Star::of_warehouse(world.warehouse.as_ref(), &expected).await?;
    match expected.differences(&found) {
        None => Ok(()),
        Some(differences) => anyhow::bail!("tables beside the stopped one differ:\n{differences}"),
    }
}

fn registry(world: &World) -> Result<Registry> {
    Ok(Registry::new(world.project.zone("file://./lake/modules")?))
}

/// Puts a module into the registry past every check, as somebody would who can write there; gives its digest.
async fn push(world: &World, name: &str, version: &str, deed: Deed) -> Result<String> {
    let (component, parameters) = match deed {
        Deed::Puppet(puppet) => {
            let named = puppet.says("version", &[version.as_bytes()]);
            (guests::hostile()?, named.parameters())
        }
        Deed::Bytes(text) => (wat::parse_bytes(text)?.into_owned(), Vec::new()),
    };
    let nothing = Description {
        name: name.into(),
        version: version.into(),
        inputs: Vec::new(),
        output: Output {
            table: TABLE.into(),
            schema: Schema::empty().into(),
            primary_key: Vec::new(),
            mode: LoadMode::Upsert,
        },
        properties: [].into(),
    };
    registry(world)?
        .push(&component, &parameters, &nothing)
        .await?;
    Ok(module_digest(&component, &parameters).short())
}

async fn promote(world: &World, name: &str, version: &str) -> Result<()> {
    let promoter = Promoter {
        who: "test".into(),
        when: "2026-01-01T00:00:00Z".parse()?,
        why: "swapped".into(),
        shadow: None,
        rebuild: false,
    };
    registry(world)?.promote(name, version, &promoter).await?;
    Ok(())
}

const DECLARED: &str = "needle-in-a-declared-column";
const UNDECLARED: &str = "needle-in-an-undeclared-column";
const ELSEWHERE: &str = "needle-in-a-table-of-other-modules";
const SECRET: &str = "needle-in-the-password";

/// The module of `dim_staff` is given first names and nothing else, in a process that reads whole staff, reads
/// addresses for two other modules at the same time, and knows a password. All of its memory is searched.
#[tokio::test]
async fn a_module_finds_nothing_in_its_memory_but_what_it_declared() -> Result<()> {
    let mut world = World::begin(Beginning::at(At::Postgres)).await?;
    execute(
        &world.source,
        &format!(
            "UPDATE staff SET first_name = '{DECLARED}', last_name = '{UNDECLARED}', email_address = '{UNDECLARED}'; \
             UPDATE address SET city = '{ELSEWHERE}'; UPDATE department SET manager = '{ELSEWHERE}'"
        ),
    )
    .await?;
    let url = world
        .source
        .replacen("://postgres@", &format!("://postgres:{SECRET}@"), 1);
    ensure!(
        url.contains(SECRET),
        "no place for a password in {}",
        world.source
    );
    world.project.set("TOTESYS_URL", &url);
    world.project.set("DEPLOY_TOKEN", SECRET);
    let seen = [DECLARED, UNDECLARED, ELSEWHERE, SECRET];
    let columns = |names: &[&str]| {
        let mut fields = vec![Field::new("staff_id", DataType::Int32, false)];
        fields.extend(
            names
                .iter()
                .map(|name| Field::new(*name, DataType::Utf8, false)),
        );
        Schema::new(fields)
    };
    // The last is the counter-proof: what it declares, it finds.
    for (number, (declared, found)) in [
        (columns(&["first_name"]), [true, false, false, false]),
        (columns(&[]), [false, false, false, false]),
        (
            columns(&["first_name", "last_name"]),
            [true, true, false, false],
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let version = format!("1.6.{number}");
        let puppet = Puppet::default()
            .says("name", &[b"dim-staff"])
            .takes(vec![input(
                "staff",
                &declared,
                "current",
                "streamed",
                &["staff_id"],
            )])
            .makes("dim_staff", &columns(&[]), &["staff_id"])
            .searches("push", &seen);
        push(&world, "dim-staff", &version, Deed::Puppet(puppet)).await?;
        promote(&world, "dim-staff", &version).await?;
        world.live().await?;
        let told = world.call(&["run"])?;
        let report = report_of(&told)?;
        let message = report["transform"]["failures"][0]["message"].as_str();
        let message = message.with_context(|| format!("{told:#?}"))?;
        let (_, counts) = message
            .split_once(" gave up in push: found ")
            .context(message.to_owned())?;
        let (counts, _) = counts
            .split_once(" [searched]")
            .context(message.to_owned())?;
        let counts: Vec<u32> = counts
            .split(", ")
            .map(str::parse)
            .collect::<Result<_, _>>()?;
        let finds: Vec<bool> = counts.iter().map(|count| *count > 0).collect();
        ensure!(finds == found, "with {declared:?}: {message}");
        // Twenty members of staff, each at least once where they are seen at all.
        ensure!(counts[0] == 0 || counts[0] >= 20, "{message}");
        ensure!(
            !told.stdout.contains(SECRET) && !told.stderr.contains(SECRET),
            "{told:#?}"
        );
    }
    Ok(())
}
