//! The settings as they are written in `tidemill.toml`: its shape, its words and its documentation.
//!
//! The doc comments here are what `tidemill schema` and an editor show. Units and references are still
//! text; `resolve` understands them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

/// A tidemill project: sources, lake, transforms, warehouse and timetable.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "tidemill.toml")]
pub struct Settings {
    /// The project's name. Default: the name of its folder.
    #[schemars(example = &"totesys")]
    pub name: Option<String>,
    /// The private folder of compiled modules. Default: `tidemill` in the user's cache folder.
    #[schemars(example = &"/var/cache/tidemill")]
    pub cache: Option<String>,
    /// A folder of compiled modules that came with the program and is never written to. What is in it is used where it
    /// was compiled from the very module, for this machine. Default: `compiled` beside the project file.
    #[schemars(example = &"compiled")]
    pub bundled_code: Option<String>,
    /// Where landed rows, processed rows and modules are kept.
    pub lake: LakeSettings,
    /// The systems that rows come from, by a name of your choice.
    pub source: BTreeMap<String, SourceSettings>,
    /// Where rows are analysed.
    pub warehouse: WarehouseSettings,
    /// The warehouse tables, each with the module that makes it.
    pub transform: BTreeMap<String, TransformSettings>,
    /// Whose modules are used.
    pub modules: ModulesSettings,
    /// What a module may use while it makes one table of one landing.
    pub limits: LimitsSettings,
    /// When `tidemill serve` runs, by a name of your choice.
    pub schedule: BTreeMap<String, ScheduleSettings>,
    /// How `tidemill serve` behaves.
    pub serve: ServeSettings,
    /// Where figures and traces of runs are sent.
    pub telemetry: TelemetrySettings,
    /// How `tidemill lambda` behaves.
    pub lambda: LambdaSettings,
}

/// The zones of the lake: one URL each.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LakeSettings {
    /// Raw rows as they were extracted. Default: `file://./lake/ingestion`.
    #[schemars(example = &"file://./lake/ingestion", example = &"s3://acme-ingestion/totesys")]
    pub ingestion: Option<String>,
    /// Rows as modules made them. Default: `file://./lake/processed`.
    #[schemars(example = &"file://./lake/processed", example = &"s3://acme-processed/totesys")]
    pub processed: Option<String>,
    /// Modules and their promotions. Default: `file://./lake/modules`.
    #[schemars(example = &"file://./lake/modules", example = &"s3://acme-modules/totesys")]
    pub modules: Option<String>,
    /// How old are files that died runs left and nothing names when they are removed; at least a day. Default: 7 days,
    /// in which somebody has looked at why a run died.
    #[schemars(example = &"7d")]
    pub sweep_after: Option<String>,
    /// The store of zones that are `s3://` URLs.
    pub s3: StoreSettings,
}

/// The store of zones that are `s3://` URLs. Credentials come from the environment, a profile or the machine's role.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StoreSettings {
    /// The region of the buckets. Default: as the environment or the profile says.
    #[schemars(example = &"eu-west-2")]
    pub region: Option<String>,
    /// The URL of a store that is not Amazon's. It has to honour `If-None-Match`. Default: as the environment says.
    #[schemars(example = &"https://minio.example.org:9000")]
    pub endpoint: Option<String>,
    /// How objects are encrypted: `sse-s3`, by keys of the store's own, or `sse-kms`, by a key of the key service.
    /// Default: as the bucket says.
    #[schemars(example = &"sse-kms")]
    pub encryption: Option<String>,
    /// The key of `sse-kms`. Default: the account's own.
    #[schemars(example = &"alias/warehouse")]
    pub kms_key: Option<String>,
}

/// One source and how it is read.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SourceSettings {
    /// The connection, best as a reference to a variable: `${env:TOTESYS_URL}`. The path of a SQLite file
    /// is below the folder of the project file.
    #[schemars(required, example = &"postgresql://user:password@host:5432/database")]
    pub url: Option<String>,
    /// Tables to take. `*` stands for any run of characters. Default: all.
    #[schemars(example = ["sales_*", "staff"])]
    pub include: Vec<String>,
    /// Tables to leave out, also where `include` names them.
    #[schemars(example = ["_prisma_migrations"])]
    pub exclude: Vec<String>,
    /// How changes are found: `snapshot`, which needs nothing but SELECT and misses nothing, or the name
    /// of a column that grows with every change. Default: `snapshot`.
    #[schemars(example = &"snapshot")]
    pub cursor: Option<String>,
    /// What a column cursor reads again before its watermark, for rows committed late. Default: `2m`.
    #[schemars(example = &"2m")]
    pub overlap: Option<String>,
    /// How often every row is compared with what has been landed, or `never`. Default: `7d`.
    #[schemars(example = &"7d")]
    pub reconcile: Option<String>,
    /// What a table does whose columns changed: `evolve` lands new columns and wider types, `freeze` goes on
    /// with the columns it knows, `reject` lands nothing of it. Every other change stops the table until it is
    /// accepted with `--accept`. Default: `evolve`.
    #[schemars(example = &"evolve")]
    pub on_schema_change: Option<String>,
    /// Connections that read at the same time. PostgreSQL is asked for two more: one holds the snapshot,
    /// one answers questions. Default: 4.
    #[schemars(example = 4)]
    pub connections: Option<u32>,
    /// Tables larger than this are read in several ranges at once. Default: `64 MiB`.
    #[schemars(example = &"64 MiB")]
    pub split: Option<String>,
    /// How long a run may keep its snapshot of the source open; what takes longer is given up. Default: `1h`.
    #[schemars(example = &"1h")]
    pub snapshot_timeout: Option<String>,
    /// How long somebody who wants to change a table's definition waits until a run stops reading that
    /// table. Default: `1s`.
    #[schemars(example = &"1s")]
    pub yield_after: Option<String>,
    /// What is different for single tables.
    pub table: BTreeMap<String, TableSettings>,
}

/// What is different for one source table.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TableSettings {
    /// How its changes are found: `snapshot` or a column.
    #[schemars(example = &"last_updated")]
    pub cursor: Option<String>,
    /// What its column cursor reads again before the watermark.
    #[schemars(example = &"2m")]
    pub overlap: Option<String>,
    /// What it does when its columns changed: `evolve`, `freeze` or `reject`.
    #[schemars(example = &"freeze")]
    pub on_schema_change: Option<String>,
    /// Its key, where the source declares none or another is wanted.
    #[schemars(example = ["staff_id"])]
    pub key: Option<Vec<String>>,
    /// Columns to land as the source's own text, because they hold values that no type of Arrow has: a date
    /// `infinity`, a numeric `NaN`, in SQLite a value of another type than the declared one.
    #[schemars(example = ["valid_to"])]
    pub text: Vec<String>,
    /// Columns that are sensitive. A module that reads one needs a grant (`grants` of its transform), and their values
    /// stand in no error, log, report or case.
    #[schemars(example = ["email_address"])]
    pub sensitive: Vec<String>,
}

/// The warehouse.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WarehouseSettings {
    /// The connection. Default: `delta://./warehouse`, a folder that needs no server.
    #[schemars(example = &"postgresql://user:password@host:5432/database")]
    pub url: Option<String>,
    /// The schema that tables are in. Default: `public`.
    #[schemars(example = &"public")]
    pub schema: Option<String>,
    /// How long a server may take to load one landing; what takes longer is given up. Default: `1h`.
    #[schemars(example = &"1h")]
    pub timeout: Option<String>,
}

/// One warehouse table.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TransformSettings {
    /// The module that makes it, by name and version: `dim-staff@1` is the 1.x that was promoted last. An exact version,
    /// `dim-staff@1.2.3`, or a digest, `dim-staff@sha256:…`, follows no promotion.
    #[schemars(required, example = &"dim-staff@1")]
    pub module: Option<String>,
    /// The source its inputs come from, where several have a table of that name.
    #[schemars(example = &"totesys")]
    pub source: Option<String>,
    /// The sensitive columns that its module may read, each as `SOURCE.TABLE.COLUMN`. Without a grant for every one that
    /// it reads, the table is not made.
    #[schemars(example = ["totesys.staff.email_address"])]
    pub grants: Vec<String>,
}

/// Whose modules are used, besides those inside tidemill.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ModulesSettings {
    /// Public keys of minisign: the second line of a `.pub` file. Modules that they signed can be pushed, and where
    /// there is a key, no other module runs.
    #[schemars(example = ["RWTdEDnf/Js2tRSOWIPgcB+51droEELDyUhzK8dhWyYYmsAsxkk6scMK"])]
    pub keys: Vec<String>,
    /// Whether modules that nobody signed can be pushed and run: for development. Default: false.
    #[schemars(example = true)]
    pub unsigned: bool,
}

/// What a module may use while it makes one table of one landing.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsSettings {
    /// The module's own memory. Default: `256 MiB`.
    #[schemars(example = &"256 MiB")]
    pub memory: Option<String>,
    /// How long its calls may take together. Default: `5m`.
    #[schemars(example = &"5m")]
    pub time: Option<String>,
    /// Rows it may give back. Default: 200 million.
    #[schemars(example = 200_000_000)]
    pub output_rows: Option<u64>,
    /// Bytes it may give back. Default: `64 GiB`.
    #[schemars(example = &"64 GiB")]
    pub output: Option<String>,
    /// Bytes of temporary files that an extract may have at the same time, for what does not fit into memory. Default: as
    /// many as there is room for, and `128 MiB` in a function of AWS Lambda, which has 512 MiB of `/tmp` unless it asks for more.
    #[schemars(example = &"256 MiB")]
    pub temporary: Option<String>,
    /// Log lines that are kept. Default: 1000.
    #[schemars(example = 1000)]
    pub log_lines: Option<u64>,
    /// Bytes of log lines that are kept. Default: `256 KiB`.
    #[schemars(example = &"256 KiB")]
    pub log: Option<String>,
}

/// One entry of the timetable: `cron` or `every`, not both.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScheduleSettings {
    /// A cron expression of five fields.
    #[schemars(example = &"*/15 7-19 * * MON-FRI")]
    pub cron: Option<String>,
    /// The time zone of `cron`. Default: `UTC`.
    #[schemars(example = &"Europe/London")]
    pub zone: Option<String>,
    /// A fixed distance between runs.
    #[schemars(example = &"15m")]
    pub every: Option<String>,
    /// What a run does. Default: `extract`, `transform` and `load`.
    #[schemars(example = ["extract"])]
    pub stages: Vec<String>,
    /// Source tables to extract. Default: all.
    #[schemars(example = ["sales_order"])]
    pub tables: Vec<String>,
    /// Whether every row is compared with what has been landed. Default: false.
    #[schemars(example = true)]
    pub reconcile: bool,
}

/// How `tidemill serve` behaves.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ServeSettings {
    /// Where health is told over HTTP, or `none`. Default: `127.0.0.1:9464`.
    #[schemars(example = &"127.0.0.1:9464")]
    pub listen: Option<String>,
    /// How long a run may go on after a signal to stop. Default: `30s`.
    #[schemars(example = &"30s")]
    pub grace: Option<String>,
}

/// Where figures and traces of runs are sent. `tidemill serve` shows its figures under `/metrics` whatever stands here.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TelemetrySettings {
    /// The URL of an OpenTelemetry collector that takes OTLP over HTTP. Default: as `OTEL_EXPORTER_OTLP_ENDPOINT` and its
    /// relatives say, and nothing is sent where they are silent.
    #[schemars(example = &"http://collector.example.org:4318")]
    pub otlp: Option<String>,
    /// Headers that go with everything that is sent, each as `NAME=VALUE`, best with a reference in the place of the value.
    #[schemars(example = ["x-api-key=${env:COLLECTOR_KEY}"])]
    pub headers: Vec<String>,
    /// How often figures are sent while `serve` runs; other verbs send theirs at their end. Default: `60s`.
    #[schemars(example = &"60s")]
    pub interval: Option<String>,
    /// Whether the figures of every run are written to stdout in CloudWatch's embedded metric format. Default: true in a
    /// Lambda function, false elsewhere.
    #[schemars(example = true)]
    pub emf: Option<bool>,
}

/// How `tidemill lambda` behaves.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LambdaSettings {
    /// How long before its deadline a function commits what is complete and leaves the rest to its next call; never more
    /// than a third of the time that a call has. Default: `20s`.
    #[schemars(example = &"20s")]
    pub margin: Option<String>,
    /// Rows of the first landing of a table after which it goes on in another landing, so that no landing is larger than a
    /// call of transform or load can take. Default: 2000000.
    #[schemars(example = 2_000_000)]
    pub landing_rows: Option<u64>,
}
