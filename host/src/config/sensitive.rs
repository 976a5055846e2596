//! Columns that the project file marks sensitive, and who may read them.

use std::fmt;

use super::Plan;

/// A column of a table of a source; written `totesys.staff.email_address`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SourceColumn {
    /// The source's name in the project file.
    pub source: String,
    /// The table, as the source calls it.
    pub table: String,
    /// The column.
    pub column: String,
}

impl fmt::Display for SourceColumn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.source, self.table, self.column)
    }
}

impl Plan {
    /// Every column that is marked sensitive, by source, table and place in the list.
    pub fn sensitive(&self) -> impl Iterator<Item = SourceColumn> {
        self.sources.iter().flat_map(|(source, plan)| {
            plan.tables.iter().flat_map(move |(table, plan)| {
                plan.sensitive.iter().map(move |column| SourceColumn {
                    source: source.clone(),
                    table: table.clone(),
                    column: column.clone(),
                })
            })
        })
    }

    /// Whether the module of the warehouse table `transform` may read `column`.
    pub fn grants(&self, transform: &str, column: &SourceColumn) -> bool {
        let written = column.to_string();
        let transform = self.transforms.get(transform);
        transform.is_some_and(|transform| transform.grants.contains(&written))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::{ConfigError, Environment, parse};
    use super::*;
    use crate::error::Classify as _;

    const SOURCE: &str = "[source.a]\nurl = \"sqlite://a\"\n";

    fn plan(text: &str) -> Result<Plan, ConfigError> {
        let environment = Environment::default();
        let file = Path::new("tidemill.toml");
        parse(
            &format!("{SOURCE}{text}"),
            file,
            Path::new("/"),
            &environment,
            &[],
        )
    }

    fn told(text: &str) -> String {
        let error = plan(text).expect_err("the settings are wrong");
        format!("{error} | {}", error.hint().unwrap_or_default())
    }

    #[test]
    fn a_grant_is_of_one_column_for_one_table() {
        let plan = plan(
            "[source.a.table.\"hr.staff\"]\nsensitive = [\"email\", \"phone\"]\n\
             [transform.dim_staff]\nmodule = \"dim-staff@1\"\ngrants = [\"a.hr.staff.email\"]\n\
             [transform.dim_other]\nmodule = \"dim-other@1\"",
        )
        .expect("a good project");
        let columns: Vec<SourceColumn> = plan.sensitive().collect();
        let written: Vec<String> = columns.iter().map(ToString::to_string).collect();
        assert_eq!(written, ["a.hr.staff.email", "a.hr.staff.phone"]);
        let granted = |transform| {
            columns
                .iter()
                .map(|c| plan.grants(transform, c))
                .collect::<Vec<_>>()
        };
        assert_eq!(granted("dim_staff"), [true, false]);
        assert_eq!(granted("dim_other"), [false, false]);
        assert_eq!(granted("dim_third"), [false, false]);
        assert_eq!(
            plan.sources["a"].sensitive_of("hr.staff"),
            ["email", "phone"]
        );
        assert!(plan.sources["a"].sensitive_of("staff").is_empty());
    }

    #[test]
    fn what_is_no_column_of_a_source_cannot_be_granted() {
        for grant in [
            "email",
            "a.email",
            "b.staff.email",
            "a..email",
            "a.staff.",
            "ab.staff.email",
        ] {
            let text = format!("[transform.t]\nmodule = \"t@1\"\ngrants = [\"{grant}\"]");
            assert_eq!(
                told(&text),
                format!(
                    "tidemill.toml:5: `transform.t.grants` is \"{grant}\", which is not the SOURCE.TABLE.COLUMN of a \
                     source of this project | write it as [\"totesys.staff.email_address\"]"
                )
            );
        }
    }

    #[test]
    fn two_columns_that_are_written_alike_are_not_told_apart_by_a_grant() {
        let told = told(
            "[source.a.table.b]\nsensitive = [\"c.d\"]\n[source.a.table.\"b.c\"]\nsensitive = [\"d\"]",
        );
        assert!(
            told.contains("which is written like the column `c.d` of the table `b`"),
            "{told}"
        );
    }

    #[test]
    fn marks_are_lists() {
        let told = told("[source.a.table.b]\nsensitive = \"c\"");
        assert_eq!(
            told,
            "tidemill.toml:4: `source.a.table.b.sensitive` is a text, not a list of texts | write it as [\"email_address\"]"
        );
    }
}
