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

/// The column that numbers the versions of a table: the one that is asked for, or its own key of a single column.
pub(super) async fn record_id(
    client: &Client,
    schema: &str,
    table: &str,
    asked: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    let Some(relation) = relation(client, schema, table).await? else {
        return Ok(None);
    };
    let columns = columns(client, relation.oid).await?;
    match columns.iter().any(|column| column.name == asked) {
        true => Ok(Some(asked.to_owned())),
        false => single_primary_key(client, relation.oid).await,
    }
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

/// The columns of a table's primary key and its name, where it has one.
pub(super) async fn primary_key(
    client: &Client,
    oid: u32,
) -> Result<Option<(String, Vec<String>)>, tokio_postgres::Error> {
    let row = client
        .query_opt(
            "SELECT c.conname::text,
                    ARRAY(SELECT a.attname::text FROM unnest(c.conkey) WITH ORDINALITY k(num, i)
                            JOIN pg_catalog.pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.num
                           ORDER BY k.i)
               FROM pg_catalog.pg_constraint c
              WHERE c.conrelid = $1 AND c.contype = 'p'",
            &[&oid],
        )
        .await?;
    row.map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .transpose()
}

/// The indexes of a table beside that of its primary key: each as the statement that makes it, from `USING` on, and
/// whether it is unique.
pub(super) async fn indexes(
    client: &Client,
    oid: u32,
) -> Result<Vec<(String, bool)>, tokio_postgres::Error> {
    let rows = client
        .query(
            "SELECT substring(pg_catalog.pg_get_indexdef(i.indexrelid) FROM ' USING .*'), i.indisunique
               FROM pg_catalog.pg_index i
              WHERE i.indrelid = $1 AND NOT i.indisprimary
              ORDER BY 1",
            &[&oid],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}

/// The expression by which the server numbers a column of a table.
pub(super) async fn numbering(
    client: &Client,
    oid: u32,
    column: &str,
) -> Result<Option<String>, tokio_postgres::Error> {
    client
        .query_one(
            "SELECT coalesce(pg_catalog.pg_get_expr(d.adbin, d.adrelid),
                             format('pg_catalog.nextval(%L::regclass)',
                                    pg_catalog.pg_get_serial_sequence(a.attrelid::regclass::text, a.attname::text)))
               FROM pg_catalog.pg_attribute a
               LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
              WHERE a.attrelid = $1 AND a.attname = $2",
            &[&oid, &column],
        )
        .await?
        .try_get(0)
}

/// The views of ours over a table, those that stand on others of them first, each with the rights that others have on it
/// as the statements that grant them.
pub(super) async fn our_views(
    client: &Client,
    schema: &str,
    oid: u32,
) -> Result<Vec<(String, Vec<String>)>, tokio_postgres::Error> {
    let rows = client
        .query(
            "WITH RECURSIVE standing (oid, depth) AS (
                 SELECT $2::oid, 0
                 UNION
                 SELECT r.ev_class, o.depth + 1
                   FROM standing o
                   JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::regclass
                                              AND d.refobjid = o.oid
                                              AND d.classid = 'pg_catalog.pg_rewrite'::regclass
                   JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.ev_class <> o.oid)
             SELECT c.relname::text,
                    ARRAY(SELECT format('GRANT %s ON %I.%I TO %s%s', a.privilege_type, n.nspname, c.relname,
                                        CASE WHEN a.grantee = 0 THEN 'PUBLIC'
                                             ELSE quote_ident(pg_catalog.pg_get_userbyid(a.grantee)) END,
                                        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)
                            FROM pg_catalog.aclexplode(c.relacl) a WHERE a.grantee <> c.relowner)
               FROM (SELECT oid, max(depth) AS depth FROM standing GROUP BY oid) o
               JOIN pg_catalog.pg_class c ON c.oid = o.oid
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
               JOIN tidemill.relation ours ON ours.warehouse = n.nspname AND ours.name = c.relname
                                          AND ours.kind = 'view'
              WHERE n.nspname = $1
              ORDER BY o.depth DESC, 1",
            &[&schema, &oid],
        )
        .await?;
    rows.iter()
        .map(|row| Ok((row.try_get(0)?, row.try_get(1)?)))
        .collect()
}
