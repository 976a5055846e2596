//! A database with totesys in it, and the model that lets days pass there.

use std::collections::BTreeMap;

use chrono::NaiveDate;

use super::DemoError;
use super::database::{self, Database};
use super::model::{Commit, Day, Oddity, Options, Totesys};
use super::rows::Table;

/// Rows of the history that are written at once: enough to make one COPY per table worth it, and a few
/// megabytes.
const LOAD_ROWS: usize = 50_000;

/// The scales that ids of 32 bits and an evening allow.
const SCALES: std::ops::RangeInclusive<f64> = 0.01..=20_000.0;

/// A totesys in which days pass.
pub struct Simulation {
    model: Totesys,
    database: Box<dyn Database>,
}

impl std::fmt::Debug for Simulation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulation")
            .field("today", &self.today())
            .finish_non_exhaustive()
    }
}

/// What was generated.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Generated {
    /// Rows by table.
    pub rows: BTreeMap<&'static str, u64>,
    /// The last working day in the database.
    pub today: NaiveDate,
}

/// Generates totesys with its history at `url`, then lets `days` working days pass.
///
/// `progress` is told the number of rows written so far.
///
/// # Errors
/// `Config` when the URL or an option is wrong or there is a totesys already; `Unavailable` when the
/// server does not answer.
pub async fn generate(
    url: &str,
    options: Options,
    days: u32,
    progress: &mut (dyn FnMut(u64) + Send),
) -> Result<Generated, DemoError> {
    let (mut simulation, mut generated) = Simulation::create(url, options, progress).await?;
    for _ in 0..days {
        let day = simulation.next_day().await?;
        for change in day.commits.iter().flat_map(|commit| &commit.changes) {
            let rows = generated.rows.entry(change.table().name()).or_default();
            match change {
                super::Change::Insert(_) => *rows += 1,
                super::Change::Delete(_) => *rows = rows.saturating_sub(1),
                super::Change::Update { .. } | super::Change::SetNull { .. } => {}
            }
        }
        progress(generated.rows.values().sum());
    }
    generated.today = simulation.today();
    Ok(generated)
}

impl Simulation {
    /// Makes the tables at `url` and loads the history, all or nothing.
    ///
    /// # Errors
    /// As [`generate`].
    pub async fn create(
        url: &str,
        options: Options,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(Self, Generated), DemoError> {
        if !SCALES.contains(&options.scale) {
            return Err(DemoError::Scale(options.scale));
        }
        let mut database = database::open(url).await?;
        database.create().await?;
        let mut model = Totesys::new(options);
        let mut counts = BTreeMap::from(Table::ALL.map(|table| (table.name(), 0)));
        let mut pending = Vec::new();
        while let Some(rows) = model.next_of_history() {
            pending.extend(rows);
            if pending.len() >= LOAD_ROWS {
                load(&mut *database, std::mem::take(&mut pending), &mut counts).await?;
                progress(counts.values().sum());
            }
        }
        load(&mut *database, pending, &mut counts).await?;
        database.loaded().await?;
        progress(counts.values().sum());
        let generated = Generated {
            rows: counts,
            today: model.today(),
        };
        Ok((Self { model, database }, generated))
    }

    /// Goes on with the totesys at `url`: its days follow those that have passed. With the seed and scale
    /// it was made with they are the days that would have followed anyway, but for what an oddity of the
    /// last day would have brought about.
    ///
    /// # Errors
    /// `Config` when there is no totesys, `Data` when it holds what the model never wrote.
    pub async fn resume(url: &str, options: Options) -> Result<Self, DemoError> {
        let mut database = database::open(url).await?;
        let memory = database.remember().await?;
        Ok(Self {
            model: Totesys::resume(options, memory),
            database,
        })
    }

    /// The last working day in the database.
    pub fn today(&self) -> NaiveDate {
        self.model.today()
    }

    /// Lets one working day pass.
    ///
    /// # Errors
    /// When the database refuses; the commits before the one it refused are there.
    pub async fn next_day(&mut self) -> Result<Day, DemoError> {
        let day = self.model.next_day();
        self.database.apply(day.commits.clone()).await?;
        Ok(day)
    }

    /// Makes an oddity happen now; `None` when there is nothing it could happen to.
    ///
    /// # Errors
    /// As [`Simulation::next_day`].
    pub async fn cause(&mut self, oddity: Oddity) -> Result<Option<Commit>, DemoError> {
        let commit = self.model.cause(oddity);
        self.database
            .apply(commit.iter().cloned().collect())
            .await?;
        Ok(commit)
    }

    /// Makes a silent edit now; `None` when there is nothing to edit.
    ///
    /// # Errors
    /// As [`Simulation::next_day`].
    pub async fn silent_edit(&mut self) -> Result<Option<Commit>, DemoError> {
        let commit = self.model.silent_edit();
        self.database
            .apply(commit.iter().cloned().collect())
            .await?;
        Ok(commit)
    }
}

async fn load(
    database: &mut dyn Database,
    rows: Vec<super::rows::Row>,
    counts: &mut BTreeMap<&'static str, u64>,
) -> Result<(), DemoError> {
    for row in &rows {
        *counts.entry(row.table().name()).or_default() += 1;
    }
    database.load(rows).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(oddities: &[Oddity]) -> Options {
        Options {
            seed: 4,
            scale: 1.0,
            history_days: 15,
            oddities: oddities.to_vec(),
        }
    }

    async fn create(url: &str, options: Options) -> Simulation {
        Simulation::create(url, options, &mut |_| {})
            .await
            .expect(url)
            .0
    }

    /// The whole database as SQL text would show it.
    fn dump(path: &std::path::Path) -> Vec<String> {
        let connection = rusqlite::Connection::open(path).expect("the file opens");
        let mut lines = Vec::new();
        for table in Table::ALL {
            let sql = format!("SELECT * FROM \"{}\" ORDER BY 1", table.name());
            let mut statement = connection.prepare(&sql).expect("the table is there");
            let columns = statement.column_count();
            let rows = statement.query_map([], |row| {
                (0..columns)
                    .map(|place| row.get::<_, rusqlite::types::Value>(place))
                    .collect::<Result<Vec<_>, _>>()
            });
            for row in rows.expect("it can be read") {
                lines.push(format!("{} {:?}", table.name(), row.expect("a row")));
            }
        }
        lines
    }

    #[tokio::test]
    async fn a_database_read_again_goes_on_as_if_the_model_had_been_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let [kept, read_again] = ["kept.db", "read-again.db"].map(|name| folder.path().join(name));
        let url = |path: &std::path::Path| format!("sqlite://{}", path.display());
        let mut simulation = create(&url(&kept), options(&[])).await;
        drop(create(&url(&read_again), options(&[])).await);
        for _ in 0..12 {
            let day = simulation.next_day().await.expect("a day passes");
            let mut resumed = Simulation::resume(&url(&read_again), options(&[]))
                .await
                .expect("it is totesys");
            assert!(resumed.next_day().await.expect("a day passes") == day);
        }
        assert!(dump(&kept) == dump(&read_again));
    }

    #[tokio::test]
    async fn sqlite_accepts_everything_that_the_model_does() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("totesys.db");
        let mut simulation = create(
            &format!("sqlite://{}", path.display()),
            options(&Oddity::ALL),
        )
        .await;
        for _ in 0..40 {
            simulation
                .next_day()
                .await
                .expect("foreign keys and checks hold");
        }
        let connection = rusqlite::Connection::open(&path).expect("the file opens");
        let count = |sql: &str| {
            connection
                .query_row(sql, [], |row| row.get::<_, i64>(0))
                .expect(sql)
        };
        assert_eq!(count("SELECT count(*) FROM pragma_foreign_key_check"), 0);
        assert!(
            count(
                "SELECT count(*) FROM \"transaction\" WHERE sales_order_id IS NULL AND purchase_order_id IS NULL"
            ) > 0
        );
        assert_eq!(
            count(
                "SELECT count(*) FROM sales_order WHERE typeof(unit_price) NOT IN ('real', 'integer')"
            ),
            0
        );
        assert_eq!(
            count(
                "SELECT count(*) FROM payment WHERE created_at NOT GLOB '????-??-?? ??:??:??.???'"
            ),
            0
        );
        assert_eq!(count("SELECT count(*) FROM _prisma_migrations"), 2);
    }

    #[tokio::test]
    async fn a_second_totesys_in_the_same_place_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("totesys.db").display());
        drop(create(&url, options(&[])).await);
        let error = Simulation::create(&url, options(&[]), &mut |_| {})
            .await
            .expect_err("it is there");
        assert!(matches!(error, DemoError::Exists { .. }), "{error}");
    }

    #[tokio::test]
    async fn an_empty_place_cannot_go_on() {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}", folder.path().join("totesys.db").display());
        let error = Simulation::resume(&url, options(&[]))
            .await
            .expect_err("there is none");
        assert!(matches!(error, DemoError::Missing { .. }), "{error}");
    }

    #[tokio::test]
    async fn what_cannot_be_generated_says_so_without_the_password() {
        let refused = |url: &'static str, scale: f64| async move {
            let options = Options {
                scale,
                ..options(&[])
            };
            generate(url, options, 0, &mut |_| {})
                .await
                .expect_err(url)
                .to_string()
        };
        assert_eq!(
            refused("sqlite://", 1.0).await,
            "totesys cannot be generated at `sqlite://`"
        );
        assert_eq!(
            refused("mysql://me:secret@host/db", 1.0).await,
            "totesys cannot be generated at `mysql://me:***@host/db`"
        );
        assert_eq!(
            refused("sqlite://x", f64::NAN).await,
            "a scale of NaN is not possible"
        );
    }
}
