-- totesys for SQLite. Declared types are those of PostgreSQL, so that the source maps them exactly;
-- enum types are text with a check, timestamps are ISO text with milliseconds.

CREATE TABLE _prisma_migrations (
    id varchar(36) NOT NULL PRIMARY KEY,
    checksum varchar(64) NOT NULL,
    finished_at timestamptz,
    migration_name varchar(255) NOT NULL,
    logs text,
    rolled_back_at timestamptz,
    started_at timestamptz NOT NULL,
    applied_steps_count int4 NOT NULL DEFAULT 0
);

CREATE TABLE address (
    address_id int4 NOT NULL PRIMARY KEY,
    address_line_1 text NOT NULL,
    address_line_2 text,
    district text,
    city text NOT NULL,
    postal_code text NOT NULL,
    country text NOT NULL,
    phone text NOT NULL,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE department (
    department_id int4 NOT NULL PRIMARY KEY,
    department_name text NOT NULL,
    location text,
    manager text,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE currency (
    currency_id int4 NOT NULL PRIMARY KEY,
    currency_code varchar(3) NOT NULL,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE payment_type (
    payment_type_id int4 NOT NULL PRIMARY KEY,
    payment_type_name text NOT NULL
        CHECK (payment_type_name IN ('SALES_RECEIPT', 'SALES_REFUND', 'PURCHASE_PAYMENT', 'PURCHASE_REFUND')),
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE design (
    design_id int4 NOT NULL PRIMARY KEY,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    design_name text NOT NULL,
    file_location text NOT NULL,
    file_name text NOT NULL,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE staff (
    staff_id int4 NOT NULL PRIMARY KEY,
    first_name text NOT NULL,
    last_name text NOT NULL,
    department_id int4 NOT NULL REFERENCES department ON UPDATE CASCADE ON DELETE RESTRICT,
    email_address text NOT NULL,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE counterparty (
    counterparty_id int4 NOT NULL PRIMARY KEY,
    counterparty_legal_name text NOT NULL,
    legal_address_id int4 NOT NULL REFERENCES address ON UPDATE CASCADE ON DELETE RESTRICT,
    commercial_contact text,
    delivery_contact text,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE sales_order (
    sales_order_id int4 NOT NULL PRIMARY KEY,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL,
    design_id int4 NOT NULL REFERENCES design ON UPDATE CASCADE ON DELETE RESTRICT,
    staff_id int4 NOT NULL REFERENCES staff ON UPDATE CASCADE ON DELETE RESTRICT,
    counterparty_id int4 NOT NULL REFERENCES counterparty ON UPDATE CASCADE ON DELETE RESTRICT,
    units_sold int4 NOT NULL,
    unit_price numeric(10,2) NOT NULL,
    currency_id int4 NOT NULL REFERENCES currency ON UPDATE CASCADE ON DELETE RESTRICT,
    agreed_delivery_date text NOT NULL,
    agreed_payment_date text NOT NULL,
    agreed_delivery_location_id int4 NOT NULL REFERENCES address ON UPDATE CASCADE ON DELETE RESTRICT
);

CREATE TABLE purchase_order (
    purchase_order_id int4 NOT NULL PRIMARY KEY,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL,
    staff_id int4 NOT NULL REFERENCES staff ON UPDATE CASCADE ON DELETE RESTRICT,
    counterparty_id int4 NOT NULL REFERENCES counterparty ON UPDATE CASCADE ON DELETE RESTRICT,
    item_code text NOT NULL,
    item_quantity int4 NOT NULL,
    item_unit_price numeric(10,2) NOT NULL,
    currency_id int4 NOT NULL REFERENCES currency ON UPDATE CASCADE ON DELETE RESTRICT,
    agreed_delivery_date text NOT NULL,
    agreed_payment_date text NOT NULL,
    agreed_delivery_location_id int4 NOT NULL REFERENCES address ON UPDATE CASCADE ON DELETE RESTRICT
);

CREATE TABLE "transaction" (
    transaction_id int4 NOT NULL PRIMARY KEY,
    transaction_type text NOT NULL CHECK (transaction_type IN ('SALE', 'PURCHASE')),
    sales_order_id int4 UNIQUE REFERENCES sales_order ON UPDATE CASCADE ON DELETE SET NULL,
    purchase_order_id int4 UNIQUE REFERENCES purchase_order ON UPDATE CASCADE ON DELETE SET NULL,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL
);

CREATE TABLE payment (
    payment_id int4 NOT NULL PRIMARY KEY,
    created_at timestamp(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    last_updated timestamp(3) NOT NULL,
    transaction_id int4 NOT NULL UNIQUE REFERENCES "transaction" ON UPDATE CASCADE ON DELETE RESTRICT,
    counterparty_id int4 NOT NULL REFERENCES counterparty ON UPDATE CASCADE ON DELETE RESTRICT,
    payment_amount numeric(10,2) NOT NULL,
    currency_id int4 NOT NULL REFERENCES currency ON UPDATE CASCADE ON DELETE RESTRICT,
    payment_type_id int4 NOT NULL REFERENCES payment_type ON UPDATE CASCADE ON DELETE RESTRICT,
    paid boolean NOT NULL,
    payment_date text NOT NULL,
    company_ac_number int4 NOT NULL,
    counterparty_ac_number int4 NOT NULL
);
