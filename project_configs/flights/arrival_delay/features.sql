-- One row per flight, as it stood at its scheduled departure: the moment of the prediction.
--
-- The rule: a row may only use what was known strictly before `departs`. Timetable, aircraft and
-- calendar are known long before. Of the flight itself nothing else is: not when it left
-- (dep_delay, dep_time), nor how long it flew. Of OTHER flights, a departure delay is known once
-- they have departed and an arrival delay once they have landed, so each is compared with its own
-- moment, never with its day or its place in the timetable.
--
-- Moments are whole minutes since 1970 (UTC). In the data, time_hour is UTC, but year, month, day,
-- hour and sched_dep_time are New York time and sched_arr_time is the destination's.

WITH timetable AS (
  SELECT
    f.carrier, f.flight, f.tailnum, f.origin, f.dest, f.distance, f.dep_delay, f.arr_delay,
    f.time_hour,
    f.hour * 60 + f.minute AS minute_of_day,
    MAKE_DATE(f.year, f.month, f.day) AS local_date,
    UNIX_SECONDS(f.time_hour) DIV 60 + f.minute AS departs,
    -- No flight from New York lands at an earlier time of day than it left at, except overnight.
    -- The four destinations that `airports` lacks are in Puerto Rico and the Virgin Islands.
    UNIX_SECONDS(TO_UTC_TIMESTAMP(
      DATE_ADD(
        MAKE_DATE(f.year, f.month, f.day), IF(f.sched_arr_time < f.sched_dep_time, 1, 0)
      ) + MAKE_DT_INTERVAL(0, f.sched_arr_time DIV 100, f.sched_arr_time % 100),
      COALESCE(a.tzone, 'America/Puerto_Rico')
    )) DIV 60 AS arrives
  FROM flights AS f
  LEFT JOIN airports AS a ON a.faa = f.dest
),

legs AS (
  -- Null where a flight was cancelled (never departed) or diverted (never landed at `dest`).
  SELECT
    *,
    departs + dep_delay AS departed,
    arrives + arr_delay AS landed,
    CAST(arr_delay > 15 AS INT) AS is_late
  FROM timetable
),

-- How late the airport runs: minutes late SO FAR of all flights due out in the two hours before
-- the last quarter of an hour. One that has not left by then counts with its wait until then,
-- whatever became of it later. Joined by hour first, so that no flight meets a whole day.
quarters AS (
  SELECT origin, quarter, EXPLODE(SEQUENCE(quarter DIV 60 - 2, quarter DIV 60)) AS hour_number
  FROM (SELECT DISTINCT origin, departs DIV 15 * 15 AS quarter FROM legs)
),

waits AS (
  SELECT
    q.origin, q.quarter, l.carrier,
    COUNT(*) AS due,
    SUM(IF(l.departed < q.quarter, l.departed, q.quarter) - l.departs) AS minutes
  FROM quarters AS q
  JOIN legs AS l
    ON l.origin = q.origin
    AND l.departs DIV 60 = q.hour_number
    AND l.departs BETWEEN q.quarter - 120 AND q.quarter - 1
  GROUP BY q.origin, q.quarter, l.carrier
),

origin_now AS (
  SELECT
    origin, quarter,
    SUM(minutes) / SUM(due) AS minutes_late,
    MAP_FROM_ENTRIES(COLLECT_LIST(STRUCT(carrier, minutes / due))) AS minutes_late_by_carrier
  FROM waits
  GROUP BY origin, quarter
),

rotations AS (
  SELECT
    *,
    LAG(landed) OVER aircraft AS leg_landed,
    LAG(arr_delay) OVER aircraft AS leg_delay,
    LAG(arrives - departs) OVER aircraft AS leg_minutes
  FROM legs
  WINDOW aircraft AS (PARTITION BY tailnum ORDER BY departs, carrier, flight)
),

-- Every departure asks, every landing tells, on one time line: a window that ends one minute
-- before a question sees exactly the landings that had happened by then.
events AS (
  SELECT
    *,
    'departure' AS event,
    departs AS moment,
    CAST(NULL AS INT) AS known_delay,
    CAST(NULL AS INT) AS known_late
  FROM rotations
  UNION ALL
  SELECT *, NULL, NULL, NULL, 'landing', landed, arr_delay, is_late
  FROM legs
  WHERE landed IS NOT NULL
),

history AS (
  SELECT
    *,
    AVG(known_delay) OVER (
      PARTITION BY dest ORDER BY moment RANGE BETWEEN 360 PRECEDING AND 1 PRECEDING
    ) AS dest_delay_6h,
    AVG(known_delay) OVER four_weeks AS flight_delay_4w,
    AVG(known_late) OVER four_weeks AS flight_late_share_4w
  FROM events
  WINDOW
    four_weeks AS (
      PARTITION BY carrier, flight ORDER BY moment RANGE BETWEEN 40320 PRECEDING AND 1 PRECEDING
    )
),

-- The aircraft's leg before this one, once it has landed. Its way back to New York is not in the
-- data: the slack is what remains if that takes as long as the way out (a day is plenty).
departures AS (
  SELECT
    *,
    CASE WHEN leg_landed < departs AND tailnum IS NOT NULL THEN leg_delay END AS aircraft_delay,
    CASE WHEN leg_landed < departs AND tailnum IS NOT NULL
      THEN LEAST(departs - leg_landed - leg_minutes, 1440) END AS aircraft_slack
  FROM history
  WHERE event = 'departure'
)

SELECT
  CONCAT_WS(
    '-', d.carrier, d.flight, d.origin, d.dest, DATE_FORMAT(d.time_hour, 'yyyyMMddHH')
  ) AS flight_id,
  TIMESTAMP_SECONDS(d.departs * 60) AS scheduled_departure,
  d.is_late,
  d.carrier, d.origin, d.dest, d.distance,
  d.minute_of_day,
  WEEKDAY(d.local_date) AS weekday,
  d.arrives - d.departs AS scheduled_minutes,
  -- The weather of the last full hour: an hour's precipitation is its total, known at its end.
  w.temp, w.dewp, w.humid, w.wind_dir, w.precip, w.pressure, w.visib,
  IF(w.wind_speed < 150, w.wind_speed, NULL) AS wind_speed,
  YEAR(d.local_date) - p.year AS plane_age,
  p.seats,
  o.minutes_late AS origin_minutes_late,
  TRY_ELEMENT_AT(o.minutes_late_by_carrier, d.carrier) AS carrier_minutes_late,
  d.dest_delay_6h,
  d.flight_delay_4w,
  d.flight_late_share_4w,
  d.aircraft_delay,
  d.aircraft_slack
FROM departures AS d
LEFT JOIN weather AS w
  ON w.origin = d.origin AND w.time_hour = d.time_hour - INTERVAL '1' HOUR
LEFT JOIN planes AS p ON p.tailnum = d.tailnum
LEFT JOIN origin_now AS o ON o.origin = d.origin AND o.quarter = d.departs DIV 15 * 15
