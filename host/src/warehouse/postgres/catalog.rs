//! What the server's catalog says about a schema and its tables.

use tokio_postgres::{Client, Row};

use super::types::{self, CatalogType, ColumnType};

/// A table or view that exists.
#[derive(Debug, Clone)]
pub(super) struct Relation {
    pub(super) oid: u32,
    /// `pg_class.relkind`: `r` table, `p` partitioned table, `v` view …
    pub(super) kind: String,
}

impl Relation {
    /// Whether rows can be loaded into it.
    pub(super) fn is_table(&self) -> bool {
        matches!(self.kind.as_str(), "r" | "p")
    }
}

/// A column that exists.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) column_type: ColumnType,
    pub(super) not_null: bool,
    /// Whether a row that does not name it still gets a value: a default, an identity.
    pub(super) filled: bool,
    /// Whether its values come from the server alone: `GENERATED ALWAYS AS (…) STORED`.
    pub(super) generated: bool,
    /// Whether it is `GENERATED ALWAYS AS IDENTITY`.
    pub(super) identity_always: bool,
}

/// A foreign key of another table, or of the same, that points at a table.
#[derive(Debug, Clone)]
pub(super) struct Reference {
    /// Schema and name of the table that has the foreign key.
    pub(super) schema: String,
    pub(super) table: String,
    /// Its columns, and those they point at, pairwise.
    pub(super) columns: Vec<String>,
    pub(super) referenced: Vec<String>,
    /// Whether the table points at itself.
    pub(super) own: bool,
}

pub(super) async fn relation(
    client: &Client,
    schema: &str,
    name: &str,
) -> Result<Option<Relation>, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "SELECT c.oid, c.relkind::text
               FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1 AND c.relname = $2",
            &[&schema, &name],
        )
        .await?;
    row.map(|row| {
        Ok(Relation {
            oid: row.try_get(0)?,
            kind: row.try_get(1)?,
        })
    })
    .transpose()
}

pub(super) async fn schema_exists(
    client: &Client,
    schema: &str,
) -> Result<bool, tokio_postgres::Error> {
    client
        .query_one(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1)",
            &[&schema],
        )
        .await?
        .try_get(0)
}

/// The columns of a table, in physical order. Domains are resolved one level: those over domains get no
/// form on the wire and are refused by name.
pub(super) async fn columns(
    client: &Client,
    oid: u32,
) -> Result<Vec<Column>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), a.attnotnull,
                    a.atthasdef OR a.attidentity <> '', a.attgenerated <> '', a.attidentity = 'a',
                    coalesce(b.oid, t.oid), coalesce(b.typname, t.typname)::text,
                    coalesce(b.typtype, t.typtype)::text,
                    CASE WHEN t.typtype = 'd' THEN t.typtypmod ELSE a.atttypmod END,
                    e.oid, e.typname::text, e.typtype::text
               FROM pg_catalog.pg_attribute a
               JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
               LEFT JOIN pg_catalog.pg_type b ON t.typtype = 'd' AND b.oid = t.typbasetype
               LEFT JOIN pg_catalog.pg_type e ON coalesce(b.typcategory, t.typcategory) = 'A'
                                             AND e.oid = coalesce(b.typelem, t.typelem)
              WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped
              ORDER BY a.attnum",
            &[&oid],
        )
        .await?;
    rows.iter().map(column).collect()
}

fn column(row: &Row) -> Result<Column, tokio_postgres::Error> {
    let of = CatalogType {
        oid: row.try_get(6)?,
        name: row.try_get(7)?,
        kind: row.try_get(8)?,
    };
    let element = match row.try_get::<_, Option<u32>>(10)? {
        Some(oid) => Some(CatalogType {
            oid,
            name: row.try_get(11)?,
            kind: row.try_get(12)?,
        }),
        None => None,
    };
    Ok(Column {
        name: row.try_get(0)?,
        column_type: ColumnType {
            sql: row.try_get(1)?,
            wire: types::wire(&of, element.as_ref(), row.try_get(9)?),
        },
        not_null: row.try_get(2)?,
        filled: row.try_get(3)?,
        generated: row.try_get(4)?,
        identity_always: row.try_get(5)?,
    })
}

/// The column of a table's primary key, if that is a single one.
pub(super) async fn single_primary_key(
    client: &Client,
    oid: u32,
) -> Result<Option<String>, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "SELECT a.attname
               FROM pg_catalog.pg_constraint c
               JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
              WHERE c.conrelid = $1 AND c.contype = 'p' AND cardinality(c.conkey) = 1",
            &[&oid],
        )
        .await?;
    row.map(|row| row.try_get(0)).transpose()
}

/// The foreign keys that point at a table.
pub(super) async fn references(
    client: &Client,
    oid: u32,
) -> Result<Vec<Reference>, tokio_postgres::Error> {
    // A partition's copy of its parent's constraint says the same again: conparentid leaves it out.
    let rows = client
        .query(
            "SELECT n.nspname, r.relname,
                    ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(num, i)
                            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num
                           ORDER BY k.i),
                    ARRAY(SELECT a.attname::text FROM unnest(c.confkey) WITH ORDINALITY k(num, i)
                            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.confrelid AND a.attnum = k.num
                           ORDER BY k.i),
                    c.conrelid = c.confrelid
               FROM pg_catalog.pg_constraint c
               JOIN pg_catalog.pg_class r ON r.oid = c.conrelid
               JOIN pg_catalog.pg_namespace n ON n.oid = r.relnamespace
              WHERE c.confrelid = $1 AND c.contype = 'f' AND c.conparentid = 0
              ORDER BY 1, 2, c.conname",
            &[&oid],
        )
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Reference {
                schema: row.try_get(0)?,
                table: row.try_get(1)?,
                columns: row.try_get(2)?,
                referenced: row.try_get(3)?,
                own: row.try_get(4)?,
            })
        })
        .collect()
}

/// The tables and views of a schema that the role may read, in name order. Partitions are not named: their
/// rows are in their parent.
pub(super) async fn readable(
    client: &Client,
    schema: &str,
) -> Result<Vec<String>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT c.relname::text
               FROM pg_catalog.pg_class c
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
              WHERE n.nspname = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
                AND NOT c.relispartition
                AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
              ORDER BY c.relname::text COLLATE \"C\"",
            &[&schema],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0)).collect()
}
