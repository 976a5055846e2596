//! The small tables: who and what the company begins with, and how designs grow.

use chrono::TimeDelta;

use super::super::calendar::date_of;
use super::super::names::{
    ADDRESSES, COUNTERPARTIES, CURRENCIES, DEPARTMENTS, DESIGNS, FOLDERS, Place, STAFF,
};
use super::super::pcg::Pcg32;
use super::super::rows::{
    Address, Counterparty, Currency, Department, Design, PaymentType, Row, Staff, Stamps, Table,
};
use super::{Change, Commit, Event, FOUNDED, Purpose, Totesys, stamps_of_founding};

/// Designs on the first day; the real company ends its history with 424.
const FIRST_DESIGNS: u32 = 12;

/// Of a hundred working days, on how many a design is added.
const DESIGN_DAYS_PERCENT: u32 = 87;

/// The labels of the enum type, in the order of `payment_type_id`.
const PAYMENT_TYPES: [&str; 4] = [
    "SALES_RECEIPT",
    "SALES_REFUND",
    "PURCHASE_PAYMENT",
    "PURCHASE_REFUND",
];

impl Totesys {
    /// The small tables as they are on the first day.
    pub(super) fn found(&mut self) -> Vec<Row> {
        let mut rows = Vec::new();
        rows.extend(ADDRESSES.map(|address| Row::Address(self.address(address))));
        rows.extend(DEPARTMENTS.map(|department| Row::Department(self.department(department))));
        rows.extend(
            CURRENCIES.map(|code| Row::Currency(self.currency(code, stamps_of_founding()))),
        );
        rows.extend(PAYMENT_TYPES.map(|name| Row::PaymentType(self.payment_type(name))));
        let mut random = self.random(u32::MAX, Purpose::Designs);
        for _ in 0..FIRST_DESIGNS {
            rows.push(Row::Design(self.design(&mut random, stamps_of_founding())));
        }
        rows.extend(STAFF.map(|person| Row::Staff(self.person(person))));
        rows.extend(COUNTERPARTIES.map(|party| Row::Counterparty(self.counterparty(party))));
        for row in &rows {
            self.book.put(row.clone());
        }
        rows
    }

    /// The designs that may be sold: all but the two newest, which are still being looked at. So there is
    /// always one that no order names, which the `deletes` oddity needs.
    pub(super) fn sellable_designs(&self) -> Vec<i32> {
        let all: Vec<i32> = self.book.designs.keys().copied().collect();
        let sellable = all.len().saturating_sub(2);
        all.into_iter().take(sellable).collect()
    }

    /// The design that is added on most days; it is remembered.
    pub(super) fn new_design(&mut self, day: u32) -> Option<Design> {
        let mut random = self.random(day, Purpose::Designs);
        if random.below(100) >= DESIGN_DAYS_PERCENT {
            return None;
        }
        let millis = TimeDelta::milliseconds(random.between(0, 59_999).into());
        let at = date_of(day).and_time(FOUNDED) + TimeDelta::hours(1) + millis;
        let design = self.design(&mut random, Stamps::new(at));
        self.book.put(Row::Design(design.clone()));
        Some(design)
    }

    /// The commit of [`Totesys::new_design`].
    pub(super) fn draw_design(&mut self, day: u32) -> Option<Commit> {
        let design = self.new_design(day)?;
        Some(Commit {
            at: design.stamps.created_at,
            event: Event::NewDesign,
            changes: vec![Change::Insert(Row::Design(design))],
        })
    }

    /// A currency with the next id.
    pub(super) fn currency(&mut self, code: &str, stamps: Stamps) -> Currency {
        Currency {
            currency_id: self.next_id(Table::Currency),
            currency_code: code.into(),
            stamps,
        }
    }

    fn design(&mut self, random: &mut Pcg32, stamps: Stamps) -> Design {
        let design_id = self.next_id(Table::Design);
        let name = random.pick(&DESIGNS).copied().unwrap_or("Harbour");
        let stem: String = name
            .to_lowercase()
            .chars()
            .filter(|letter| letter.is_alphanumeric())
            .collect();
        let date = stamps.created_at.format("%Y%m%d");
        Design {
            design_id,
            design_name: name.into(),
            file_location: folder(random),
            file_name: format!("{stem}-{date}-{:04x}.json", random.below(0x1_0000)),
            stamps,
        }
    }

    fn address(
        &mut self,
        (line_1, line_2, district, city, postal_code, country, phone): Place,
    ) -> Address {
        Address {
            address_id: self.next_id(Table::Address),
            address_line_1: line_1.into(),
            address_line_2: line_2.map(Into::into),
            district: district.map(Into::into),
            city: city.into(),
            postal_code: postal_code.into(),
            country: country.into(),
            phone: phone.into(),
            stamps: stamps_of_founding(),
        }
    }

    fn department(&mut self, (name, location, manager): (&str, &str, &str)) -> Department {
        Department {
            department_id: self.next_id(Table::Department),
            department_name: name.into(),
            location: Some(location.into()),
            manager: Some(manager.into()),
            stamps: stamps_of_founding(),
        }
    }

    fn payment_type(&mut self, name: &str) -> PaymentType {
        PaymentType {
            payment_type_id: self.next_id(Table::PaymentType),
            payment_type_name: name.into(),
            stamps: stamps_of_founding(),
        }
    }

    fn person(&mut self, (first_name, last_name, department_id): (&str, &str, i32)) -> Staff {
        let mailbox = format!("{first_name}.{last_name}")
            .to_lowercase()
            .replace(' ', "");
        Staff {
            staff_id: self.next_id(Table::Staff),
            first_name: first_name.into(),
            last_name: last_name.into(),
            department_id,
            email_address: format!("{mailbox}@tidetotes.example"),
            stamps: stamps_of_founding(),
        }
    }

    fn counterparty(&mut self, (name, commercial, delivery): (&str, &str, &str)) -> Counterparty {
        let counterparty_id = self.next_id(Table::Counterparty);
        Counterparty {
            counterparty_id,
            counterparty_legal_name: name.into(),
            legal_address_id: counterparty_id,
            commercial_contact: Some(commercial.into()),
            delivery_contact: Some(delivery.into()),
            stamps: stamps_of_founding(),
        }
    }
}

/// A folder that design files are kept in.
pub(super) fn folder(random: &mut Pcg32) -> String {
    random
        .pick(&FOLDERS)
        .copied()
        .unwrap_or("/srv/designs")
        .into()
}
