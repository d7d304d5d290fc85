"""Where raw data come from. A new kind of source is one new file in this package.

The file has the name of the source's ``type:`` and defines ``SOURCE``, a
:class:`~mlops_assets.sources.base.Source`.
"""

from mlops_assets.sources.base import Source, SourceContext
from mlops_assets.sources.registry import source_for, source_types

__all__ = ["Source", "SourceContext", "source_for", "source_types"]
