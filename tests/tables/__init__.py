"""Tests of tables, and tables that tests share."""

import numpy as np
import pandas as pd

ALL = {
    "float64": [0.5, 2.0, -1.0, 3.25],
    "float32": [0.5, 2.0, -1.0, 3.25],
    "int64": [3, 1, 2, 1],
    "uint8": [0, 255, 2, 1],
    "bool": [True, False, False, True],
    "Float64": [0.5, 2.0, -1.0, 3.25],
    "Int16": [-3, 1, 2, 1],
    "boolean": [True, False, False, True],
    "string": ["u", "v", "u", "w"],
    "category": ["u", "v", "u", "w"],
}
OBJECTS = {
    "text": ["u", "v", "u", "w"],
    "truths": [True, False, False, True],
    "whole": [3, 1, 2, 1],
    "numbers": [0.5, 2, -1, 3.25],
}
CATEGORIES = {
    "sizes": pd.Categorical(["m", "s", "m", "l"], ["s", "m", "l", "xl"], ordered=True),
    "codes": pd.Categorical([3, 1, 3, 2]),
    "bins": pd.cut([1.0, 2.0, 3.0, 9.0], [0, 2, 5, 10]),
    "truths": pd.Categorical([True, False, True, False]),
}

KINDS = (
    {dtype: pd.Series(values, dtype=dtype) for dtype, values in ALL.items()}
    | {"inferred": pd.Series(["u", "v", "u", "w"])}
    | {f"object-{name}": pd.Series(values, dtype=object) for name, values in OBJECTS.items()}
    | {f"category-{name}": pd.Series(values) for name, values in CATEGORIES.items()}
)


def curve(rng, n=400, d=6, noise=0.02):
    """Rows near a curved sheet of two dimensions, which no plane of two fits."""
    t = rng.uniform(-1, 1, size=(n, 2))
    lifted = np.column_stack([t, t**2, t[:, :1] * t[:, 1:], np.sin(2 * t)])[:, :d]
    return lifted + noise * rng.normal(size=lifted.shape)


def mixed(n=400, seed=0):
    """Two columns are free; the others depend on them."""
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, n))
    quarter = np.where(a > 0, np.where(b > 0, "NE", "SE"), np.where(b > 0, "NW", "SW"))
    return pd.DataFrame(
        {
            "a": a,
            "b": b.astype(np.float32),
            "count": pd.array(np.rint(3 + a), dtype="Int64"),
            "quarter": pd.Categorical(quarter),
            "size": pd.cut(b, [-9, -1, 0, 1, 9], labels=["xs", "s", "m", "l"]),
            "sign": np.where(a > 0, "plus", "minus"),
            "up": pd.array(b > 0, dtype="boolean"),
            "fair": pd.Series(rng.random(n) < 0.5, dtype=object),
        },
        index=pd.RangeIndex(7, 7 + n, name="row"),
    )
