"""The reference says everything that the spec knows, and is current."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from mlops_assets.config import schema
from mlops_assets.config.loader import load_text
from mlops_assets.config.project import ProjectSpec
from mlops_assets.config.reference import render_reference, render_schema
from mlops_assets.config.reference_example import EXAMPLE, example_of

REFERENCE = Path(__file__).parents[3] / "docs/reference"


@pytest.mark.parametrize(
    ("name", "render"),
    [("configuration.md", render_reference), ("schema.json", render_schema)],
)
def test_the_committed_file_is_current(name: str, render: Any) -> None:
    fix = "run: mlops schema > docs/reference/schema.json; mlops schema --format markdown > …"
    assert (REFERENCE / name).read_text("utf-8") == render(), fix


def _description(node: dict[str, Any], root: dict[str, Any]) -> str:
    """A field's description; pydantic leaves it out where its model has the very same one."""
    if "description" not in node and "$ref" in node:
        node = root["$defs"][node["$ref"].rsplit("/", 1)[1]]
    return str(node.get("description", "")).strip()


def _undocumented(root: dict[str, Any]) -> list[str]:
    models = {"attributes": root, **root.get("$defs", {})}
    return [
        f"{name}.{field}"
        for name, model in models.items()
        for field, node in {"": model, **model.get("properties", {})}.items()
        if not _description(node, root)
    ]


def test_every_field_and_every_model_is_documented() -> None:
    root = schema.project_schema()
    assert len(root["$defs"]) > 10
    assert _undocumented(root) == []


def test_an_undocumented_field_would_be_found() -> None:
    class Bare(BaseModel):
        """Documented."""

        model_config = ConfigDict(use_attribute_docstrings=True)
        good: int
        """Documented."""
        bad: int

    assert _undocumented(Bare.model_json_schema()) == ["attributes.bad"]


def _fields() -> Iterator[tuple[str, dict[str, Any], bool]]:
    root = schema.project_schema()
    for model in [root, *root["$defs"].values()]:
        for name, node in model.get("properties", {}).items():
            yield name, node, name in model.get("required", [])


def test_every_field_is_on_the_page_with_its_default() -> None:
    page = render_reference()
    fields = list(_fields())
    assert len(fields) > 50
    for name, node, required in fields:
        rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
        assert rows, f"{name} is not on the page"
        default = node.get("default")
        if required:
            assert any("**required**" in row for row in rows)
        elif not isinstance(default, dict):
            assert "default" in node
            shown = default if isinstance(default, str) and default else json.dumps(default)
            assert any(f"`{shown}`" in row for row in rows), f"{name}: {shown}"


def test_every_description_is_on_the_page() -> None:
    page = " ".join(render_reference().split())
    for name, node, _ in _fields():
        described = _description(node, schema.project_schema())
        text = " ".join(described.split()).replace("``", "`").replace("|", "\\|")
        assert text in page or text.replace("<", "&lt;") in page, name


def test_the_example_is_valid_and_shows_every_section() -> None:
    loaded = load_text(EXAMPLE.encode(), Path("defs.yaml"), {"DATA_URI": "/data"})
    assert loaded.problems == []
    assert loaded.spec is not None
    assert loaded.spec.model_fields_set == set(ProjectSpec.model_fields)
    assert "".join(f"{example_of(name)}\n" for name in loaded.written) == "".join(
        f"{line[2:]}\n" for line in EXAMPLE.splitlines()[2:]
    )


def test_the_minimal_project_of_the_page_is_minimal() -> None:
    required = schema.project_schema()["required"]
    assert sorted(required) == ["description", "features", "sources", "task"]


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, dict):
        yield node
        for inner in node.values():
            yield from _nodes(inner)
    elif isinstance(node, list):
        for inner in node:
            yield from _nodes(inner)


def test_every_pattern_has_words_and_every_word_a_pattern() -> None:
    nodes = [*_nodes(schema.project_schema()), *_nodes(schema.team_schema())]
    patterns = {node["pattern"] for node in nodes if isinstance(node.get("pattern"), str)}
    patterns |= {key for node in nodes for key in node.get("patternProperties", {})}
    assert patterns == set(schema.PATTERNS)


def test_the_schema_describes_the_whole_file() -> None:
    whole = schema.file_schema()
    assert whole["properties"]["type"]["const"] == "mlops_assets.MLProject"
    assert "$defs" in whole
    assert "$defs" not in whole["properties"]["attributes"]
    free = [node for node in _nodes(whole) if "patternProperties" in node]
    assert free
    assert all(node["additionalProperties"] is False for node in free)


def test_the_schema_accepts_the_example_and_refuses_a_mistake() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    document = load_text(EXAMPLE.encode(), Path("defs.yaml"), {"DATA_URI": "x"}).document.data
    jsonschema.validate(document, schema.file_schema())
    document["attributes"]["trainin"] = {}
    with pytest.raises(jsonschema.ValidationError, match="trainin"):
        jsonschema.validate(document, schema.file_schema())


@pytest.mark.parametrize(
    ("location", "words"),
    [
        (("training", "epochs"), "a whole number ≥ 1 and ≤ 10,000"),
        (("training", "batch_size"), "a whole number ≥ 1 or auto"),
        (("model",), "a mapping with type: one of custom, mlp"),
        (("model", "mlp", "hidden"), "a list with at least 1 entry, each a whole number"),
        (("sources", "x", "files", "delimiter"), "text of at most 1 character"),
        (("deployment", "dynamic_batching"), "a mapping or null"),
        (("automation", "enabled"), "true or false"),
        (("sources",), "a mapping with at least 1 entry"),
        (("model", "custom", "params", "x"), "any value"),
    ],
)
def test_types_in_words(location: tuple[str, ...], words: str) -> None:
    _, node, _ = schema.locate(location)
    assert schema.describe(node).startswith(words)
