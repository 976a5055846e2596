//! `dim_staff`: one row per member of staff, as they are now, with the department they work in.

use tidemill_sdk::{Input, Table, integer};

tidemill_sdk::export!(dim_staff);

/// One row per member of staff, as they are now, with the name and the place of their department. A change of
/// a department changes every row of its staff, so the table is made anew by every run. Who has no known
/// department is refused, not dropped.
pub fn dim_staff() -> Table {
    let staff = Input::current("staff").key(integer("staff_id"));
    let department = Input::current("department")
        .key(integer("department_id"))
        .look_up(staff.integer("department_id"));

    Table::overwrite("dim_staff")
        .key("staff_id", staff.integer("staff_id"))
        .required("first_name", staff.text("first_name"))
        .required("last_name", staff.text("last_name"))
        .required("department_name", department.text("department_name"))
        .required("location", department.text("location"))
        .required("email_address", staff.text("email_address"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn every_case_holds() {
        tidemill_sdk::testing::check_cases(super::dim_staff);
    }
}
