"""Wrong calls: transforms of data."""

from __future__ import annotations

import numpy as np

from ebmlib import preprocessing
from ebmlib.errors import NotFittedError, ShapeError
from tests.python.bad_input.case import cases

X = np.random.default_rng(0).normal(size=(40, 2))

UNIT = np.linspace(0.1, 0.9, 12).reshape(6, 2)

LEVELS = np.arange(12, dtype=np.uint8).reshape(6, 2)

IMAGES = np.zeros((6, 8, 8, 1))

CASES = [
    *cases(
        "preprocessing.Transform",
        lambda: preprocessing.Flatten().fit(X).transform(X),
        (
            lambda: preprocessing.Transform().fit(X).transform(X),
            NotImplementedError,
            "Transform: _forward: got none, expected a method",
        ),
        (
            lambda: preprocessing.Transform().fit(X).inverse_transform(X),
            NotImplementedError,
            "Transform: _backward: got none, expected a method",
        ),
        (
            lambda: preprocessing.Transform().fit(X).log_det(X),
            NotImplementedError,
            "Transform: _log_slope: got none, expected a method",
        ),
    ),
    *cases(
        "Transform.fit",
        lambda: preprocessing.Standardize().fit(X).transform(X),
        (
            lambda: preprocessing.Standardize().fit(X[:, 0]),
            ValueError,
            (
                "Expected 2D array, got 1D array instead: Standardize takes "
                r"rows \(n_samples, \.\.\.\)\. Reshape your data: "
                r"x\.reshape\(-1, 1\) for one feature, x\.reshape\(1, -1\) for "
                r"one sample\."
            ),
        ),
        (
            lambda: preprocessing.Standardize().fit(X * np.nan),
            ValueError,
            (
                r"Input X contains NaN \(first in row 0\); Standardize needs "
                r"finite numbers\."
            ),
        ),
        (
            lambda: preprocessing.Standardize().fit(None),
            ValueError,
            r"Expected 2D array, got scalar array instead: array\(nan\)",
        ),
        (
            lambda: preprocessing.Standardize().fit([["a", "b"]]),
            ValueError,
            "X: got dtype <U1, expected numbers",
        ),
        (
            lambda: preprocessing.Standardize().fit(X[:0]),
            ValueError,
            (
                r"Found array with 0 sample\(s\) \(shape=\(0, 2\)\) while a "
                r"minimum of 1 is required by Standardize\."
            ),
        ),
    ),
    *cases(
        "Transform.transform",
        lambda: preprocessing.Standardize().fit(X).transform(X),
        (
            lambda: preprocessing.Standardize().transform(X),
            NotFittedError,
            (
                r"This Standardize instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this transform\."
            ),
        ),
        (
            lambda: preprocessing.Standardize().fit(X).transform(X[:, :1]),
            ValueError,
            (
                "X has 1 features, but Standardize is expecting 2 features as "
                r"input\."
            ),
        ),
        (
            lambda: preprocessing.Standardize().fit(X).transform(X * np.inf),
            ValueError,
            (
                "Input X contains infinity or a value too large for float64 "
                r"\(first in row 0\); Standardize needs finite numbers\."
            ),
        ),
    ),
    *cases(
        "Transform.fit_transform",
        lambda: preprocessing.Standardize().fit_transform(X),
        (
            lambda: preprocessing.Standardize().fit_transform(X.astype(complex)),
            ValueError,
            "Complex data not supported: complex128",
        ),
    ),
    *cases(
        "Transform.inverse_transform",
        lambda: preprocessing.Standardize().fit(X).inverse_transform(X),
        (
            lambda: preprocessing.Standardize().inverse_transform(X),
            NotFittedError,
            (
                r"This Standardize instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this transform\."
            ),
        ),
        (
            lambda: preprocessing.Flatten().fit(IMAGES).inverse_transform(IMAGES),
            ValueError,
            r"Flatten: got rows of shape \(8, 8, 1\), expected \(64,\)",
        ),
    ),
    *cases(
        "Transform.log_det",
        lambda: preprocessing.Standardize().fit(X).log_det(X),
        (
            lambda: preprocessing.Standardize().log_det(X),
            NotFittedError,
            (
                r"This Standardize instance is not fitted yet\. Call 'fit' with "
                r"appropriate arguments before using this transform\."
            ),
        ),
        (
            lambda: preprocessing.Standardize().fit(X).log_det("rows"),
            TypeError,
            "X: got str, expected numbers",
        ),
    ),
    *cases(
        "preprocessing.Dequantize",
        lambda: preprocessing.Dequantize(16, random_state=0).fit_transform(LEVELS),
        (
            lambda: preprocessing.Dequantize(1).fit(LEVELS),
            ValueError,
            "Dequantize: levels: got 1, expected 2 to 65536",
        ),
        (
            lambda: preprocessing.Dequantize(2.5).fit(LEVELS),
            ValueError,
            r"Dequantize: levels: got 2\.5, expected a whole number",
        ),
        (
            lambda: preprocessing.Dequantize("many").fit(LEVELS),
            TypeError,
            "Dequantize: levels: got 'many', expected a whole number",
        ),
        (
            lambda: preprocessing.Dequantize(None).fit(LEVELS),
            TypeError,
            "Dequantize: levels: got None, expected a whole number",
        ),
        (
            lambda: preprocessing.Dequantize(4).fit(LEVELS),
            ValueError,
            "Dequantize: X: got 4, expected whole numbers 0 to 3",
        ),
        (
            lambda: preprocessing.Dequantize(16).fit(LEVELS + 0.5),
            ValueError,
            r"Dequantize: X: got 0\.5, expected whole numbers 0 to 15",
        ),
        (
            lambda: preprocessing.Dequantize(16).fit(-LEVELS.astype(float)),
            ValueError,
            r"Dequantize: X: got -1\.0, expected whole numbers 0 to 15",
        ),
        (
            lambda: preprocessing.Dequantize(16, random_state="seed").fit(LEVELS),
            TypeError,
            "key: seed: got str, expected an int, a numpy Generator or None",
        ),
    ),
    *cases(
        "preprocessing.Logit",
        lambda: preprocessing.Logit(0.05).fit_transform(UNIT),
        (
            lambda: preprocessing.Logit(0.5).fit(UNIT),
            ValueError,
            r"Logit: alpha: got 0\.5, expected at least 0, below 0\.5",
        ),
        (
            lambda: preprocessing.Logit(-0.1).fit(UNIT),
            ValueError,
            r"Logit: alpha: got -0\.1, expected at least 0, below 0\.5",
        ),
        (
            lambda: preprocessing.Logit(np.nan).fit(UNIT),
            ValueError,
            "Logit: alpha: got nan, expected a finite number",
        ),
        (
            lambda: preprocessing.Logit("small").fit(UNIT),
            TypeError,
            "Logit: alpha: got 'small', expected a number",
        ),
        (
            lambda: preprocessing.Logit(None).fit(UNIT),
            TypeError,
            "Logit: alpha: got None, expected a number",
        ),
        (
            lambda: preprocessing.Logit(clip=0.5).fit(UNIT),
            ValueError,
            r"Logit: clip: got 0\.5, expected at least 0, below 0\.5",
        ),
        (
            lambda: preprocessing.Logit(0.0).fit(np.array([[0.0, 1.0]])),
            ValueError,
            r"Logit: X: got 0\.0, expected numbers in \(0, 1\)",
        ),
        (
            lambda: preprocessing.Logit().fit(UNIT + 1),
            ValueError,
            r"Logit: X: got 1\.1, expected numbers in \[0, 1\]",
        ),
    ),
    *cases(
        "preprocessing.Scale",
        lambda: preprocessing.Scale().fit_transform(UNIT),
        (
            lambda: preprocessing.Scale(1, -1).fit(UNIT),
            ValueError,
            "Scale: low, high: got 1, -1, expected low < high",
        ),
        (
            lambda: preprocessing.Scale("a", "b").fit(UNIT),
            TypeError,
            "Scale: low, high: got 'a', expected a number",
        ),
        (
            lambda: preprocessing.Scale(-np.inf, 1).fit(UNIT),
            ValueError,
            "Scale: low, high: got -inf, expected a finite number",
        ),
        (
            lambda: preprocessing.Scale(source=3).fit(UNIT),
            ValueError,
            r"Scale: source: got 3, expected \(a, b\) or None",
        ),
        (
            lambda: preprocessing.Scale(source=(1, 0)).fit(UNIT),
            ValueError,
            "Scale: source: got 1, 0, expected low < high",
        ),
        (
            lambda: preprocessing.Scale(source="ab").fit(UNIT),
            ValueError,
            r"Scale: source: got 'ab', expected \(a, b\) or None",
        ),
        (
            lambda: preprocessing.Scale().fit(np.ones((3, 2))),
            ValueError,
            "Scale: least and greatest of X: got 1, 1, expected low < high",
        ),
        (
            lambda: preprocessing.Scale(None).fit(UNIT),
            TypeError,
            "Scale: low, high: got None, expected a number",
        ),
    ),
    *cases(
        "preprocessing.Standardize",
        lambda: preprocessing.Standardize().fit_transform(X),
        (
            lambda: preprocessing.Standardize(2),
            TypeError,
            (
                r"Transform\.__init__\(\) takes 1 positional argument but 2 "
                "were given"
            ),
        ),
    ),
    *cases(
        "preprocessing.Whiten",
        lambda: preprocessing.Whiten().fit_transform(X),
        (
            lambda: preprocessing.Whiten("svd").fit(X),
            ValueError,
            "Whiten: kind: got 'svd', expected 'zca' or 'pca'",
        ),
        (
            lambda: preprocessing.Whiten(epsilon=-1).fit(X),
            ValueError,
            "Whiten: epsilon: got -1, expected at least 0",
        ),
        (
            lambda: preprocessing.Whiten(epsilon="some").fit(X),
            TypeError,
            "Whiten: epsilon: got 'some', expected a number",
        ),
        (
            lambda: preprocessing.Whiten(None).fit(X),
            ValueError,
            "Whiten: kind: got None, expected 'zca' or 'pca'",
        ),
        (
            lambda: preprocessing.Whiten(["zca"]).fit(X),
            ValueError,
            r"Whiten: kind: got \['zca'\], expected 'zca' or 'pca'",
        ),
        (
            lambda: preprocessing.Whiten().fit(np.ones((3, 2))),
            ValueError,
            ("Whiten: 3 samples: rank of the covariance: got 0, expected 2; epsilon > 0 helps"),
        ),
        (
            lambda: preprocessing.Whiten().fit(X[:1]),
            ValueError,
            ("Whiten: 1 sample: rank of the covariance: got 0, expected 2; epsilon > 0 helps"),
        ),
    ),
    *cases(
        "preprocessing.Flatten",
        lambda: preprocessing.Flatten().fit_transform(IMAGES),
        (
            lambda: preprocessing.Flatten(1),
            TypeError,
            (
                r"Transform\.__init__\(\) takes 1 positional argument but 2 "
                "were given"
            ),
        ),
    ),
    *cases(
        "preprocessing.Chain",
        lambda: preprocessing.Chain([preprocessing.Scale()]).fit_transform(X),
        (
            lambda: preprocessing.Chain([3]).fit(X),
            TypeError,
            r"Chain: steps\[0\]: got int, expected a transform",
        ),
        (
            lambda: preprocessing.Chain(3).fit(X),
            TypeError,
            "Chain: steps: got int, expected a list of transforms",
        ),
        (
            lambda: preprocessing.Chain([preprocessing.Scale]).fit(X),
            TypeError,
            r"Chain: steps\[0\]: got type, expected a transform",
        ),
        (
            lambda: preprocessing.Chain([preprocessing.Logit()]).fit(X),
            ValueError,
            (
                r"Logit: X: got -0\.1321048632913019, expected numbers in \[0, "
                r"1\]"
            ),
        ),
        (
            lambda: preprocessing.Chain(preprocessing.Scale()).fit(X),
            TypeError,
            "Chain: steps: got Scale, expected a list of transforms",
        ),
    ),
    *cases(
        "preprocessing.bits_per_dim",
        lambda: preprocessing.bits_per_dim(0.0, 3),
        (
            lambda: preprocessing.bits_per_dim(0.0, 0),
            ValueError,
            ("bits_per_dim: n_dims: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: preprocessing.bits_per_dim(0.0, 2.5),
            ValueError,
            (
                r"bits_per_dim: n_dims: got 2\.5, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: preprocessing.bits_per_dim(0.0, "many"),
            TypeError,
            ("bits_per_dim: n_dims: got 'many', expected a whole number of at least 1"),
        ),
        (
            lambda: preprocessing.bits_per_dim(0.0, None),
            TypeError,
            ("bits_per_dim: n_dims: got None, expected a whole number of at least 1"),
        ),
        (
            lambda: preprocessing.bits_per_dim("zero", 3),
            TypeError,
            "bits_per_dim: log_prob: got str, expected numbers",
        ),
        (
            lambda: preprocessing.bits_per_dim(np.zeros(3), 3, np.zeros(4)),
            ShapeError,
            (
                r"bits_per_dim: log_det: got shape \(4,\), expected that of "
                r"log_prob, \(3,\)"
            ),
        ),
        (
            lambda: preprocessing.bits_per_dim(0.0, True),
            TypeError,
            ("bits_per_dim: n_dims: got True, expected a whole number of at least 1"),
        ),
    ),
]
