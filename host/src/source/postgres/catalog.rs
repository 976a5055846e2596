//! What the server's catalog says of tables, columns, keys and statistics.
//!
//! Everything is read in the caller's transaction with `search_path` set to `pg_catalog`, so that the
//! names of types do not depend on the role. No table is opened or locked: statistics are the catalog's.
//! Tables that belong to an extension are the extension's business and are not listed.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::{Client, Error, Row};

use super::super::{Discovered, cursor};
use super::name::Relation;
use super::types::{self, BaseType, TypeKind, Wire};
use crate::digest::Digest;
use crate::table::{Column, ColumnIdentity, Identity, KeyOrigin, Table, TableKind};
use crate::watermark::CompareReason;

/// One row per relation that the role may read. `relispartition` leaves out partitions, which are read
/// through their table. Relations in recovery that were not logged cannot be read at all.
const RELATIONS: &str = "
SELECT c.oid, n.nspname::text, c.relname::text, c.relkind::text,
       leaves.rows, leaves.bytes, leaves.versions,
       has_table_privilege(c.oid, 'SELECT') AS whole
  FROM pg_class c
  JOIN pg_namespace n ON n.oid = c.relnamespace
 CROSS JOIN LATERAL (
       WITH RECURSIVE tree(oid) AS (
            SELECT c.oid
             UNION ALL
            SELECT i.inhrelid FROM tree JOIN pg_inherits i ON i.inhparent = tree.oid
             WHERE c.relkind = 'p')
       SELECT CASE WHEN bool_and(known) THEN sum(leaf.reltuples)::float8 END AS rows,
              CASE WHEN bool_and(known)
                   THEN (sum(leaf.relpages + coalesce(toast.relpages, 0))
                         * current_setting('block_size')::int8)::float8 END AS bytes,
              coalesce(bool_and(am.amname IS NOT DISTINCT FROM 'heap'), true) AS versions
         FROM tree
         JOIN pg_class leaf ON leaf.oid = tree.oid
         LEFT JOIN pg_class toast ON toast.oid = leaf.reltoastrelid
         LEFT JOIN pg_am am ON am.oid = leaf.relam
        CROSS JOIN LATERAL (SELECT leaf.reltuples > 0 OR leaf.relpages > 0
                                OR (leaf.reltuples = 0
                                    AND current_setting('server_version_num')::int4 >= 140000)) k(known)
        WHERE leaf.relkind NOT IN ('p', 'v')) leaves
 WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
   AND NOT c.relispartition
   AND n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'
   AND has_schema_privilege(n.oid, 'USAGE')
   AND (has_table_privilege(c.oid, 'SELECT') OR has_any_column_privilege(c.oid, 'SELECT'))
   AND NOT (c.relpersistence = 'u' AND pg_is_in_recovery())
   AND NOT EXISTS (SELECT FROM pg_depend d
                    WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')";

/// One row per column that the role may read, its type with domains resolved as the server does it: the
/// innermost domain's modifier counts. A column is numbered when it owns a sequence; the text of its default
/// would say so too, but takes the server a time that grows with the square of the columns.
const COLUMNS: &str = "
SELECT a.attrelid, a.attname::text, format_type(a.atttypid, a.atttypmod),
       a.attnotnull AND NOT EXISTS (SELECT FROM pg_constraint k
                                     WHERE k.conrelid = a.attrelid AND k.contype = 'n'
                                       AND NOT k.convalidated AND a.attnum = ANY (k.conkey)),
       base.oid, base.modifier, base.kind,
       (SELECT t.typcategory = 'A' AND t.typlen = -1 AND t.typelem <> 0
               AND t.oid NOT IN ('int2vector'::regtype, 'oidvector'::regtype)
          FROM pg_type t WHERE t.oid = base.oid),
       EXISTS (SELECT FROM pg_depend d JOIN pg_class s ON s.oid = d.objid AND s.relkind = 'S'
                WHERE d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass
                  AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum AND d.deptype IN ('a', 'i')),
       a.attnum, a.atttypid
  FROM pg_attribute a
 CROSS JOIN LATERAL (
       WITH RECURSIVE chain(oid, modifier, kind, next, next_modifier) AS (
            SELECT t.oid, a.atttypmod, t.typtype, t.typbasetype, t.typtypmod
              FROM pg_type t WHERE t.oid = a.atttypid
             UNION ALL
            SELECT t.oid, chain.next_modifier, t.typtype, t.typbasetype, t.typtypmod
              FROM chain JOIN pg_type t ON t.oid = chain.next
             WHERE chain.kind = 'd')
       SELECT chain.oid, chain.modifier, chain.kind::text FROM chain WHERE chain.kind <> 'd') base
 WHERE a.attrelid = ANY ($1) AND a.attnum > 0 AND NOT a.attisdropped
   AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
 ORDER BY a.attrelid, a.attnum";

/// One row per index over plain columns and all rows, the best key of each table first.
const INDEXES: &str = "
SELECT i.indrelid, i.indisprimary, i.indisunique, am.amname IN ('btree', 'brin'),
       ARRAY(SELECT a.attname::text
               FROM unnest(i.indkey::int2[]) WITH ORDINALITY k(attnum, place)
               JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
              WHERE k.place <= i.indnkeyatts ORDER BY k.place)
  FROM pg_index i
  JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_am am ON am.oid = x.relam
 WHERE i.indrelid = ANY ($1) AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
 ORDER BY i.indrelid, i.indisprimary DESC, i.indnkeyatts, x.relname";

/// One row per type whose values depend on labels or attributes, with these: those of an enum or a composite,
/// and of whatever an array, a domain, a range or a composite is made of. `$1` holds types of the database's own,
/// and no built-in type is followed.
const MAKEUP: &str = "
WITH RECURSIVE part(whole, oid) AS (
     SELECT t.oid, t.oid FROM unnest($1::oid[]) t(oid)
      UNION
     SELECT part.whole, next.oid
       FROM part JOIN pg_type t ON t.oid = part.oid
      CROSS JOIN LATERAL (
            SELECT t.typbasetype
             UNION ALL
            SELECT t.typelem WHERE t.typcategory = 'A'
             UNION ALL
            SELECT r.rngsubtype FROM pg_range r WHERE r.rngtypid = t.oid
             UNION ALL
            SELECT a.atttypid FROM pg_attribute a
             WHERE a.attrelid = t.typrelid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped) next(oid)
      WHERE next.oid >= 16384)
SELECT part.whole, string_agg(made.name, E'\\n' ORDER BY part.oid, made.place)
  FROM part
 CROSS JOIN LATERAL (
       SELECT quote_literal(e.enumlabel), e.enumsortorder::float8 FROM pg_enum e WHERE e.enumtypid = part.oid
        UNION ALL
       SELECT concat_ws(' ', quote_literal(a.attname), a.atttypid, a.atttypmod), a.attnum
         FROM pg_type t JOIN pg_attribute a ON a.attrelid = t.typrelid
        WHERE t.oid = part.oid AND t.typtype = 'c' AND a.attnum > 0 AND NOT a.attisdropped) made(name, place)
 GROUP BY part.whole";

/// The first number of what is not built in.
const FIRST_OWN: u32 = 16_384;

/// A column and what is needed to read it.
pub(super) struct CatalogColumn {
    pub(super) column: Column,
    /// Its number in the table.
    pub(super) number: i16,
    /// Its type, and that type with domains resolved.
    type_oid: u32,
    pub(super) base_oid: u32,
    pub(super) wire: Wire,
    serial: bool,
}

struct Index {
    primary: bool,
    unique: bool,
    ordered: bool,
    columns: Vec<String>,
}

/// Every table that the role may read, in name order.
pub(super) async fn discover(client: &Client) -> Result<Vec<Discovered>, Error> {
    let relations = client.query(RELATIONS, &[]).await?;
    let oids = relations
        .iter()
        .map(|row| row.try_get(0))
        .collect::<Result<Vec<u32>, _>>()?;
    let mut columns = columns(client, &oids).await?;
    let mut indexes = indexes(client, &oids).await?;
    let makeup = makeup(client, columns.values().flatten()).await?;
    let mut found = relations
        .iter()
        .zip(&oids)
        .map(|(row, oid)| {
            let columns = columns.remove(oid).unwrap_or_default();
            let indexes = indexes.remove(oid).unwrap_or_default();
            let identity = identity(*oid, &columns, &makeup);
            discovered(row, identity, columns, &indexes)
        })
        .collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|a, b| a.table.name.cmp(&b.table.name));
    Ok(found)
}

/// The columns of the relation `oid`, in physical order.
pub(super) async fn columns_of(client: &Client, oid: u32) -> Result<Vec<CatalogColumn>, Error> {
    Ok(columns(client, &[oid])
        .await?
        .remove(&oid)
        .unwrap_or_default())
}

async fn columns(
    client: &Client,
    oids: &[u32],
) -> Result<BTreeMap<u32, Vec<CatalogColumn>>, Error> {
    let mut columns: BTreeMap<u32, Vec<CatalogColumn>> = BTreeMap::new();
    for row in client.query(COLUMNS, &[&oids]).await? {
        let source_type: String = row.try_get(2)?;
        let base_oid = row.try_get(4)?;
        let landing = types::landing(BaseType {
            oid: base_oid,
            modifier: row.try_get(5)?,
            kind: TypeKind::of(row.try_get(6)?, row.try_get(7)?),
        });
        columns
            .entry(row.try_get(0)?)
            .or_default()
            .push(CatalogColumn {
                column: Column {
                    name: row.try_get(1)?,
                    // As with tables, what is in `public` is named without it.
                    source_type: match source_type.strip_prefix("public.") {
                        Some(name) => name.to_owned(),
                        None => source_type,
                    },
                    data_type: landing.data_type,
                    nullable: !row.try_get::<_, bool>(3)?,
                    fidelity: landing.fidelity,
                },
                number: row.try_get(9)?,
                type_oid: row.try_get(10)?,
                base_oid,
                wire: landing.wire,
                serial: row.try_get(8)?,
            });
    }
    Ok(columns)
}

/// The digests of what the types of `columns` are made of.
async fn makeup(
    client: &Client,
    columns: impl Iterator<Item = &CatalogColumn>,
) -> Result<BTreeMap<u32, Digest>, Error> {
    let own: BTreeSet<u32> = columns
        .map(|column| column.type_oid)
        .filter(|oid| *oid >= FIRST_OWN)
        .collect();
    let mut makeup = BTreeMap::new();
    if own.is_empty() {
        return Ok(makeup);
    }
    let own: Vec<u32> = own.into_iter().collect();
    for row in client.query(MAKEUP, &[&own]).await? {
        let parts: String = row.try_get(1)?;
        makeup.insert(row.try_get(0)?, Digest::of(parts));
    }
    Ok(makeup)
}

fn identity(relation: u32, columns: &[CatalogColumn], makeup: &BTreeMap<u32, Digest>) -> Identity {
    let columns = columns.iter().map(|column| {
        let identity = ColumnIdentity {
            number: column.number,
            made_of: makeup.get(&column.type_oid).copied(),
        };
        (column.column.name.clone(), identity)
    });
    Identity {
        relation,
        columns: columns.collect(),
    }
}

async fn indexes(client: &Client, oids: &[u32]) -> Result<BTreeMap<u32, Vec<Index>>, Error> {
    let mut indexes: BTreeMap<u32, Vec<Index>> = BTreeMap::new();
    for row in client.query(INDEXES, &[&oids]).await? {
        indexes.entry(row.try_get(0)?).or_default().push(Index {
            primary: row.try_get(1)?,
            unique: row.try_get(2)?,
            ordered: row.try_get(3)?,
            columns: row.try_get(4)?,
        });
    }
    Ok(indexes)
}

fn discovered(
    row: &Row,
    identity: Identity,
    columns: Vec<CatalogColumn>,
    indexes: &[Index],
) -> Result<Discovered, Error> {
    let kind = kind(row.try_get(3)?);
    let versions: bool = row.try_get(6)?;
    let whole: bool = row.try_get(7)?;
    let cursor_candidates = cursor::candidates(columns.iter().map(|c| {
        cursor::Facts {
            column: &c.column,
            indexed: indexes
                .iter()
                .any(|i| i.ordered && i.columns.first() == Some(&c.column.name)),
            serial: c.serial,
        }
    }));
    let columns: Vec<Column> = columns.into_iter().map(|c| c.column).collect();
    let (key, key_origin) = key(&columns, indexes);
    Ok(Discovered {
        table: Table {
            name: Relation::new(row.try_get::<_, String>(1)?, row.try_get::<_, String>(2)?)
                .table_name(),
            kind,
            columns,
            key,
            key_origin,
        },
        identity: Some(identity),
        rows_estimate: estimate(row.try_get(4)?),
        bytes_estimate: estimate(row.try_get(5)?),
        cursor_candidates,
        changes: match kind {
            TableKind::Plain | TableKind::Partitioned if !versions => {
                Err(CompareReason::NoRowVersions)
            }
            // Who has rights on columns only may not read the system column xmin.
            TableKind::Plain | TableKind::Partitioned if !whole => Err(CompareReason::NoCursor),
            TableKind::Plain | TableKind::Partitioned => Ok(()),
            TableKind::View | TableKind::MaterializedView | TableKind::Foreign => {
                Err(CompareReason::NoRowVersions)
            }
        },
    })
}

fn kind(relkind: &str) -> TableKind {
    match relkind {
        "p" => TableKind::Partitioned,
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        "f" => TableKind::Foreign,
        _ => TableKind::Plain,
    }
}

/// The primary key, or the shortest unique index over columns that are all there and NOT NULL.
fn key(columns: &[Column], indexes: &[Index]) -> (Vec<String>, KeyOrigin) {
    let identifies = |index: &&Index| {
        index.unique
            && index
                .columns
                .iter()
                .all(|name| columns.iter().any(|c| c.name == *name && !c.nullable))
    };
    match indexes.iter().find(identifies) {
        Some(index) if index.primary => (index.columns.clone(), KeyOrigin::Primary),
        Some(index) => (index.columns.clone(), KeyOrigin::Unique),
        None => (Vec::new(), KeyOrigin::None),
    }
}

/// Statistics are floating point in the catalog.
fn estimate(value: Option<f64>) -> Option<u64> {
    value.filter(|v| *v >= 0.0).map(|v| v as u64)
}
