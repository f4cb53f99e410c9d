"""Exports: the nuclei of a slide in the formats of other programs.

One module per format ends in ``EXPORT = Export(...)``; the module is the registry.
"""

from segpipe.exports._differing import differing
from segpipe.exports._export import Export
from segpipe.exports._features import writing_features
from segpipe.exports._finding import export_named, exports

__all__ = ["Export", "differing", "export_named", "exports", "writing_features"]
