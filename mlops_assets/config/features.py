"""``features:`` the query that turns raw data into one row per entity and time."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import StringConstraints

from mlops_assets.config.base import ColumnName, Duration, Spec

RelativeFile = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A file inside the project's folder; absolute paths, ``..`` and links out are refused."""


class LabelSpec(Spec):
    """What the model learns to predict."""

    column: ColumnName
    """Column of the query's output. Binary: 0/1 or boolean; multiclass: text or integer;
    regression: a number. Rows without a label are left out of training and counted."""
    matures_after: Duration | None = None
    """How long after ``time`` the label is final. Younger rows are left out."""


class InputsSpec(Spec):
    """What the model sees, as raw columns of the query's output."""

    numeric: tuple[ColumnName, ...] = ()
    """Numbers; missing values are allowed."""
    categorical: tuple[ColumnName, ...] = ()
    """Text, booleans or integer codes; missing and unseen values are allowed."""

    @property
    def names(self) -> tuple[str, ...]:
        """All inputs, numeric first."""
        return (*self.numeric, *self.categorical)


class SqlFeatures(Spec):
    """Spark SQL over the project's sources; each source is a view of its own name."""

    type: Literal["sql"] = "sql"
    """``sql``"""
    query: RelativeFile
    """File with one ``SELECT``, beside ``defs.yaml``."""
    entity: ColumnName
    """Column that identifies what a prediction is about."""
    time: ColumnName
    """Column with the moment at which the features are known (timestamp or date)."""
    label: LabelSpec
    """The label."""
    inputs: InputsSpec
    """The model's inputs."""
    pii: tuple[ColumnName, ...] = ()
    """Columns with personal data: their values never appear in metadata, checks or logs."""
    incremental: Literal["auto", "never"] = "auto"
    """``auto``: where a source grows by slices and the query looks at each of its rows alone, only
    new slices are computed; the result is the same. ``never``: everything each time."""


FeaturesSpec = SqlFeatures
"""A second engine makes this a union tagged by ``type``."""
