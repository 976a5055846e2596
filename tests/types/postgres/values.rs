//! Values of every type: the ordinary, the empty, the ends of the range, and what people stumble over.

/// A type and values of it.
pub(crate) struct Case {
    /// The type as it is declared.
    pub(crate) sql: String,
    /// Values in SQL.
    pub(crate) values: Vec<String>,
}

impl Case {
    pub(crate) fn new(sql: &str, values: &[&str]) -> Self {
        Self {
            sql: sql.to_owned(),
            values: values.iter().map(|value| (*value).to_owned()).collect(),
        }
    }

    /// The SQL of the text that the value of `column` is landed as.
    pub(crate) fn text(&self, column: &str) -> String {
        match self.sql.as_str() {
            // What is stored, and not what it is called today.
            name if name.starts_with("reg") && !name.ends_with(']') => {
                format!("{column}::oid::text")
            }
            // The number, without the signs and separators of a locale.
            "money" => format!("{column}::numeric::text"),
            _ => written(column),
        }
    }
}

/// The SQL of the text that the server itself writes for the value of `column`.
pub(crate) fn written(column: &str) -> String {
    // NULLIF and coalesce would take a composite of NULLs for NULL.
    format!("CASE WHEN {column} IS DISTINCT FROM NULL THEN format('%s', {column}) END")
}

/// Values as literals of their type.
const LITERALS: &[(&str, &[&str])] = &[
    ("boolean", &["true", "false"]),
    ("smallint", &["-32768", "32767", "0"]),
    ("integer", &["-2147483648", "2147483647", "0"]),
    (
        "bigint",
        &[
            "-9223372036854775808",
            "9223372036854775807",
            "9007199254740993",
        ],
    ),
    (
        "real",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "3.4028235e38",
            "1e-45",
            "0.1",
        ],
    ),
    (
        "double precision",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "-0",
            "1.7976931348623157e308",
            "5e-324",
            "0.1",
        ],
    ),
    (
        "numeric",
        &[
            "NaN",
            "Infinity",
            "-Infinity",
            "0.000",
            "-12345678901234567890.10",
            "1e-400",
        ],
    ),
    ("numeric(10,2)", &["-12345678.90", "0.01", "99999999.99"]),
    (
        "numeric(38,10)",
        &["1234567890123456789012345678.0123456789", "-0.0000000001"],
    ),
    (
        "numeric(38,0)",
        &["99999999999999999999999999999999999999", "-1"],
    ),
    (
        "numeric(38,38)",
        &["-0.99999999999999999999999999999999999999"],
    ),
    (
        "numeric(39,0)",
        &["999999999999999999999999999999999999999"],
    ),
    (
        "numeric(76,4)",
        &["-98765432109876543210987654321098765432109876543210.0001"],
    ),
    (
        "numeric(76,0)",
        &["-9999999999999999999999999999999999999999999999999999999999999999999999999999"],
    ),
    (
        "numeric(77,0)",
        &["99999999999999999999999999999999999999999999999999999999999999999999999999999"],
    ),
    ("numeric(100,50)", &["1.5", "NaN"]),
    ("numeric(3,-2)", &["12345", "-99900"]),
    ("numeric(2,4)", &["0.0099"]),
    (
        "money",
        &[
            "1234.5",
            "-0.01",
            "-92233720368547758.08",
            "92233720368547758.07",
        ],
    ),
    (
        "text",
        &["", "O'Keefe 🚢 \u{10ffff}", "NULL", "a\tb\nc\r\\ \u{1}"],
    ),
    ("character varying(9)", &[" a ", ""]),
    ("character varying", &["ab  "]),
    ("character(5)", &["ab", "", "abcde"]),
    ("bpchar", &["ab  "]),
    (
        "name",
        &[
            "n",
            "sixty-three bytes are the most that a name of PostgreSQL can have",
        ],
    ),
    ("\"char\"", &["c", "", "é"]),
    ("bytea", &["\\x00ff", "\\x", "\\x5c27"]),
    (
        "date",
        &[
            "4714-11-24 BC",
            "0001-12-31 BC",
            "0001-01-01",
            "9999-12-31",
            "10000-01-01",
            "262142-12-31",
        ],
    ),
    (
        "time without time zone",
        &["00:00", "23:59:59.999999", "07:55:11.1"],
    ),
    ("time(0) without time zone", &["23:59:59"]),
    (
        "time with time zone",
        &["12:00+02", "24:00:00-15:59:59", "00:00+15:59"],
    ),
    (
        "timestamp without time zone",
        &[
            "4714-11-24 00:00:00 BC",
            "0001-01-01 00:00:00",
            "1969-12-31 23:59:59.999999",
            "9999-12-31 23:59:59.999999",
            "10000-01-01",
            "294247-01-10 04:00:54.775807",
        ],
    ),
    (
        "timestamp(3) without time zone",
        &["2022-11-03 14:20:51.563"],
    ),
    (
        "timestamp with time zone",
        &[
            "4714-11-24 00:00:00+00 BC",
            "0001-01-01 00:00:00+00",
            "2022-10-30 02:30:00 Europe/London",
            "2022-11-03 14:20:51.563001+05:45",
            "10000-01-01+00",
            "294247-01-10 04:00:54.775807+00",
        ],
    ),
    ("timestamp(0) with time zone", &["2022-11-03 14:20:51-08"]),
    (
        "interval",
        &[
            "1 year 2 mons -3 days 04:05:06.789",
            "-178000000 years",
            "0",
            "-1 day +23:59:59.999999",
            "1 mon -1 day",
        ],
    ),
    ("interval day to second(3)", &["3 days 04:05:06.789"]),
    (
        "uuid",
        &[
            "A0EEBC999C0B4EF8BB6D6BB9BD380A11",
            "00000000-0000-0000-0000-000000000000",
        ],
    ),
    (
        "json",
        &[
            "{\"b\": 1,  \"a\":2, \"a\": \"\\u0000\"}",
            "null",
            " 1e400 ",
        ],
    ),
    (
        "jsonb",
        &["{\"b\":1,\"a\":[1.50,null,1e400]}", "null", "\"🚢\""],
    ),
    ("jsonpath", &["$.\"a\"[*] ? (@ > 1)"]),
    (
        "xml",
        &[
            "<a b=\"1\">x &amp; y</a>",
            "",
            "<?xml version=\"1.0\" encoding=\"ISO-8859-1\"?><a>é</a>",
        ],
    ),
    ("inet", &["10.0.0.1", "10.0.0.1/8", "::1", "fe80::/10"]),
    ("cidr", &["10.0.0.0/8", "10.0.0.1/32", "::/0"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("bit(3)", &["101"]),
    ("bit varying", &["", "1010101010101"]),
    ("tsvector", &["a:1A b:2,3 'c d'"]),
    ("tsquery", &["a & !b <-> 'c d'"]),
    ("point", &["(0.1,-0)", "(NaN,Infinity)", "(1e300,-1e-300)"]),
    ("line", &["{1,-1,0.3}"]),
    ("lseg", &["[(0.1,0.2),(3,4)]"]),
    ("box", &["(3,4),(0.1,0.2)"]),
    ("path", &["[(0.1,0),(1,1)]", "((0.1,0),(1,1))"]),
    ("polygon", &["((0.1,0),(1,1),(2,0))"]),
    ("circle", &["<(0.1,2),3>"]),
    ("oid", &["0", "4294967295"]),
    ("xid", &["4294967295", "3"]),
    ("cid", &["4294967295"]),
    ("tid", &["(4294967295,65535)"]),
    ("xid8", &["18446744073709551615"]),
    ("pg_lsn", &["FFFFFFFF/FFFFFFFF", "0/0"]),
    ("txid_snapshot", &["10:20:10,14"]),
    ("pg_snapshot", &["10:20:10,14"]),
    ("refcursor", &["a cursor"]),
    ("aclitem", &["postgres=r*w/postgres"]),
    ("int2vector", &["1 -2 3", ""]),
    ("oidvector", &["1 4294967295"]),
    ("regclass", &["pg_catalog.pg_class", "0", "4294967295"]),
    ("regtype", &["timestamptz"]),
    ("regproc", &["pg_catalog.now"]),
    ("regprocedure", &["pg_catalog.now()"]),
    ("regoper", &["pg_catalog.||/"]),
    ("regoperator", &["pg_catalog.+(int4,int4)"]),
    ("regrole", &["postgres"]),
    ("regnamespace", &["pg_catalog"]),
    ("regcollation", &["pg_catalog.\"C\""]),
    ("regconfig", &["pg_catalog.english"]),
    ("regdictionary", &["pg_catalog.simple"]),
    ("int4range", &["[1,5)", "empty", "(,)"]),
    ("int8range", &["[-9223372036854775808,9223372036854775807)"]),
    ("numrange", &["[0.10,NaN]", "(-Infinity,1e30)"]),
    (
        "tsrange",
        &[
            "[-infinity,infinity]",
            "[\"4714-11-24 00:00:00 BC\",\"294276-01-01\")",
        ],
    ),
    ("tstzrange", &["[2022-11-03 00:00+01,)"]),
    ("daterange", &["[0001-01-01 BC,infinity)"]),
    ("int4multirange", &["{[1,3),[5,7)}", "{}"]),
    ("int8multirange", &["{[1,3)}"]),
    ("nummultirange", &["{[0.1,1.10)}"]),
    ("tsmultirange", &["{[2022-11-03,2022-11-04)}"]),
    (
        "tstzmultirange",
        &["{[2022-11-03 00:00+01,2022-11-04 00:00+01)}"],
    ),
    ("datemultirange", &["{[2022-11-03,2022-11-04)}"]),
    (
        "integer[]",
        &[
            "{}",
            "{1,NULL,3}",
            "{{1,2},{3,NULL}}",
            "[2:3]={1,2}",
            "{{{1}}}",
        ],
    ),
    (
        "text[]",
        &["{\"a,b\",\"c\\\"d\\\\\",NULL,\"NULL\",\"\",🚢}", "{}"],
    ),
    ("numeric(10,2)[]", &["{1.5,NaN,NULL}"]),
    (
        "timestamp with time zone[]",
        &["{2022-11-03 14:20:51+05:45,infinity,NULL}"],
    ),
    ("\"Mood\"", &["so so", "🚢", "good"]),
    ("price", &["12.5"]),
    ("tags", &["{a,\"b c\"}", "{{a},{b}}"]),
    ("feeling", &["so so"]),
    ("code", &["ab"]),
    ("floatrange", &["[0.1,1e300)"]),
    ("floatmultirange", &["{[0.1,0.3)}"]),
    ("hstore", &["a=>1, b=>NULL, \"c d\"=>\"e\\\"f\""]),
    ("citext", &["MiXed"]),
    ("ltree", &["Top.Science.Astronomy"]),
    ("lquery", &["Top.*{0,2}.!x"]),
    ("ltxtquery", &["a & b*"]),
    ("cube", &["(0.1,2),(3,4)"]),
    ("isbn13", &["978-0-11-000533-1"]),
    ("ean13", &["4007630000116"]),
    ("seg", &["0.1(+-)0.05"]),
    ("query_int", &["1&(2|3)"]),
];

/// Values that are no literal.
const EXPRESSIONS: &[(&str, &[&str])] = &[
    // A thousand digits before and behind the point, and more than anything else has.
    (
        "numeric(1000,500)",
        &["(repeat('9', 500) || '.' || repeat('8', 500))::numeric"],
    ),
    (
        "numeric",
        &[
            "(repeat('9', 1000) || '.' || repeat('8', 1000))::numeric",
            "(repeat('7', 131072) || '.' || repeat('6', 16383))::numeric",
        ],
    ),
    ("text", &["repeat('toast 🚢 ', 400000)"]),
    (
        "bytea",
        &["(SELECT string_agg(sha512(n::text::bytea), '') FROM generate_series(1, 50000) n)"],
    ),
    (
        "jsonb",
        &["(SELECT jsonb_agg(md5(n::text)) FROM generate_series(1, 50000) n)"],
    ),
    (
        "pair",
        &["ROW(1, 'a,b \"c\"')", "ROW(NULL, NULL)", "ROW(NULL, '')"],
    ),
    (
        "nested",
        &["ROW(ROW(1, 'x')::pair, '2022-11-03 14:20:51+05:45', ARRAY[ROW(2, NULL)::pair])"],
    ),
];

/// All cases.
pub(crate) fn cases() -> Vec<Case> {
    let literal = |value: &&str| format!("'{}'", value.replace('\'', "''"));
    let mut cases: Vec<Case> = LITERALS
        .iter()
        .map(|(sql, values)| Case {
            sql: (*sql).to_owned(),
            values: values.iter().map(literal).collect(),
        })
        .collect();
    for (sql, values) in EXPRESSIONS {
        match cases.iter_mut().find(|case| case.sql == *sql) {
            Some(case) => case.values.extend(values.iter().map(|v| (*v).to_owned())),
            None => cases.push(Case::new(sql, values)),
        }
    }
    cases
}
