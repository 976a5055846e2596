"""Reads one PostgreSQL table into one Parquet file with a peer of tidemill's: NAME HOST PORT DATABASE TABLE KEY FILE."""

import os
import sys

name, host, port, database, table, key, out = sys.argv[1:8]
url = f"postgresql://postgres@{host}:{port}/{database}"

if name.startswith("duckdb"):
    import duckdb
    import duckdb_extension_postgres_scanner as scanner

    folder = os.path.join(os.path.dirname(scanner.__file__), "extensions", f"v{duckdb.__version__}")
    connection = duckdb.connect()
    connection.execute(f"LOAD '{folder}/postgres_scanner.duckdb_extension'")
    connection.execute(
        f"ATTACH 'host={host} port={port} user=postgres dbname={database}' AS pg (TYPE postgres, READ_ONLY)"
    )
    codec = "zstd" if name.endswith("zstd") else "snappy"
    connection.execute(f"COPY (SELECT * FROM pg.{table}) TO '{out}' (FORMAT parquet, COMPRESSION {codec})")
elif name == "connectorx":
    import connectorx
    import pyarrow.parquet

    rows = connectorx.read_sql(
        url, f"SELECT * FROM {table}", return_type="arrow", partition_on=key, partition_num=4
    )
    pyarrow.parquet.write_table(rows, out, compression="zstd")
elif name == "adbc":
    import adbc_driver_postgresql.dbapi
    import pyarrow.parquet

    with adbc_driver_postgresql.dbapi.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table}")
        batches = cursor.fetch_record_batch()
        with pyarrow.parquet.ParquetWriter(out, batches.schema, compression="zstd") as writer:
            for batch in batches:
                writer.write_batch(batch)
else:
    sys.exit(f"no such peer: {name}")
