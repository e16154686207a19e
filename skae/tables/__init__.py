"""Tables as arrays of floats, and back: numeric arrays, and DataFrames of mixed columns."""

from skae.tables._column_groups import ColumnGroups, is_grouping
from skae.tables._column_kinds import has_labels, is_mixed
from skae.tables._mixed_table import MixedTable, encoding_of
from skae.tables._numeric_table import EncodedTable, NumericTable
from skae.tables._statistics import mean_and_std
from skae.tables._table_encoder import TableEncoder

__all__ = [
    "ColumnGroups",
    "EncodedTable",
    "MixedTable",
    "NumericTable",
    "TableEncoder",
    "has_labels",
    "is_grouping",
    "is_mixed",
    "mean_and_std",
    "encoding_of",
]
