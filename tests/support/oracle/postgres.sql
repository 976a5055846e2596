-- The star as totesys itself implies it, in PostgreSQL's SQL. One statement per table, each after its name;
-- the first column is the key. A row that the star's NOT NULLs forbid, or whose dates are none, is left out.

-- dim_staff
SELECT s.staff_id, s.first_name, s.last_name, d.department_name, d.location, s.email_address
FROM staff s LEFT JOIN department d ON d.department_id = s.department_id
WHERE d.department_name IS NOT NULL AND d.location IS NOT NULL AND s.first_name IS NOT NULL
  AND s.last_name IS NOT NULL AND s.email_address IS NOT NULL;

-- dim_location
SELECT address_id AS location_id, address_line_1, address_line_2, district, city, postal_code, country, phone
FROM address
WHERE address_line_1 IS NOT NULL AND city IS NOT NULL AND postal_code IS NOT NULL AND country IS NOT NULL
  AND phone IS NOT NULL;

-- dim_currency
SELECT c.currency_id, c.currency_code, iso.currency_name
FROM currency c
JOIN (VALUES ('GBP', 'Pound Sterling'), ('USD', 'US Dollar'), ('EUR', 'Euro'), ('CHF', 'Swiss Franc'),
             ('SEK', 'Swedish Krona'), ('DKK', 'Danish Krone'), ('PLN', 'Zloty'), ('JPY', 'Yen'),
             ('CAD', 'Canadian Dollar')) iso (currency_code, currency_name)
  ON iso.currency_code = c.currency_code;

-- dim_design
SELECT design_id, design_name, file_location, file_name FROM design
WHERE design_name IS NOT NULL AND file_location IS NOT NULL AND file_name IS NOT NULL;

-- dim_counterparty
SELECT c.counterparty_id, c.counterparty_legal_name,
       a.address_line_1 AS counterparty_legal_address_line_1,
       a.address_line_2 AS counterparty_legal_address_line_2,
       a.district AS counterparty_legal_district,
       a.city AS counterparty_legal_city,
       a.postal_code AS counterparty_legal_postal_code,
       a.country AS counterparty_legal_country,
       a.phone AS counterparty_legal_phone_number
FROM counterparty c JOIN address a ON a.address_id = c.legal_address_id
WHERE c.counterparty_legal_name IS NOT NULL AND a.address_line_1 IS NOT NULL AND a.city IS NOT NULL
  AND a.postal_code IS NOT NULL AND a.country IS NOT NULL AND a.phone IS NOT NULL;

-- dim_payment_type
SELECT payment_type_id, payment_type_name::text AS payment_type_name FROM payment_type;

-- dim_transaction
SELECT transaction_id, transaction_type::text AS transaction_type, sales_order_id, purchase_order_id
FROM "transaction";

-- fact_sales_order
WITH dated AS MATERIALIZED (
    SELECT * FROM sales_order
    WHERE agreed_delivery_date ~ '^\d{4}-(0[1-9]|1[0-2])-\d{2}$'
      AND agreed_payment_date ~ '^\d{4}-(0[1-9]|1[0-2])-\d{2}$'
), possible AS MATERIALIZED (
    SELECT * FROM dated
    WHERE right(agreed_delivery_date, 2)::int BETWEEN 1 AND
          extract(day FROM (left(agreed_delivery_date, 8) || '01')::date + interval '1 month - 1 day')
      AND right(agreed_payment_date, 2)::int BETWEEN 1 AND
          extract(day FROM (left(agreed_payment_date, 8) || '01')::date + interval '1 month - 1 day')
)
SELECT sales_order_id, created_at::date AS created_date, created_at::time AS created_time,
       last_updated::date AS last_updated_date, last_updated::time AS last_updated_time,
       staff_id AS sales_staff_id, counterparty_id, units_sold, unit_price, currency_id, design_id,
       agreed_payment_date::date AS agreed_payment_date,
       agreed_delivery_date::date AS agreed_delivery_date, agreed_delivery_location_id
FROM possible;

-- fact_purchase_orders
WITH dated AS MATERIALIZED (
    SELECT * FROM purchase_order
    WHERE agreed_delivery_date ~ '^\d{4}-(0[1-9]|1[0-2])-\d{2}$'
      AND agreed_payment_date ~ '^\d{4}-(0[1-9]|1[0-2])-\d{2}$'
), possible AS MATERIALIZED (
    SELECT * FROM dated
    WHERE right(agreed_delivery_date, 2)::int BETWEEN 1 AND
          extract(day FROM (left(agreed_delivery_date, 8) || '01')::date + interval '1 month - 1 day')
      AND right(agreed_payment_date, 2)::int BETWEEN 1 AND
          extract(day FROM (left(agreed_payment_date, 8) || '01')::date + interval '1 month - 1 day')
)
SELECT purchase_order_id, created_at::date AS created_date, created_at::time AS created_time,
       last_updated::date AS last_updated_date, last_updated::time AS last_updated_time,
       staff_id, counterparty_id, item_code, item_quantity, item_unit_price, currency_id,
       agreed_delivery_date::date AS agreed_delivery_date,
       agreed_payment_date::date AS agreed_payment_date, agreed_delivery_location_id
FROM possible;

-- fact_payment
WITH dated AS MATERIALIZED (
    SELECT * FROM payment WHERE payment_date ~ '^\d{4}-(0[1-9]|1[0-2])-\d{2}$'
), possible AS MATERIALIZED (
    SELECT * FROM dated
    WHERE right(payment_date, 2)::int BETWEEN 1 AND
          extract(day FROM (left(payment_date, 8) || '01')::date + interval '1 month - 1 day')
)
SELECT payment_id, created_at::date AS created_date, created_at::time AS created_time,
       last_updated::date AS last_updated_date, last_updated::time AS last_updated_time,
       transaction_id, counterparty_id, payment_amount, currency_id, payment_type_id, paid,
       payment_date::date AS payment_date
FROM possible;
