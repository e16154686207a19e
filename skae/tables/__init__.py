"""Tables as arrays of floats, and back: numeric arrays, and DataFrames of mixed columns."""

from skae.tables._column_groups import ColumnGroups, is_grouping
from skae.tables._column_scaler import ColumnScaler
from skae.tables._mixed_table import MixedTable, is_mixed, table_encoder
from skae.tables._numeric_table import EncodedTable, NumericTable

__all__ = [
    "ColumnGroups",
    "ColumnScaler",
    "EncodedTable",
    "MixedTable",
    "NumericTable",
    "is_grouping",
    "is_mixed",
    "table_encoder",
]
