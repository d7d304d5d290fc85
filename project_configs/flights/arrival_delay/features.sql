-- One row for each scheduled flight, with what is known at its scheduled departure.
--
-- No leak: a past flight counts from the minute in which its event was over: its departure delay once
-- it has left, its arrival delay once it has landed. Anything later than `departs` is not looked at.
-- Times: `time_hour` is UTC; hour, minute and sched_arr_time are local. Minutes since 1970 (UTC).
WITH scheduled AS (
  SELECT
    CONCAT_WS('-', f.carrier, f.flight, f.origin, f.dest, DATE_FORMAT(f.time_hour, 'yyyyMMddHH')) AS flight_id,
    f.carrier, f.flight, f.tailnum, f.origin, f.dest, f.distance, f.dep_delay, f.arr_delay,
    CAST(f.time_hour AS TIMESTAMP) AS hour_starts,
    f.hour * 60 + f.minute AS minute_of_day,
    MAKE_DATE(f.year, f.month, f.day) AS local_date,
    UNIX_SECONDS(CAST(f.time_hour AS TIMESTAMP)) DIV 60 + f.minute AS departs,
    UNIX_SECONDS(TO_UTC_TIMESTAMP(
      CAST(DATE_ADD(MAKE_DATE(f.year, f.month, f.day), IF(f.sched_arr_time < f.sched_dep_time, 1, 0)) AS TIMESTAMP)
        + MAKE_DT_INTERVAL(0, f.sched_arr_time DIV 100, f.sched_arr_time % 100),
      COALESCE(a.tzone, 'America/Puerto_Rico'))) DIV 60 AS arrives
  FROM flights f
  LEFT JOIN airports a ON a.faa = f.dest
),
legs AS (
  SELECT
    *,
    departs + dep_delay AS departed,
    arrives + arr_delay AS landed,
    CAST(arr_delay > 15 AS INT) AS is_late            -- null: cancelled or diverted
  FROM scheduled
),
-- How the last three hours of departures at the same airport go: who still waits, how late.
airport_now AS (
  SELECT
    m.origin, m.departs,
    COUNT(*) AS due,
    AVG(IF(o.departed < m.departs, 0, 1)) AS waiting,
    AVG(IF(o.departed < m.departs, o.departed, m.departs) - o.departs) AS minutes_late
  FROM (
    SELECT origin, departs, EXPLODE(SEQUENCE(departs DIV 60 - 3, departs DIV 60)) AS hour
    FROM (SELECT DISTINCT origin, departs FROM legs)
  ) m
  JOIN legs o
    ON o.origin = m.origin AND o.departs DIV 60 = m.hour
    AND o.departs < m.departs AND o.departs >= m.departs - 180
  GROUP BY m.origin, m.departs
),
-- Flights that landed at the destination in the last hours.
dest_now AS (
  SELECT m.dest, m.departs, COUNT(*) AS landed, AVG(o.arr_delay) AS arr_delay
  FROM (
    SELECT dest, departs, EXPLODE(SEQUENCE(departs DIV 60 - 6, departs DIV 60)) AS hour
    FROM (SELECT DISTINCT dest, departs FROM legs)
  ) m
  JOIN legs o ON o.dest = m.dest AND o.landed DIV 60 = m.hour AND o.landed < m.departs
  GROUP BY m.dest, m.departs
),
-- Share of late arrivals on the days before, by carrier, destination and flight number.
daily AS (
  SELECT key, day, SUM(landed) AS landed, SUM(late) AS late
  FROM (
    SELECT
      EXPLODE(ARRAY(carrier, dest, CONCAT(carrier, flight))) AS key,
      landed DIV 1440 AS day, 1 AS landed, is_late AS late
    FROM legs WHERE landed IS NOT NULL
    UNION ALL
    SELECT EXPLODE(ARRAY(carrier, dest, CONCAT(carrier, flight))), departs DIV 1440, 0, 0 FROM legs
  )
  GROUP BY key, day
),
rolling AS (
  SELECT
    key, day,
    TRY_DIVIDE(SUM(late) OVER week, SUM(landed) OVER week) AS late_7d,
    TRY_DIVIDE(SUM(late) OVER month, SUM(landed) OVER month) AS late_28d
  FROM daily
  WINDOW
    week AS (PARTITION BY key ORDER BY day RANGE BETWEEN 7 PRECEDING AND 1 PRECEDING),
    month AS (PARTITION BY key ORDER BY day RANGE BETWEEN 28 PRECEDING AND 1 PRECEDING)
),
-- The same aircraft's leg before, as far as it is over.
aircraft AS (
  SELECT
    flight_id,
    IF(previous_landed < departs, previous_arr_delay, NULL) AS previous_arr_delay,
    IF(previous_departed < departs, previous_dep_delay, NULL) AS previous_dep_delay,
    departs - previous_arrives AS turnaround
  FROM (
    SELECT
      flight_id, departs,
      LAG(arr_delay) OVER leg AS previous_arr_delay, LAG(landed) OVER leg AS previous_landed,
      LAG(dep_delay) OVER leg AS previous_dep_delay, LAG(departed) OVER leg AS previous_departed,
      LAG(arrives) OVER leg AS previous_arrives
    FROM legs WHERE tailnum IS NOT NULL
    WINDOW leg AS (PARTITION BY tailnum ORDER BY departs, flight_id)
  )
)
SELECT
  l.flight_id,
  TIMESTAMP_SECONDS(l.departs * 60) AS scheduled_departure,
  l.is_late,
  l.carrier, l.origin, l.dest,
  l.distance, l.minute_of_day, WEEKDAY(l.local_date) AS weekday, l.arrives - l.departs AS scheduled_minutes,
  w.temp, w.dewp, w.humid, w.wind_dir, IF(w.wind_speed < 150, w.wind_speed, NULL) AS wind_speed,
  w.precip, w.pressure, w.visib,
  YEAR(l.local_date) - p.year AS plane_age, p.seats,
  n.due AS airport_due, n.waiting AS airport_waiting, n.minutes_late AS airport_minutes_late,
  d.landed AS dest_landed, d.arr_delay AS dest_arr_delay,
  rc.late_7d AS carrier_late_7d, rd.late_7d AS dest_late_7d, rf.late_28d AS flight_late_28d,
  x.previous_arr_delay, x.previous_dep_delay, x.turnaround
FROM legs l
LEFT JOIN weather w ON w.origin = l.origin AND w.time_hour = l.hour_starts - INTERVAL 1 HOUR
LEFT JOIN planes p ON p.tailnum = l.tailnum
LEFT JOIN airport_now n ON n.origin = l.origin AND n.departs = l.departs
LEFT JOIN dest_now d ON d.dest = l.dest AND d.departs = l.departs
LEFT JOIN rolling rc ON rc.key = l.carrier AND rc.day = l.departs DIV 1440
LEFT JOIN rolling rd ON rd.key = l.dest AND rd.day = l.departs DIV 1440
LEFT JOIN rolling rf ON rf.key = CONCAT(l.carrier, l.flight) AND rf.day = l.departs DIV 1440
LEFT JOIN aircraft x ON x.flight_id = l.flight_id
