//! Objects, manifests and records that are damaged, cut short, missing, or of a later version, in folders and in a bucket.

use anyhow::{Context, Result, ensure};
use regex::Regex;

use super::{Story, healed};
use tidemill_tests::place::Place;
use tidemill_tests::world::{At, Beginning, World};

/// What happens to a file.
#[derive(Debug, Clone, Copy)]
enum Harm {
    /// One bit of its middle flips.
    Flipped,
    /// Its second half is lost.
    Cut,
    /// It is there, and nothing is in it.
    Emptied,
    /// It is gone.
    Lost,
    /// It says that a later version wrote it.
    Newer,
}

/// A file that was harmed, and what was in it.
struct Harmed {
    place: Place,
    path: String,
    whole: Vec<u8>,
}

impl Harmed {
    /// Harms the last file in the order of names whose path has all of these parts.
    fn by(harm: Harm, world: &World, parts: &[&str]) -> Result<Self> {
        let place = world.place();
        let path = last(&place, parts)?;
        let whole = place.read(&path)?;
        let mut bytes = whole.clone();
        match harm {
            Harm::Flipped => {
                let middle = bytes.len() / 2;
                bytes
                    .iter_mut()
                    .skip(middle)
                    .take(1)
                    .for_each(|byte| *byte ^= 1);
            }
            Harm::Cut => bytes.truncate(bytes.len() / 2),
            Harm::Emptied => bytes.clear(),
            Harm::Newer => {
                let text = String::from_utf8(bytes)?;
                let format = Regex::new(r#""format": \d"#)?;
                let newer = format.replace(&text, r#""format": 9"#);
                bytes = newer.into_owned().into_bytes();
            }
            Harm::Lost => {}
        }
        match harm {
            Harm::Lost => place.remove(&path)?,
            _ => {
                ensure!(bytes != whole, "{path} was not harmed");
                place.write(&path, &bytes)?;
            }
        }
        Ok(Self { place, path, whole })
    }

    fn restore(self) -> Result<()> {
        self.place.write(&self.path, &self.whole)
    }

    fn is_gone(&self) -> bool {
        self.place.read(&self.path).is_err()
    }
}

async fn begin(place: At) -> Result<World> {
    let mut world = World::begin(Beginning {
        scale: 0.3,
        ..Beginning::at(place)
    })
    .await?;
    // Enough of a history that a record can be lost in the middle of it.
    for _ in 0..4 {
        world.run().await?;
        world.live().await?;
    }
    world.run().await?;
    Ok(world)
}

fn last(place: &Place, parts: &[&str]) -> Result<String> {
    let paths = place.paths()?.into_iter();
    let found = paths
        .rev()
        .find(|path| parts.iter().all(|part| path.contains(part)));
    found.with_context(|| format!("no file has {parts:?} in its path"))
}

/// What is said of a place is kept in a file of its own.
fn story(place: At, of: &str) -> Story {
    match place {
        At::Bucket => Story::of(&format!("{of}-in-a-bucket")),
        At::Folder | At::Postgres => Story::of(of),
    }
}

#[tokio::test]
async fn a_damaged_object_stops_what_reads_it_until_it_is_restored() -> Result<()> {
    harm_objects(At::Folder).await
}

#[tokio::test]
async fn a_damaged_object_stops_what_reads_it_until_it_is_restored_in_a_bucket() -> Result<()> {
    harm_objects(At::Bucket).await
}

async fn harm_objects(place: At) -> Result<()> {
    let mut world = begin(place).await?;
    let mut story = story(place, "objects");
    let order = ["lake/ingestion/totesys/sales_order/", "/part-"];
    for (fault, harm) in [
        ("a bit of a landed object flips", Harm::Flipped),
        ("a landed object is cut short", Harm::Cut),
        ("a landed object is lost", Harm::Lost),
    ] {
        world.live().await?;
        world.done(&["extract"])?;
        let harmed = Harmed::by(harm, &world, &order)?;
        story.run(&mut world, fault, &["run"]).await?;
        harmed.restore()?;
        healed(&mut world, fault).await?;
    }
    let payment = ["lake/processed/fact_payment/", "/part-"];
    for (fault, harm) in [
        ("a bit of a processed object flips", Harm::Flipped),
        ("a processed object is lost", Harm::Lost),
    ] {
        world.live().await?;
        world.done(&["extract"])?;
        world.done(&["transform"])?;
        let harmed = Harmed::by(harm, &world, &payment)?;
        story.run(&mut world, fault, &["run"]).await?;
        harmed.restore()?;
        healed(&mut world, fault).await?;
    }
    for (fault, harm) in [
        ("a bit of the index of landed rows flips", Harm::Flipped),
        ("the index of landed rows is lost", Harm::Lost),
    ] {
        world.live().await?;
        let harmed = Harmed::by(harm, &world, &["lake/ingestion/totesys/payment/", "index-"])?;
        // A machine that has read an object of a bucket before has its own: this one has not.
        let stranger = world.project.path().join(fault);
        world
            .project
            .set("TIDEMILL_CACHE", &stranger.display().to_string());
        story.run(&mut world, fault, &["extract"]).await?;
        world.project.unset("TIDEMILL_CACHE");
        harmed.restore()?;
        world.evolution.run();
        healed(&mut world, fault).await?;
    }
    world.verify()?;
    story.end()
}

#[tokio::test]
async fn a_damaged_manifest_stops_the_run_until_it_is_restored() -> Result<()> {
    harm_manifests(At::Folder).await
}

/// In a bucket a promotion is kept on this machine once it was read, and what becomes of it there is not seen here.
async fn harm_manifests(place: At) -> Result<()> {
    let mut world = begin(place).await?;
    let mut story = story(place, "manifests");
    let landing = ["lake/ingestion/totesys/_manifests/"];
    let processed = ["lake/processed/_manifests/"];
    let promotion = ["lake/modules/_promotions/"];
    for (name, place, harms) in [
        (
            "landing manifest",
            landing,
            &[Harm::Cut, Harm::Emptied, Harm::Newer, Harm::Lost][..],
        ),
        (
            "processed manifest",
            processed,
            &[Harm::Cut, Harm::Emptied, Harm::Newer, Harm::Lost],
        ),
        ("promotion", promotion, &[Harm::Cut, Harm::Newer]),
    ] {
        for harm in harms {
            let what = match harm {
                Harm::Cut => "is cut short",
                Harm::Emptied => "is empty",
                Harm::Newer => "is of a later version",
                Harm::Lost => "is lost",
                Harm::Flipped => "has a flipped bit",
            };
            let fault = format!("the newest {name} {what}");
            world.live().await?;
            let harmed = Harmed::by(*harm, &world, &place)?;
            let said = world.project.call(["run"])?;
            story.tell(&world, &fault, &["run"], &said);
            if said.code == Some(0) {
                // What it said was made again, to the same bytes.
                ensure!(place == processed, "{fault}: {said:#?}");
            } else {
                harmed.restore()?;
            }
            world.evolution.run();
            healed(&mut world, &fault).await?;
        }
    }
    for (name, place) in [
        (
            "landing manifest",
            "lake/ingestion/totesys/_manifests/0000000003.json",
        ),
        (
            "processed manifest",
            "lake/processed/_manifests/0000000003.json",
        ),
        ("promotion", "lake/modules/_promotions/0000000003.json"),
    ] {
        let fault = format!("a {name} in the middle is lost");
        world.live().await?;
        let harmed = Harmed::by(Harm::Lost, &world, &[place])?;
        let said = world.project.call(["run"])?;
        if said.code != Some(0) {
            story.tell(&world, &fault, &["run"], &said);
        }
        harmed.restore()?;
        world.evolution.run();
        healed(&mut world, &fault).await?;
    }

    let fault = "the newest landing manifest is lost, and another was landed in its place";
    world.live().await?;
    world.run().await?;
    let harmed = Harmed::by(Harm::Lost, &world, &landing)?;
    world.live().await?;
    world.done(&["extract"])?;
    story.run(&mut world, fault, &["run"]).await?;
    story.run(&mut world, fault, &["transform"]).await?;
    harmed.restore()?;
    healed(&mut world, fault).await?;
    world.verify()?;
    story.end()
}

#[tokio::test]
async fn a_damaged_embedded_warehouse_is_restored_or_made_again() -> Result<()> {
    harm_warehouses(At::Folder).await
}

#[tokio::test]
async fn a_damaged_embedded_warehouse_is_restored_or_made_again_in_a_bucket() -> Result<()> {
    harm_warehouses(At::Bucket).await
}

async fn harm_warehouses(place: At) -> Result<()> {
    let mut world = begin(place).await?;
    let mut story = story(place, "delta");
    let log = ["warehouse/fact_payment/_delta_log/", ".json"];
    let rows = ["warehouse/fact_payment/", "part-"];
    let publication = ["warehouse/_tidemill/publications/"];
    for (fault, place, harm) in [
        ("an entry of a Delta log is cut short", log, Harm::Cut),
        ("an entry of a Delta log is empty", log, Harm::Emptied),
        ("an entry of a Delta log is lost", log, Harm::Lost),
        ("a file of a Delta table is lost", rows, Harm::Lost),
        (
            "a publication is cut short",
            [publication[0], ".json"],
            Harm::Cut,
        ),
        (
            "a publication is of a later version",
            [publication[0], ".json"],
            Harm::Newer,
        ),
        (
            "the newest publication is lost",
            [publication[0], ".json"],
            Harm::Lost,
        ),
    ] {
        world.live().await?;
        let harmed = Harmed::by(harm, &world, &place)?;
        let said = world.project.call(["run"])?;
        if place == rows {
            // The names of data files are drawn by chance, and so is whether this load needs the lost one.
            let told = said.code == Some(0) || said.stderr.contains("cannot open");
            ensure!(told, "{fault}: {said:#?}");
        } else {
            story.tell(&world, fault, &["run"], &said);
        }
        if said.code == Some(0) {
            // What was lost was not needed by a load, or could be made again.
            if harmed.is_gone() {
                harmed.restore()?;
            }
            world.evolution.run();
            world.check().await.context(fault)?;
            continue;
        }
        harmed.restore()?;
        world.evolution.run();
        healed(&mut world, fault).await?;
    }

    let fault = "nobody has a copy";
    let harmed = Harmed::by(Harm::Emptied, &world, &log)?;
    world.live().await?;
    story.run(&mut world, fault, &["run"]).await?;
    world.evolution.run();
    drop(harmed);
    world.place().remove_all("warehouse/")?;
    // Everything is loaded again from the processed zone, every version of every fact.
    healed(&mut world, fault).await?;
    story.end()
}

#[tokio::test]
async fn what_was_left_half_written_disturbs_nobody() -> Result<()> {
    let mut world = begin(At::Folder).await?;
    for file in [
        "lake/ingestion/_incomplete/.tmpAbCdEf",
        "lake/processed/_incomplete/.tmpAbCdEf",
        "lake/ingestion/totesys/payment/2020/01/01/20200101T000000000Z-00000000/part-00000.parquet",
        "lake/processed/fact_payment/2020/01/01/20200101T000000000Z-00000000/part-00000.parquet",
        "warehouse/_tidemill/publications/.draft-AbCdEf",
        "warehouse/fact_payment/part-00000000000000000000000000000000.zstd.parquet",
        "warehouse/fact_payment/_delta_log/_commit_00000000-0000-0000-0000-000000000000.json.tmp",
    ] {
        world.place().write(file, b"PAR1 half of an obj")?;
    }
    world.live().await?;
    healed(&mut world, "files that are half written").await?;
    world.verify()?;
    Ok(())
}
