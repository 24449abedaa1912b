"""Arguments and results as trees: dicts, lists, tuples, named tuples and None, with leaves
between.

``flatten`` takes one apart into its leaves and a structure; structures are hashable tuples, so
they are keys of caches as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .errors import ShapeError

Tree = Any
Structure = Any  # LEAF, None, or a tuple: the type, for a dict its keys, and the parts

LEAF = "*"


def flatten(tree: Tree) -> tuple[list[Any], Structure]:
    """(leaves, structure) of a tree; the keys of a dict in sorted order."""
    leaves: list[Any] = []
    return leaves, _flatten(tree, leaves)


def _flatten(tree: Tree, leaves: list[Any]) -> Structure:
    kind = type(tree)
    if tree is None:
        return None
    if kind is tuple or kind is list:
        return (kind, *[_flatten(item, leaves) for item in tree])
    if isinstance(tree, dict):
        keys = sorted_keys(tree)
        return (dict, tuple(keys), *[_flatten(tree[key], leaves) for key in keys])
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return (kind, *[_flatten(item, leaves) for item in tree])
    if isinstance(tree, tuple | list):
        return (
            tuple if isinstance(tree, tuple) else list,
            *[_flatten(x, leaves) for x in tree],
        )
    leaves.append(tree)
    return LEAF


def sorted_keys(tree: dict[Any, Any]) -> list[Any]:
    try:
        return sorted(tree)
    except TypeError:
        return list(tree)


def unflatten(structure: Structure, leaves: Sequence[Any]) -> Tree:
    """The tree of a structure and its leaves."""
    return _unflatten(structure, iter(leaves))


def _unflatten(structure: Structure, leaves: Iterator[Any]) -> Tree:
    if structure is LEAF or structure == LEAF:
        return next(leaves)
    if structure is None:
        return None
    kind, *parts = structure
    if kind is dict:
        return {
            key: _unflatten(part, leaves) for key, part in zip(parts[0], parts[1:], strict=True)
        }
    items = [_unflatten(part, leaves) for part in parts]
    return items if kind is list else tuple(items) if kind is tuple else kind(*items)


def paths(structure: Structure, prefix: str = "") -> list[str]:
    """A readable path of every leaf: ``['w'][0]``."""
    if structure is None:
        return []
    if structure == LEAF:
        return [prefix]
    kind, *parts = structure
    if kind is dict:
        names, parts = [f"[{key!r}]" for key in parts[0]], parts[1:]
    elif hasattr(kind, "_fields"):
        names = [f".{field}" for field in kind._fields]
    else:
        names = [f"[{k}]" for k in range(len(parts))]
    return [
        path
        for name, part in zip(names, parts, strict=True)
        for path in paths(part, prefix + name)
    ]


def describe(structure: Structure) -> str:
    """The structure as a person would write it."""
    if structure is None or structure == LEAF:
        return str(structure)
    kind, *parts = structure
    if kind is dict:
        items = (
            f"{key!r}: {describe(part)}" for key, part in zip(parts[0], parts[1:], strict=True)
        )
        return "{" + ", ".join(items) + "}"
    inner = ", ".join(describe(part) for part in parts)
    if kind is list:
        return f"[{inner}]"
    if kind is tuple:
        return f"({inner},)" if len(parts) == 1 else f"({inner})"
    return f"{kind.__name__}({inner})"


def flatten_like(structure: Structure, tree: Tree, what: str) -> list[Any]:
    """The leaves of a tree that must have this structure; ShapeError naming ``what`` if not."""
    leaves, own = flatten(tree)
    if own != structure:
        raise ShapeError(f"{what}: structure {describe(own)}, expected {describe(structure)}")
    return leaves


def map_leaves(function: Callable[[Any], Any], tree: Tree) -> Tree:
    """The tree with ``function`` applied to every leaf."""
    leaves, structure = flatten(tree)
    return unflatten(structure, [function(leaf) for leaf in leaves])
