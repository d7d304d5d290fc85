"""Tables of a real PostgreSQL, whole and in slices: no row lost, none doubled, no secret shown."""

from __future__ import annotations

import itertools
import json
import os
import resource
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from mlops_assets.config.sql import SqlIncremental, SqlSource
from mlops_assets.errors import (
    EnvironmentProblemError,
    MlopsError,
    SchemaError,
    SourceError,
    StoreError,
)
from mlops_assets.keys import ProjectId
from mlops_assets.sources import SourceContext, source_for
from mlops_assets.sources.incremental import Slice, Written
from mlops_assets.sources.registry import incremental_source_for
from tests.ports import spare_port
from tests.postgres_server import PostgresServer, has_postgres, postgres_server

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.skipif(
        not has_postgres("adbc_driver_postgresql"),
        reason="needs the extras servers, production (psycopg2) and sql",
    ),
]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with postgres_server() as running:
        yield running


@pytest.fixture
def shop(server: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> PostgresServer:
    """The server with an empty table ``public.orders``."""
    server.execute(
        "DROP SCHEMA public CASCADE",
        "CREATE SCHEMA public",
        "CREATE TABLE orders (id bigserial, at timestamptz NOT NULL DEFAULT now(), x int)",
    )
    monkeypatch.setenv("SHOP_DB", server.uri())
    return server


@pytest.fixture
def context(tmp_path: Path) -> SourceContext:
    folder = tmp_path / "project"
    folder.mkdir()
    return SourceContext(ProjectId("team", "mine"), folder, tmp_path / "workspace", "shop")


def source(**fields: Any) -> SqlSource:
    table = {} if "query" in fields else {"table": "public.orders"}
    return SqlSource(type="sql", uri_env="SHOP_DB", **{**table, **fields})


def by(column: str, **fields: Any) -> SqlSource:
    """A source in slices, which waits for nobody unless it is told to."""
    quick = {"settle": "0s", "wait_for_writers": "0s", **fields}
    return source(incremental=SqlIncremental(column=column, **quick))


class Taker:
    """What the engine does with a source in slices: plan, write, remember the newest."""

    def __init__(self, spec: SqlSource, context: SourceContext, folder: Path) -> None:
        self.spec, self.context, self.folder = spec, context, folder
        found = incremental_source_for(spec)
        assert found is not None
        self.source = found
        self.taken: dict[str, Slice] = {}
        self.rows: list[tuple[Any, ...]] = []
        self.sizes: list[int] = []

    def take(self, column: str = "id") -> int:
        """Take all slices that there are now; the number of rows."""
        before = len(self.rows)
        for part in self.source.plan(self.spec, self.taken, self.context).slices:
            self.write(part, column)
        return len(self.rows) - before

    def write(self, part: Slice, column: str = "id") -> None:
        folder = self.folder / part.name
        folder.mkdir(parents=True, exist_ok=True)
        written = self.source.write(self.spec, part, folder, self.context)
        assert len(list(folder.iterdir())) == (1 if written.rows else 0)
        rows = pq.read_table(folder).column(column).to_pylist() if written.rows else []
        assert len(rows) == written.rows
        self.rows += rows
        self.sizes.append(written.rows)
        self.taken[part.series] = part


@pytest.fixture
def taker(context: SourceContext, tmp_path: Path) -> Any:
    return lambda spec: Taker(spec, context, tmp_path / "slices")


def read_whole(spec: SqlSource, context: SourceContext, tmp_path: Path) -> Any:
    """All rows of a source as a table of Arrow, as they lie in Parquet."""
    from mlops_assets.sources.sql_parquet import write_rows
    from mlops_assets.sources.sql_relation import open_relation

    folder = tmp_path / "whole"
    folder.mkdir()
    with open_relation(spec, context, reads=True) as relation:
        write_rows(relation, spec, folder=folder, where=context.where, keep_empty=True)
    return pq.read_table(folder)


TYPES = """
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE DOMAIN positive AS int CHECK (value > 0);
CREATE TABLE orders (
  b bool, i2 int2, i4 int4, i8 int8, f4 float4, f8 float8, n numeric, n12 numeric(12,2),
  n38 numeric(38,10), n50 numeric(50,3), tx text, vc varchar(9), by_ bytea, d date, ts timestamp,
  tz timestamptz, u uuid, j json, jb jsonb, m mood, p positive);
INSERT INTO orders VALUES (
  true, -32768, 2147483647, 9223372036854775807, 1.5, 0.1, 0.1, 1234567890.12,
  1234567890123456789012345678.0123456789, 1.125, 'naïve ✓', 'a''b', '\\x00ff', '2024-02-29',
  '2024-01-01 00:00:00.123456', '2024-07-01 12:00:00.123456+02',
  '6f2c1de2-1c1f-4a9e-9a27-0d5a3a1f7c01', '{"a": 1}', '{"a": [1]}', 'bad', 7);
INSERT INTO orders DEFAULT VALUES;
INSERT INTO orders (n, f8, tx) VALUES ('NaN', '-Infinity', '');
"""


def test_rows_of_many_types_are_exact(
    shop: PostgresServer, context: SourceContext, tmp_path: Path
) -> None:
    shop.execute("DROP TABLE orders", TYPES)
    table = read_whole(source(), context, tmp_path)
    first, empty, special = table.to_pylist()
    assert first == {
        "b": True,
        "i2": -32768,
        "i4": 2147483647,
        "i8": 9223372036854775807,
        "f4": 1.5,
        "f8": 0.1,
        "n": 0.1,
        "n12": Decimal("1234567890.12"),
        "n38": Decimal("1234567890123456789012345678.0123456789"),
        "n50": 1.125,
        "tx": "naïve ✓",
        "vc": "a'b",
        "by_": b"\x00\xff",
        "d": date(2024, 2, 29),
        "ts": datetime(2024, 1, 1, 0, 0, 0, 123456),
        "tz": datetime(2024, 7, 1, 10, 0, 0, 123456, UTC),
        "u": "6f2c1de2-1c1f-4a9e-9a27-0d5a3a1f7c01",
        "j": '{"a": 1}',
        "jb": '{"a": [1]}',
        "m": "bad",
        "p": 7,
    }
    assert set(empty.values()) == {None}
    assert (str(special["n"]), special["f8"], special["tx"]) == ("nan", float("-inf"), "")
    kinds = {field.name: str(field.type) for field in table.schema}
    assert kinds["tz"] == "timestamp[us, tz=UTC]"
    assert kinds["ts"] == "timestamp[us]"
    assert (kinds["n12"], kinds["n"], kinds["n50"]) == ("decimal128(12, 2)", "double", "double")


def test_types_that_cannot_be_stored_are_all_named(
    shop: PostgresServer, context: SourceContext
) -> None:
    shop.execute(
        "ALTER TABLE orders ADD tags text[], ADD price money, ADD box int4range, ADD took interval"
    )
    with pytest.raises(SchemaError) as raised:
        source_for(source()).inspect(source(), context)
    for name in ("tags _text", "price money", "box", "took interval"):
        assert name in str(raised.value)
    assert "cast them in a query" in str(raised.value)


@pytest.mark.parametrize("value", ["infinity", "-infinity", "0044-03-15 BC"])
def test_times_beyond_spark_are_refused(
    shop: PostgresServer, context: SourceContext, tmp_path: Path, value: str
) -> None:
    shop.execute("ALTER TABLE orders ADD born date", f"INSERT INTO orders(born) VALUES ('{value}')")
    with pytest.raises(SchemaError, match="born with infinity"):
        read_whole(source(), context, tmp_path)
    assert list((tmp_path / "whole").iterdir()) == []


def test_declared_columns_are_cast_or_refused(
    shop: PostgresServer, context: SourceContext, tmp_path: Path
) -> None:
    shop.execute("ALTER TABLE orders ADD n numeric", "INSERT INTO orders(x, n) VALUES (5, 1.25)")
    spec = source(columns={"x": "bigint", "n": "decimal(10,3)"})
    table = read_whole(spec, context, tmp_path)
    assert [str(table.schema.field(name).type) for name in "xn"] == ["int64", "decimal128(10, 3)"]
    assert table.column("n").to_pylist() == [Decimal("1.250")]
    shop.execute("UPDATE orders SET x = 70000, n = 1.23456")
    for column, kind in (("x", "smallint"), ("n", "decimal(10,3)"), ("at", "bigint")):
        (tmp_path / column).mkdir()
        with pytest.raises(SchemaError, match=rf"{column}: ") as raised:
            read_whole(source(columns={column: kind}), context, tmp_path / column)
        assert "70000" not in str(raised.value)
    with pytest.raises(SchemaError, match="did you mean x"):
        source_for(spec).inspect(source(columns={"xx": "int"}), context)


def test_an_empty_table_has_columns(
    shop: PostgresServer, context: SourceContext, tmp_path: Path, taker: Any
) -> None:
    table = read_whole(source(), context, tmp_path)
    assert (table.num_rows, table.column_names) == (0, ["id", "at", "x"])
    assert taker(by("id")).take() == 0


def test_the_digest_is_of_the_rows(shop: PostgresServer, context: SourceContext) -> None:
    spec = source()

    def digest() -> str:
        return source_for(spec).digest(spec, context)

    empty = digest()
    assert empty.startswith("sha256:")
    shop.execute("INSERT INTO orders(id, at, x) VALUES (1, '2024-01-01', 1), (2, '2024-01-02', 2)")
    both = digest()
    # Rewritten in another order: other pages, same rows.
    shop.execute("CREATE TABLE copied AS SELECT * FROM orders", "TRUNCATE orders")
    shop.execute("INSERT INTO orders SELECT * FROM copied ORDER BY id DESC")
    assert digest() == both
    seen = {empty, both}
    for change in (
        "UPDATE orders SET x = 3 WHERE id = 2",
        "INSERT INTO orders(id, at, x) VALUES (1, '2024-01-01', 1)",
        "INSERT INTO orders(id, at, x) VALUES (1, '2024-01-01', 1)",
        "DELETE FROM orders WHERE id = 2",
        "UPDATE orders SET x = NULL",
        "ALTER TABLE orders RENAME x TO y",
    ):
        shop.execute(change)
        assert digest() not in seen, change
        seen.add(digest())
    shop.execute(
        "TRUNCATE orders", "INSERT INTO orders VALUES (1, '2024-01-01'), (1, '2024-01-01')"
    )
    pair = digest()
    shop.execute("UPDATE orders SET id = 2")
    assert digest() != pair, "equal rows hide each other"


def test_a_query_is_a_source_too(
    shop: PostgresServer, context: SourceContext, tmp_path: Path, taker: Any
) -> None:
    shop.execute("INSERT INTO orders(x) SELECT g FROM generate_series(1, 10) g")
    file = context.project_directory / "orders.sql"
    file.write_text("SELECT id, x * 2 AS \"twice\", '%s' AS t FROM orders -- all\n;\n")
    spec = source(query="orders.sql", incremental=SqlIncremental(column="id", max_rows_per_slice=4))
    taking = taker(spec)
    assert taking.take("twice") == 10
    assert (taking.rows, taking.sizes) == ([2 * n for n in range(1, 11)], [4, 4, 2])
    file.write_text("DELETE FROM orders RETURNING id")
    with pytest.raises(SourceError):
        taking.take()
    file.write_text("SELECT 1) AS source; DROP TABLE orders; SELECT * FROM (SELECT 1 AS id")
    with pytest.raises(SourceError):
        taking.take()
    assert shop.execute("SELECT count(*) FROM orders") == [(10,)]


def test_every_row_is_taken_exactly_once(shop: PostgresServer, taker: Any) -> None:
    by_time, by_id = taker(by("at", max_rows_per_slice=5)), taker(by("id", max_rows_per_slice=5))
    for turn in range(6):
        # Seven rows of one statement have one timestamp: more than a slice, and never split.
        shop.execute("INSERT INTO orders(x) SELECT g FROM generate_series(1, 7) g")
        if turn % 2:
            shop.execute("INSERT INTO orders(x) VALUES (0)")
        assert by_time.take() == (8 if turn % 2 else 7)
    by_id.take()
    expected = [row[0] for row in shop.execute("SELECT id FROM orders ORDER BY id")]
    assert len(expected) == 45
    assert sorted(by_time.rows) == by_id.rows == expected
    assert set(by_time.sizes) == {7, 1}
    assert set(by_id.sizes) == {5}


def test_a_plan_is_bounded_and_says_what_waits(
    shop: PostgresServer, context: SourceContext, taker: Any
) -> None:
    shop.execute("INSERT INTO orders(x) SELECT g FROM generate_series(1, 30) g")
    taking = taker(by("id", max_rows_per_slice=1))
    plan = taking.source.plan(taking.spec, {}, context)
    assert (len(plan.slices), plan.waiting, plan.gaps) == (20, 30, ())
    assert len({part.name for part in plan.slices}) == 20
    assert all(a.end == b.start for a, b in itertools.pairwise(plan.slices))
    assert [taking.take(), taking.take(), taking.take()] == [20, 10, 0]


def test_a_slice_says_its_newest_time(
    shop: PostgresServer, context: SourceContext, tmp_path: Path
) -> None:
    shop.execute("INSERT INTO orders(at) VALUES ('2024-01-02T03:04:05+01'), ('2024-01-01')")
    spec = by("id").model_copy(update={"time_column": "at"})
    found = incremental_source_for(spec)
    assert found is not None
    (part,) = found.plan(spec, {}, context).slices
    # A plan is JSON in the store before it is read.
    part = Slice(part.series, part.start, part.end, json.loads(json.dumps(dict(part.detail))))
    assert found.write(spec, part, tmp_path, context) == Written(2, latest="2024-01-02T02:04:05Z")


def test_negative_numbers_and_start(shop: PostgresServer, taker: Any) -> None:
    shop.execute("INSERT INTO orders(id) SELECT g FROM generate_series(-12, 12) g")
    taking = taker(by("id", max_rows_per_slice=4))
    taking.take()
    assert taking.rows == list(range(-12, 13))
    late = taker(by("id", start=3))
    late.take()
    assert late.rows == list(range(4, 13))
    shop.execute("UPDATE orders SET at = '2024-01-01T00:00:00Z'::timestamptz + id * interval '1 h'")
    since = taker(by("at", start="2024-01-01T12:00:00+01:00"))
    since.take()
    assert since.rows == [12]
    with pytest.raises(SchemaError, match="`start` does not fit"):
        taker(by("at", start=3)).take()


def test_an_updated_row_comes_again(shop: PostgresServer, taker: Any) -> None:
    taking = taker(by("at"))
    shop.execute("INSERT INTO orders(x) VALUES (1), (2)")
    assert taking.take("x") == 2
    shop.execute("UPDATE orders SET x = 20, at = clock_timestamp() WHERE x = 2")
    assert taking.take("x") == 1
    assert taking.rows == [1, 2, 20]


def test_young_rows_wait_until_they_have_settled(
    shop: PostgresServer, context: SourceContext, taker: Any
) -> None:
    spec = by("at", settle="1h")
    shop.execute("INSERT INTO orders(at) VALUES (now() - interval '2h'), (now())")
    taking = taker(spec)
    plan = taking.source.plan(spec, {}, context)
    assert (len(plan.slices), plan.waiting) == (1, 2)
    taking.take()
    assert taking.rows == [1]
    assert taking.source.plan(spec, taking.taken, context).waiting == 1
    # A transaction that had begun before the row above commits a row with an older time.
    shop.execute("INSERT INTO orders(at) VALUES (now() - interval '1 min')")
    later = Taker(by("at"), context, taking.folder)
    later.taken = taking.taken
    later.take()
    assert sorted(later.rows) == [2, 3]


@pytest.mark.parametrize("column", ["id", "at"])
def test_a_transaction_that_commits_late_loses_no_row(
    shop: PostgresServer, taker: Any, column: str
) -> None:
    late = shop.connect()
    late.cursor().execute("INSERT INTO orders(x) VALUES (1)")
    shop.execute("INSERT INTO orders(x) VALUES (2)")
    impatient = taker(by(column))
    with pytest.raises(SourceError, match=r"transaction .* is open"):
        impatient.take()
    assert [path for path in impatient.folder.rglob("*") if path.is_file()] == []
    patient = taker(by(column, wait_for_writers="60s"))
    commit = threading.Timer(1.5, late.commit)
    commit.start()
    patient.take()
    commit.join()
    late.close()
    assert sorted(patient.rows) == [1, 2]


def test_writers_at_work_lose_no_row(shop: PostgresServer, taker: Any) -> None:
    """Numbers are drawn in one order and committed in another."""
    stop = threading.Event()

    def write(seed: int) -> None:
        connection = shop.connect()
        turn = 0
        while not stop.is_set():
            turn += 1
            with connection.cursor() as cursor:
                cursor.execute("INSERT INTO orders(x) VALUES (1)")
                time.sleep(0.01 * ((seed * turn) % 7))
                cursor.execute("INSERT INTO orders(x) VALUES (2), (3)")
            connection.rollback() if turn % 5 == 0 else connection.commit()
        connection.close()

    threads = [threading.Thread(target=write, args=(seed,)) for seed in (1, 3, 5)]
    taking = taker(by("id", wait_for_writers="60s", max_rows_per_slice=50))
    for thread in threads:
        thread.start()
    try:
        for wanted in (20, 60, 100):
            while shop.execute("SELECT count(*) FROM orders")[0][0] < wanted:
                time.sleep(0.02)
            taking.take()
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    taking.take()
    expected = [row[0] for row in shop.execute("SELECT id FROM orders")]
    assert len(expected) > 50
    assert len(taking.sizes) > 2
    assert Counter(taking.rows) == Counter(expected)


def test_rows_without_a_position_are_reported(shop: PostgresServer, taker: Any) -> None:
    shop.execute("ALTER TABLE orders ALTER at DROP NOT NULL")
    shop.execute("INSERT INTO orders(at) VALUES (now()), (NULL), ('infinity'), ('-infinity')")
    with pytest.raises(SchemaError, match="3 rows in which at is null or infinite"):
        taker(by("at")).take()
    skipping = taker(by("at", nulls="skip"))
    skipping.take()
    assert skipping.rows == [1]


def test_another_column_is_another_count(shop: PostgresServer, taker: Any) -> None:
    shop.execute("INSERT INTO orders(x) VALUES (1)")
    taking = taker(by("id"))
    taking.take()
    taking.spec = by("at")
    with pytest.raises(SourceError, match="counted by another column"):
        taking.take()
    taking.spec = by("x")
    taking.taken["rows"] = Slice("rows", "20240101T000000.000000", "20240102T000000.000000")
    with pytest.raises(SourceError, match="a column of another type"):
        taking.take()


@pytest.mark.parametrize(("column", "problem"), [("idd", "did you mean id"), ("t", "by this col")])
def test_a_column_that_cannot_be_counted_by(
    shop: PostgresServer, taker: Any, column: str, problem: str
) -> None:
    shop.execute("ALTER TABLE orders ADD t text")
    with pytest.raises(SchemaError, match=problem):
        taker(by(column)).take()


STALLS = """
SELECT g AS id, CASE WHEN g = 200000 THEN pg_sleep(300)::text ELSE repeat('x', 100) END AS t
FROM generate_series(1, 250000) g
"""


def test_a_connection_lost_in_the_middle_leaves_nothing(
    shop: PostgresServer, context: SourceContext, tmp_path: Path
) -> None:
    (context.project_directory / "stalls.sql").write_text(STALLS)
    spec = source(query="stalls.sql", fetch_rows=1000)
    part = tmp_path / "whole" / "part-00000.parquet"
    was_written = []

    def kill() -> None:
        asleep = "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
        while not (found := shop.execute(asleep)) or not part.exists():
            time.sleep(0.05)
        was_written.append(part.stat().st_size)
        shop.execute(f"SELECT pg_terminate_backend({found[0][0]})")

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    with pytest.raises(SourceError, match="the server ended the connection") as raised:
        read_whole(spec, context, tmp_path)
    killer.join(10)
    assert was_written[0] > 1000
    assert list((tmp_path / "whole").iterdir()) == []
    assert "run again" in str(raised.value)


def test_a_full_disk_leaves_nothing(
    shop: PostgresServer, context: SourceContext, tmp_path: Path
) -> None:
    shop.execute("INSERT INTO orders(x) SELECT g FROM generate_series(1, 200000) g")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, limits[1]))
    try:
        with pytest.raises(StoreError, match="the rows cannot be written"):
            read_whole(source(fetch_rows=1000), context, tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert list((tmp_path / "whole").iterdir()) == []


def test_names_are_quoted(
    shop: PostgresServer, context: SourceContext, tmp_path: Path, taker: Any
) -> None:
    shop.execute(
        'ALTER TABLE orders RENAME x TO "x"", (SELECT 1); --"',
        'ALTER TABLE orders RENAME id TO "Order"',
        'ALTER TABLE orders RENAME TO "Select$"',
        'INSERT INTO "Select$" DEFAULT VALUES',
    )
    spec = source(table="public.Select$", incremental=SqlIncremental(column="Order"))
    taking = taker(spec)
    taking.take("Order")
    assert taking.rows == [1]
    assert read_whole(spec, context, tmp_path).column_names[2] == 'x", (SELECT 1); --'


def test_a_statement_has_a_time_limit(
    shop: PostgresServer, context: SourceContext, tmp_path: Path
) -> None:
    (context.project_directory / "slow.sql").write_text("SELECT pg_sleep(300)::text AS t")
    spec = source(query="slow.sql", statement_timeout="1s", check_timeout="1s")
    with pytest.raises(SourceError, match="longer than it may"):
        source_for(spec).digest(spec, context)
    with pytest.raises(SourceError, match="longer than it may"):
        read_whole(spec, context, tmp_path)


def shown(error: BaseException) -> str:
    """Everything that a log would show of an error."""
    return "".join(traceback.format_exception(error)) + repr(error)


def test_no_error_shows_the_password(
    shop: PostgresServer, context: SourceContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "hunter2%20s3cret"
    port, away = shop.port, spare_port()
    cases = {
        f"postgresql://owner:{secret}@127.0.0.1:{port}/shop": (SourceError, "refuses the login"),
        f"postgresql://owner:{secret}@127.0.0.1:{away}/shop": (SourceError, "does not answer"),
        f"postgresql://owner:{secret}@nowhere.invalid/shop": (SourceError, "name is unknown"),
        f"postgresql://owner:hunter2 s3cret@127.0.0.1:{port}/x": (MlopsError, "cannot be read"),
        f"postgresql://owner:hunter2%s3cret@127.0.0.1:{port}/x": (MlopsError, "cannot be read"),
        f"postgresql://owner@127.0.0.1:hunter2/s3cret?password={secret}": (SourceError, "shop"),
        f"hunter2 s3cret {secret}": (EnvironmentProblemError, "has no connection URI"),
    }
    for uri, (kind, text) in cases.items():
        monkeypatch.setenv("SHOP_DB", uri)
        with pytest.raises(kind, match=text) as raised:
            source_for(source()).digest(source(), context)
        assert "hunter2" not in shown(raised.value), uri
        assert "s3cret" not in shown(raised.value), uri
        assert "SHOP_DB" in str(raised.value)
    monkeypatch.delenv("SHOP_DB")
    with pytest.raises(EnvironmentProblemError, match="a variable that is not set"):
        source_for(source()).digest(source(), context)


def test_no_error_shows_a_value_of_a_row(
    shop: PostgresServer, context: SourceContext, tmp_path: Path
) -> None:
    shop.execute("ALTER TABLE orders ADD mail text")
    shop.execute("INSERT INTO orders(mail) VALUES ('\"bob\" \neve@x.org')")
    (context.project_directory / "cast.sql").write_text("SELECT mail::int AS x FROM orders")
    with pytest.raises(SourceError, match="invalid input syntax") as raised:
        read_whole(source(query="cast.sql"), context, tmp_path)
    assert "eve" not in shown(raised.value)
    assert "bob" not in shown(raised.value)


def test_a_missing_table_gets_the_nearest(shop: PostgresServer, context: SourceContext) -> None:
    for table in ("public.order", "public.Orders", "publik.orders"):
        spec = source(table=table)
        with pytest.raises(SourceError, match=r"did you mean public\.orders"):
            source_for(spec).digest(spec, context)


def test_grants_decide(
    shop: PostgresServer, context: SourceContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.execute(
        "DROP ROLE IF EXISTS reader",
        "CREATE ROLE reader LOGIN PASSWORD 'reader-pw'",
        "INSERT INTO orders(x) VALUES (1)",
    )
    monkeypatch.setenv("SHOP_DB", shop.uri("reader", "reader-pw"))
    with pytest.raises(SourceError, match="refuses access") as raised:
        source_for(source()).digest(source(), context)
    assert "SELECT on the table" in str(raised.value)
    # Exactly what docs/concepts/databases.md tells to grant.
    shop.execute("GRANT USAGE ON SCHEMA public TO reader", "GRANT SELECT ON orders TO reader")
    assert read_whole(source(), context, tmp_path).num_rows == 1
    source_for(source()).digest(source(), context)
    sliced = by("id")
    found = incremental_source_for(sliced)
    assert found is not None
    assert len(found.plan(sliced, {}, context).slices) == 1
    shop.execute("DROP OWNED BY reader", "DROP ROLE reader")


def test_a_session_cannot_write(shop: PostgresServer) -> None:
    from datetime import timedelta

    from resources.sql import open_session

    with open_session("SHOP_DB", where="here", statement_timeout=timedelta(seconds=9)) as session:
        name = session.row(
            "SELECT application_name FROM pg_stat_activity WHERE pid = pg_backend_pid()"
        )
        assert name == ("mlops",)
        with pytest.raises(SourceError, match="change the database"):
            session.rows("DELETE FROM orders")


RESIDENT = """
import json, os, sys
from pathlib import Path
from mlops_assets.config.sql import SqlSource
from mlops_assets.keys import ProjectId
from mlops_assets.sources import SourceContext
from mlops_assets.sources.sql_parquet import write_rows
from mlops_assets.sources.sql_relation import open_relation

def peak():
    text = Path("/proc/self/status").read_text()
    return int(text.partition("VmHWM:")[2].split()[0]) / 1024

def read(name):
    spec = SqlSource(type="sql", uri_env="SHOP_DB", table=f"public.{name}", fetch_rows=5000)
    folder = Path(sys.argv[1]) / name
    folder.mkdir()
    context = SourceContext(ProjectId("a", "b"), folder, folder, "shop")
    with open_relation(spec, context, reads=True) as relation:
        rows = write_rows(relation, spec, folder=folder, where="here").rows
    return [rows, peak()]

print(json.dumps([read("small"), read("large")]))
"""


def test_memory_does_not_grow_with_the_rows(shop: PostgresServer, tmp_path: Path) -> None:
    rows = "SELECT g AS id, repeat(md5(g::text), 8) AS t FROM generate_series(1, {}) g"
    shop.execute(
        f"CREATE TABLE small AS {rows.format(60_000)}",
        f"CREATE TABLE large AS {rows.format(600_000)}",
    )
    done = subprocess.run(
        [sys.executable, "-c", RESIDENT, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (small, before), (large, after) = json.loads(done.stdout)
    assert (small, large) == (60_000, 600_000)
    # The large table has 160 MB of text; held whole, it would add at least as much.
    assert after - before < 60, (before, after)
