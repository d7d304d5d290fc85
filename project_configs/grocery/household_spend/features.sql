-- One row for each household and each Sunday night from the 13th week on: what was known at that
-- moment (`snapshot`), and what the household went on to spend in the 28 days after it.
--
-- No leak: every feature sums baskets before `snapshot`, the label baskets from `snapshot` on. The
-- label of the newest snapshots is still growing; `matures_after: 28d` keeps them out of training.
WITH lines AS (
  SELECT
    t.household_id,
    t.basket_id,
    CAST(t.transaction_timestamp AS DATE) AS day,
    t.sales_value,
    t.retail_disc + t.coupon_disc + t.coupon_match_disc AS discount,
    IF(p.brand = 'Private', t.sales_value, 0) AS private_label,
    IF(p.department IN ('PRODUCE', 'MEAT', 'SEAFOOD', 'DELI', 'PASTRY'), t.sales_value, 0) AS fresh,
    IF(p.department = 'FUEL', t.sales_value, 0) AS fuel
  FROM transactions t
  LEFT JOIN products p ON p.product_id = t.product_id
),
days AS (
  SELECT
    household_id, day,
    COUNT(DISTINCT basket_id) AS baskets, COUNT(*) AS items,
    SUM(sales_value) AS spend, SUM(discount) AS discount,
    SUM(private_label) AS private_label, SUM(fresh) AS fresh, SUM(fuel) AS fuel
  FROM lines
  GROUP BY household_id, day
),
snapshots AS (
  SELECT EXPLODE(SEQUENCE(DATE'2017-03-27', MAX(day), INTERVAL 7 DAYS)) AS snapshot
  FROM days
),
households AS (
  SELECT household_id, MIN(day) AS first_day FROM days GROUP BY household_id
),
-- Each shopping day belongs to the snapshots of the 12 weeks after it and of the 4 weeks before it.
nearby AS (
  SELECT d.*, s.snapshot, DATEDIFF(s.snapshot, d.day) AS age
  FROM days d
  JOIN snapshots s ON d.day >= s.snapshot - INTERVAL 84 DAYS AND d.day < s.snapshot + INTERVAL 28 DAYS
),
windows AS (
  SELECT
    household_id, snapshot,
    SUM(IF(age <= 0, spend, 0)) AS next_spend,
    SUM(IF(age BETWEEN 1 AND 7, spend, 0)) AS spend_1w,
    SUM(IF(age BETWEEN 1 AND 28, spend, 0)) AS spend_4w,
    SUM(IF(age BETWEEN 29 AND 56, spend, 0)) AS spend_8w_to_4w,
    SUM(IF(age BETWEEN 57 AND 84, spend, 0)) AS spend_12w_to_8w,
    SUM(IF(age BETWEEN 1 AND 84, spend, 0)) AS spend_12w,
    SUM(IF(age BETWEEN 1 AND 28, baskets, 0)) AS baskets_4w,
    SUM(IF(age BETWEEN 1 AND 84, baskets, 0)) AS baskets_12w,
    SUM(IF(age BETWEEN 1 AND 84, items, 0)) AS items_12w,
    COUNT(DISTINCT IF(age BETWEEN 1 AND 84, age DIV 7, NULL)) AS active_weeks,
    MIN(IF(age >= 1, age, NULL)) AS days_since_visit,
    MAX(IF(age BETWEEN 1 AND 84, spend, 0)) AS largest_day,
    STDDEV(IF(age BETWEEN 1 AND 84, spend, NULL)) AS day_spread,
    TRY_DIVIDE(SUM(IF(age BETWEEN 1 AND 84, discount, 0)), SUM(IF(age BETWEEN 1 AND 84, spend, 0))) AS discount_share,
    TRY_DIVIDE(SUM(IF(age BETWEEN 1 AND 84, private_label, 0)), SUM(IF(age BETWEEN 1 AND 84, spend, 0))) AS private_label_share,
    TRY_DIVIDE(SUM(IF(age BETWEEN 1 AND 84, fresh, 0)), SUM(IF(age BETWEEN 1 AND 84, spend, 0))) AS fresh_share,
    TRY_DIVIDE(SUM(IF(age BETWEEN 1 AND 84, fuel, 0)), SUM(IF(age BETWEEN 1 AND 84, spend, 0))) AS fuel_share
  FROM nearby
  GROUP BY household_id, snapshot
)
SELECT
  w.household_id,
  CAST(w.snapshot AS TIMESTAMP) AS snapshot,
  w.next_spend,
  w.spend_1w, w.spend_4w, w.spend_8w_to_4w, w.spend_12w_to_8w, w.spend_12w,
  w.baskets_4w, w.baskets_12w, w.items_12w, w.active_weeks, w.days_since_visit,
  TRY_DIVIDE(w.spend_12w, w.baskets_12w) AS basket_value, w.largest_day, w.day_spread,
  w.discount_share, w.private_label_share, w.fresh_share, w.fuel_share,
  DATEDIFF(w.snapshot, h.first_day) AS days_known,
  WEEKOFYEAR(w.snapshot) AS week,
  d.age, d.income, d.home_ownership, d.marital_status, d.household_size, d.household_comp, d.kids_count
FROM windows w
JOIN households h ON h.household_id = w.household_id AND h.first_day < w.snapshot
LEFT JOIN demographics d ON d.household_id = w.household_id
WHERE w.spend_12w > 0
