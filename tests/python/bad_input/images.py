"""Wrong calls: functions of images and rows."""

from __future__ import annotations

import numpy as np
from numpy.exceptions import AxisError
from numpy.linalg import LinAlgError

from ebmlib import functional as F
from ebmlib.errors import ShapeError
from tests.python.bad_input.case import cases

X = np.linspace(-1.0, 1.0, 12).reshape(3, 4)

C = np.ones(4)

IMAGES = np.linspace(0, 1, 2 * 6 * 6 * 4).reshape(2, 6, 6, 4)

KERNEL = np.ones((3, 3, 4, 2))

CASES = [
    *cases(
        "functional.linear",
        lambda: F.linear(X, X.T, np.zeros(3)),
        (
            lambda: F.linear(X, X),
            ShapeError,
            r"linear: matmul: inner sizes differ: \(3, 4\) @ \(3, 4\)",
        ),
        (
            lambda: F.linear(X, X.T, np.zeros(4)),
            ShapeError,
            r"linear: add: shapes do not broadcast: \(3, 3\) and \(4,\)",
        ),
        (
            lambda: F.linear(X, C),
            ShapeError,
            r"linear: matmul: ranks below 2: \(3, 4\) @ \(4,\)",
        ),
        (lambda: F.linear(X, None), TypeError, "linear: weight: got None, expected an array"),
    ),
    *cases(
        "functional.conv",
        lambda: F.conv(IMAGES, KERNEL),
        (
            lambda: F.conv(X, KERNEL),
            ShapeError,
            (
                r"conv: got x \(3, 4\) and weight \(3, 3, 4, 2\), expected \(N, "
                r"H, W, C\) and \(kh, kw, in, out\)"
            ),
        ),
        (
            lambda: F.conv(IMAGES, KERNEL[0]),
            ShapeError,
            (
                r"conv: got x \(2, 6, 6, 4\) and weight \(3, 4, 2\), expected "
                r"\(N, H, W, C\) and \(kh, kw, in, out\)"
            ),
        ),
        (
            lambda: F.conv(IMAGES, KERNEL[:, :, :3]),
            ShapeError,
            r"conv: channels do not fit: \(2, 6, 6, 4\) and \(3, 3, 3, 2\)",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, stride=0),
            ValueError,
            "conv: stride: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, stride=(1, 2, 3)),
            ValueError,
            r"conv: stride: got \(1, 2, 3\), expected an int or a pair",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, stride="wide"),
            TypeError,
            ("conv: stride: got 'wide', expected a whole number of at least 1"),
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, padding=-1),
            ValueError,
            "conv: padding: got -1, expected a whole number of at least 0",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, padding="full"),
            ValueError,
            "conv: padding: got 'full', expected 'valid', 'same' or numbers",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, dilation=0),
            ValueError,
            "conv: dilation: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, dilation=4),
            ShapeError,
            (
                r"conv: the kernel is larger than the padded image: \(2, 6, 6, "
                r"4\) and \(3, 3, 4, 2\)"
            ),
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, groups=3),
            ShapeError,
            r"conv: channels do not fit: \(2, 6, 6, 4\) and \(3, 3, 4, 2\)",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, groups=0),
            ValueError,
            "conv: groups: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, stride=2**40),
            ValueError,
            (
                r"conv: got stride \(1099511627776, 1099511627776\), padding "
                r"\(0, 0, 0, 0\), dilation \(1, 1\), groups 1, expected padding "
                ">= 0, the others > 0, all at most 1048576"
            ),
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, padding=2**62),
            ValueError,
            (
                "conv: padding: got 4611686018427387904, expected less than "
                r"2\^62"
            ),
        ),
        (
            lambda: F.conv(IMAGES, np.ones((7, 7, 4, 2))),
            ShapeError,
            (
                r"conv: the kernel is larger than the padded image: \(2, 6, 6, "
                r"4\) and \(7, 7, 4, 2\)"
            ),
        ),
        (
            lambda: F.conv(IMAGES, KERNEL, stride=1.5),
            ValueError,
            r"conv: stride: got 1\.5, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "functional.conv_transpose",
        lambda: F.conv_transpose(IMAGES, np.ones((3, 3, 5, 4))),
        (
            lambda: F.conv_transpose(X, KERNEL),
            ShapeError,
            (
                r"conv_transpose: got x \(3, 4\) and weight \(3, 3, 4, 2\), "
                r"expected \(N, H, W, C\) and \(kh, kw, in, out\)"
            ),
        ),
        (
            lambda: F.conv_transpose(IMAGES, KERNEL),
            ShapeError,
            (
                r"conv_transpose: conv_data: sizes do not fit: \(2, 6, 6, 4\) "
                r"and \(3, 3, 4, 2\)"
            ),
        ),
        (
            lambda: F.conv_transpose(IMAGES, np.ones((3, 3, 5, 4)), output_padding=5),
            ShapeError,
            (
                r"conv_transpose: conv_data: sizes do not fit: \(2, 6, 6, 4\) "
                r"and \(3, 3, 5, 4\)"
            ),
        ),
        (
            lambda: F.conv_transpose(IMAGES, np.ones((3, 3, 5, 4)), output_padding=(1, 1, 1)),
            ValueError,
            (
                r"conv_transpose: output_padding: got \(1, 1, 1\), expected an "
                "int or a pair"
            ),
        ),
        (
            lambda: F.conv_transpose(IMAGES, np.ones((3, 3, 5, 4)), padding=9),
            ShapeError,
            (
                r"conv_transpose: size of the result: got \(-10, -10\), "
                r"expected at least \(1, 1\)"
            ),
        ),
        (
            lambda: F.conv_transpose(IMAGES, np.ones(3)),
            ShapeError,
            (
                r"conv_transpose: got x \(2, 6, 6, 4\) and weight \(3,\), "
                r"expected \(N, H, W, C\) and \(kh, kw, in, out\)"
            ),
        ),
    ),
    *cases(
        "functional.max_pool",
        lambda: F.max_pool(IMAGES),
        (
            lambda: F.max_pool(X),
            ShapeError,
            (
                r"max_pool: window_argmax: got f64 \(3, 4\), expected a float "
                r"\(N, H, W, C\)"
            ),
        ),
        (
            lambda: F.max_pool(IMAGES, 7),
            ShapeError,
            "max_pool: window: of size 7 does not fit into 6",
        ),
        (
            lambda: F.max_pool(IMAGES, 0),
            ValueError,
            "max_pool: stride: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.max_pool(IMAGES, 2, 0),
            ValueError,
            "max_pool: stride: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.max_pool(IMAGES, 2, padding=2),
            ValueError,
            (
                "max_pool: window: size 2, stride 2, padding 2: expected 0 <= "
                "padding < size and stride >= 1"
            ),
        ),
        (
            lambda: F.max_pool(IMAGES, "big"),
            TypeError,
            ("max_pool: stride: got 'big', expected a whole number of at least 1"),
        ),
        (
            lambda: F.max_pool(IMAGES, 2.5),
            ValueError,
            (
                r"max_pool: stride: got 2\.5, expected a whole number of at "
                "least 1"
            ),
        ),
    ),
    *cases(
        "functional.avg_pool",
        lambda: F.avg_pool(IMAGES),
        (
            lambda: F.avg_pool(IMAGES, 0),
            ValueError,
            "avg_pool: stride: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.avg_pool(X),
            ShapeError,
            r"avg_pool: x: got \(3, 4\), expected images \(N, H, W, C\)",
        ),
    ),
    *cases(
        "functional.upsample",
        lambda: F.upsample(IMAGES),
        (
            lambda: F.upsample(IMAGES, 0),
            ValueError,
            "upsample: factor: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.upsample(IMAGES, 10**400),
            ValueError,
            (
                "upsample: factor: got "
                r"10+, expected less than 2\^62"
            ),
        ),
        (
            lambda: F.upsample(IMAGES, 1.5),
            ValueError,
            (
                r"upsample: factor: got 1\.5, expected a whole number of at "
                "least 1"
            ),
        ),
        (
            lambda: F.upsample(X),
            ShapeError,
            (
                r"upsample: \(3, 4\) is no \(N, H, W, C\) with sides divisible "
                "by 1"
            ),
        ),
        (
            lambda: F.upsample(IMAGES, 2**30),
            ShapeError,
            (
                r"upsample: broadcast: impossible shape \(2, 6, 1073741824, 6, "
                r"1073741824, 4\)"
            ),
        ),
    ),
    *cases(
        "functional.attention",
        lambda: F.attention(X, X, X),
        (
            lambda: F.attention(X, X[:, :3], X),
            ShapeError,
            r"attention: matmul: inner sizes differ: \(3, 4\) @ \(3, 3\)'",
        ),
        (
            lambda: F.attention(X, X, X[:2]),
            ShapeError,
            r"attention: matmul: inner sizes differ: \(3, 3\) @ \(2, 4\)",
        ),
        (
            lambda: F.attention(C, C, C),
            ShapeError,
            "attention: rank: got 1, expected at least 2",
        ),
        (lambda: F.attention(X, X), TypeError, "attention: missing a required argument: 'v'"),
    ),
    *cases(
        "functional.solve_triangular",
        lambda: F.solve_triangular(np.eye(3), X),
        (
            lambda: F.solve_triangular(X, X),
            LinAlgError,
            (
                r"solve_triangular: got shape \(3, 4\), expected \(\.\.\., n, "
                r"n\)"
            ),
        ),
        (
            lambda: F.solve_triangular(np.eye(4), X),
            ValueError,
            (
                r"solve_triangular: got shapes \(4, 4\) and \(3, 4\), expected "
                r"\(\.\.\., n, n\) and \(\.\.\., n, m\) or \(n,\)"
            ),
        ),
        (
            lambda: F.solve_triangular(np.eye(3), np.float64(1)),
            ValueError,
            (
                r"solve_triangular: got shapes \(3, 3\) and \(\), expected "
                r"\(\.\.\., n, n\) and \(\.\.\., n, m\) or \(n,\)"
            ),
        ),
        (
            lambda: F.solve_triangular(np.eye(3), X, lower="yes"),
            TypeError,
            "solve_triangular: lower: got 'yes', expected True or False",
        ),
        (
            lambda: F.solve_triangular(np.zeros((2, 3, 3)), np.zeros((4, 3, 1))),
            ShapeError,
            r"solve_triangular: shapes do not broadcast: \(2,\) and \(4,\)",
        ),
    ),
    *cases(
        "functional.put",
        lambda: F.put(X, np.array([0]), X[:1]),
        (
            lambda: F.put(X, np.array([3]), X[:1]),
            IndexError,
            r"put: index out of range: got 3, expected 0 \.\. 2",
        ),
        (
            lambda: F.put(X, np.array([-1]), X[:1]),
            IndexError,
            r"put: index out of range: got -1, expected 0 \.\. 2",
        ),
        (
            lambda: F.put(X, np.array([0, 1]), X[:1]),
            ShapeError,
            r"put: shapes do not fit: \(3, 4\) and \(1, 4\)",
        ),
        (
            lambda: F.put(X, np.array([0.0]), X[:1]),
            TypeError,
            "put: index: got float64, expected integers",
        ),
        (
            lambda: F.put(X, np.array([[0]]), X[:1]),
            ShapeError,
            r"put: shapes do not fit: \(3, 4\) and \(1, 4\)",
        ),
        (
            lambda: F.put(np.float64(1), np.array([0]), X[:1]),
            ShapeError,
            r"put: shapes do not fit: \(\) and \(1, 4\)",
        ),
    ),
    *cases(
        "functional.scatter_add",
        lambda: F.scatter_add(X, np.array([0, 1, 1]), 2),
        (
            lambda: F.scatter_add(X, np.array([0, 1, 2]), 2),
            IndexError,
            r"scatter_add: index out of range: got 2, expected 0 \.\. 1",
        ),
        (
            lambda: F.scatter_add(X, np.array([0, 1]), 2),
            ShapeError,
            r"scatter_add: shapes do not fit: \(3, 4\) and \(2,\)",
        ),
        (
            lambda: F.scatter_add(X, np.array([0, 1, 1]), -1),
            ValueError,
            ("scatter_add: size: got -1, expected a whole number of at least 0"),
        ),
        (
            lambda: F.scatter_add(X, np.array([0, 1, 1]), 2, axis=2),
            AxisError,
            "scatter_add: axis 2 is out of bounds for array of dimension 2",
        ),
        (
            lambda: F.scatter_add(X, np.array([0, 1, 1]), 2**40),
            ValueError,
            "scatter_add: 1099511627776 does not fit into int32",
        ),
        (
            lambda: F.scatter_add(X, np.array([0, 1, 1]), 2**30),
            MemoryError,
            (
                r"scatter_add: Unable to allocate 32\.0 GiB for an array with "
                r"shape \(1073741824, 4\) and data type float64"
            ),
        ),
    ),
    *cases(
        "functional.global_avg_pool",
        lambda: F.global_avg_pool(IMAGES),
        (
            lambda: F.global_avg_pool(X[0]),
            ShapeError,
            (
                r"global_avg_pool: x: got shape \(4,\), expected \(N, \.\.\., "
                r"C\)"
            ),
        ),
    ),
    *cases(
        "functional.global_max_pool",
        lambda: F.global_max_pool(IMAGES),
        (
            lambda: F.global_max_pool(X[0]),
            ShapeError,
            (
                r"global_max_pool: x: got shape \(4,\), expected \(N, \.\.\., "
                r"C\)"
            ),
        ),
        (
            lambda: F.global_max_pool(IMAGES[:, :0]),
            ShapeError,
            (
                r"global_max_pool: max: an empty axis has no maximum: \(2, 0, "
                r"6, 4\), axis 1"
            ),
        ),
    ),
    *cases(
        "functional.resize",
        lambda: F.resize(IMAGES, 3),
        (
            lambda: F.resize(IMAGES, 0),
            ValueError,
            "resize: size: got 0, expected a whole number of at least 1",
        ),
        (
            lambda: F.resize(IMAGES, (1, 2, 3)),
            ValueError,
            r"resize: size: got \(1, 2, 3\), expected an int or a pair",
        ),
        (
            lambda: F.resize(IMAGES, 3, "cubic"),
            ValueError,
            "resize: method: got 'cubic', expected nearest or bilinear",
        ),
        (
            lambda: F.resize(X, 3),
            ShapeError,
            r"resize: x: got \(3, 4\), expected images \(N, H, W, C\)",
        ),
        (
            lambda: F.resize(IMAGES, 2.5),
            ValueError,
            r"resize: size: got 2\.5, expected a whole number of at least 1",
        ),
    ),
    *cases(
        "functional.blur",
        lambda: F.blur(IMAGES),
        (
            lambda: F.blur(IMAGES, 4),
            ValueError,
            "blur: size: got 4, expected an odd number to 31",
        ),
        (
            lambda: F.blur(IMAGES, 3, "wrap"),
            ValueError,
            "blur: padding: got 'wrap', expected reflect or zero",
        ),
        (
            lambda: F.blur(X),
            ShapeError,
            r"blur: x: got \(3, 4\), expected images \(N, H, W, C\)",
        ),
        (
            lambda: F.blur(IMAGES, 99),
            ValueError,
            "blur: size: got 99, expected an odd number to 31",
        ),
    ),
    *cases(
        "functional.depth_to_space",
        lambda: F.depth_to_space(IMAGES),
        (
            lambda: F.depth_to_space(IMAGES, 3),
            ShapeError,
            r"depth_to_space: got 4 channels, expected a multiple of 3\^2",
        ),
        (
            lambda: F.depth_to_space(IMAGES, 0),
            ValueError,
            ("depth_to_space: block: got 0, expected a whole number of at least 1"),
        ),
        (
            lambda: F.depth_to_space(X),
            ShapeError,
            (
                r"depth_to_space: x: got \(3, 4\), expected images \(N, H, W, "
                r"C\)"
            ),
        ),
    ),
    *cases(
        "functional.space_to_depth",
        lambda: F.space_to_depth(IMAGES),
        (
            lambda: F.space_to_depth(IMAGES, 4),
            ShapeError,
            (
                r"space_to_depth: \(2, 6, 6, 4\) is no \(N, H, W, C\) with "
                "sides divisible by 4"
            ),
        ),
        (
            lambda: F.space_to_depth(IMAGES, 1.5),
            ValueError,
            (
                r"space_to_depth: block: got 1\.5, expected a whole number of "
                "at least 1"
            ),
        ),
    ),
]
