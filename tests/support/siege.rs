//! A company whose runs are killed, day after day, and whose star must be exact after the next one all the same.
//!
//! ```text
//! day ──▶ run ──SIGKILL──▶ nothing overwritten, nothing lost ──▶ (day) ──▶ run: exit 0, star and versions exact
//! ```

use std::collections::BTreeMap;
use std::fmt;
use std::io::{PipeReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::Stdio;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tidemill::demo::Oddity;
use tidemill::warehouse::Ledger;

use super::inventory::Inventory;
#[cfg(target_os = "linux")]
use super::points::Point;
#[cfg(target_os = "linux")]
use super::trace::{self, Call, Side};
use super::world::{At, Beginning, World, rejected, report_of};

/// A company of this size lands and loads in the least time in which everything happens.
const SCALE: f64 = 0.2;

/// Runs are killed up to this part of the time that a whole one takes: a machine is not always as fast.
const BEYOND: f64 = 1.25;

/// The most kills before a run is let to its end.
const IN_A_ROW: u32 = 3;

/// How far a killed run had come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing was committed.
    BeforeLanding,
    /// The landing was committed, the warehouse had not heard of it.
    BetweenCommits,
    /// Rows and ledger were committed.
    AfterLoading,
}

impl Phase {
    /// All of them.
    pub const ALL: [Self; 3] = [
        Self::BeforeLanding,
        Self::BetweenCommits,
        Self::AfterLoading,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::BeforeLanding => "before commit 1",
            Self::BetweenCommits => "between the commits",
            Self::AfterLoading => "after commit 2",
        })
    }
}

/// What was survived.
#[derive(Debug, Clone, Default)]
pub struct Survived {
    /// Kills by how far the run had come.
    pub kills: BTreeMap<Phase, u32>,
    /// Of these, kills of a run that was to complete a killed one.
    pub again: u32,
    /// Runs that came to their end, each compared with the source.
    pub runs: u32,
    /// Days that passed.
    pub days: u32,
}

impl Survived {
    /// All kills.
    pub fn all(&self) -> u32 {
        self.kills.values().sum()
    }

    /// Adds another's.
    pub fn add(&mut self, other: &Self) {
        for (phase, kills) in &other.kills {
            *self.kills.entry(*phase).or_default() += kills;
        }
        self.again += other.again;
        self.runs += other.runs;
        self.days += other.days;
    }
}

/// A company under siege.
pub struct Siege {
    /// The company and its project.
    pub world: World,
    /// What was survived so far.
    pub survived: Survived,
    /// What its lake and its warehouse hold.
    pub inventory: Inventory,
    /// How long the last whole run took.
    whole: Duration,
    ledger: Ledger,
    /// Kills since the last whole run.
    in_a_row: u32,
}

impl Siege {
    /// A company with its first run behind it, where everything happens that can.
    ///
    /// # Errors
    /// When it does not come so far.
    pub async fn begin(place: At, seed: u64) -> Result<Self> {
        let mut world = World::begin(Beginning {
            scale: SCALE,
            seed,
            oddities: Oddity::ALL.to_vec(),
            ..Beginning::at(place)
        })
        .await?;
        world.run().await.context("the first run")?;
        world.live().await?;
        let clock = Instant::now();
        world.run().await.context("the second run")?;
        Ok(Self {
            survived: Survived::default(),
            inventory: Inventory::of_world(&world)?,
            whole: clock.elapsed(),
            ledger: world.warehouse.ledger().await?,
            in_a_row: 0,
            world,
        })
    }

    /// Lets a day pass.
    ///
    /// # Errors
    /// When the source cannot be written.
    pub async fn live(&mut self) -> Result<()> {
        self.world.live().await?;
        self.survived.days += 1;
        Ok(())
    }

    /// Kills runs at random moments until `kills` were survived or time is over, and completes the last.
    ///
    /// # Errors
    /// What was not survived, with the moment.
    pub async fn hold_out(
        &mut self,
        kills: u32,
        random: &mut fastrand::Rng,
        is_over: impl Fn() -> bool,
    ) -> Result<()> {
        let before = self.survived.all();
        while self.survived.all() - before < kills && !is_over() {
            if self.in_a_row == 0 || random.bool() {
                self.live().await?;
            }
            let moment = self.whole.mul_f64(BEYOND * random.f64());
            let told = || {
                format!(
                    "kill {} after {moment:?} of {:?}",
                    self.survived.all() + 1,
                    self.whole
                )
            };
            let told = told();
            self.kill_after(moment)
                .await
                .with_context(|| told.clone())?;
            if self.in_a_row < IN_A_ROW && random.u8(..4) == 0 {
                continue;
            }
            if random.bool() {
                self.live().await?;
            }
            self.complete()
                .await
                .with_context(|| format!("the run after {told}"))?;
        }
        self.complete().await
    }

    /// Lets a run come to its end: without help, and the star and every version of every fact are exact.
    ///
    /// # Errors
    /// What differs.
    pub async fn complete(&mut self) -> Result<()> {
        let clock = Instant::now();
        self.world.done(&["run"])?;
        self.whole = clock.elapsed();
        self.completed().await
    }

    async fn completed(&mut self) -> Result<()> {
        self.world.evolution.run();
        self.world.check().await?;
        self.inventory.look()?;
        self.ledger = self.world.warehouse.ledger().await?;
        self.survived.runs += 1;
        self.in_a_row = 0;
        Ok(())
    }

    /// Kills a run after `moment`.
    ///
    /// # Errors
    /// When the kill left something that it may not leave.
    pub async fn kill_after(&mut self, moment: Duration) -> Result<Phase> {
        kill_after(&self.world, moment)?;
        self.killed().await
    }

    /// Kills a run where `decide` wants it; `None` where that never was, and the run came to its end.
    ///
    /// # Errors
    /// When the kill left something that it may not leave.
    #[cfg(target_os = "linux")]
    pub async fn kill_at(
        &mut self,
        decide: impl FnMut(&Call) -> Option<Side> + Send,
    ) -> Result<Option<(Call, Side, Phase)>> {
        let command = self.world.project.command(["run", "--output", "json"])?;
        let traced = trace::run(&command, decide)?;
        match traced.killed {
            Some((call, side)) => Ok(Some((call, side, self.killed().await?))),
            None => {
                let said = super::project::Said {
                    code: traced.code,
                    stdout: traced.stdout,
                    stderr: traced.stderr,
                };
                let wanted = if rejected(&report_of(&said)?) > 0 {
                    3
                } else {
                    0
                };
                ensure!(said.code == Some(wanted), "{wanted} expected of {said:#?}");
                self.completed().await?;
                Ok(None)
            }
        }
    }

    /// Kills a run at the `nth` time that it comes to `point`; `None` where it does not, and came to its end.
    ///
    /// # Errors
    /// When the kill left something that it may not leave.
    #[cfg(target_os = "linux")]
    pub async fn kill_at_point(
        &mut self,
        point: Point,
        nth: u32,
        side: Side,
    ) -> Result<Option<(Call, Side, Phase)>> {
        let mut met = 0;
        self.kill_at(|call| {
            met += u32::from(Point::of(call) == Some(point));
            (met == nth).then_some(side)
        })
        .await
        .with_context(|| format!("killed {side:?}: {point}"))
    }

    /// What a killed run left: more files than before, and none of them another.
    async fn killed(&mut self) -> Result<Phase> {
        self.world.is_left_alone().await?;
        let landings = self.inventory.landings();
        self.inventory.look().context("what the killed run left")?;
        let ledger = self.world.warehouse.ledger().await?;
        let landed = self.inventory.landings() > landings;
        let phase = match ledger != self.ledger {
            true => Phase::AfterLoading,
            false if landed => Phase::BetweenCommits,
            false => Phase::BeforeLanding,
        };
        if landed {
            self.world.evolution.run();
        }
        self.ledger = ledger;
        *self.survived.kills.entry(phase).or_default() += 1;
        self.survived.again += u32::from(self.in_a_row > 0);
        self.in_a_row += 1;
        Ok(phase)
    }

    /// Makes everything again that was ever made, and compares.
    ///
    /// # Errors
    /// What differs.
    pub async fn end(mut self) -> Result<Survived> {
        self.complete().await?;
        self.world.verify()?;
        Ok(self.survived)
    }
}

/// Runs and kills it by SIGKILL after `moment`. Its report goes into a pipe that is full, so that a run which
/// has committed everything still lives.
fn kill_after(world: &World, moment: Duration) -> Result<()> {
    let (reader, filler, stdout) = full_pipe()?;
    let mut command = world.project.command(["run", "--output", "json"])?;
    let mut child = command.stdout(stdout).stderr(Stdio::piped()).spawn()?;
    // It holds an end of the pipe, too.
    drop(command);
    let mut stderr = child.stderr.take().context("stderr is a pipe")?;
    let (tell, ended) = mpsc::channel();
    let listener = thread::spawn(move || {
        let mut said = String::new();
        let read = stderr.read_to_string(&mut said).map(|_| said);
        // Nobody listens any more after a kill.
        let _ = tell.send(read);
    });
    match ended.recv_timeout(moment) {
        Err(RecvTimeoutError::Timeout) => {}
        ended => bail!("it ended by itself and said {ended:?}"),
    }
    child.kill()?;
    let status = child.wait()?;
    ensure!(
        status.signal() == Some(9),
        "it was not killed, it ended with {status}"
    );
    drop(reader);
    ensure!(
        filler.join().is_ok() && listener.join().is_ok(),
        "a thread panicked"
    );
    Ok(())
}

/// A pipe that stays full until its reader is dropped.
fn full_pipe() -> Result<(PipeReader, thread::JoinHandle<()>, Stdio)> {
    let (reader, mut writer) = std::io::pipe()?;
    let stdout = writer.try_clone()?.into();
    let filler = thread::spawn(move || while writer.write_all(&[b' '; 4096]).is_ok() {});
    Ok((reader, filler, stdout))
}
