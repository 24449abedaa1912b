"""Transformations of functions written with NumPy: compile, differentiate, repeat.

They nest in any order, also around values closed over from an outer transformation.  Called
with concrete arrays they compile for these dtypes and shapes, once, and run in C; called inside
a function that is being traced they write into its graph.

A traced function is a function of its arguments only.  What it closes over is read when it is
traced and kept as a constant; to change a value later, make it an argument.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

from . import _tree
from ._checks import WRONG, function, placed, positions
from ._compile import cache_of, compile_function, name_of, signature, transformed
from ._core import Node, ops
from ._device import checked, place_of, scope
from ._trace import Trace, as_node, current, need
from .errors import ShapeError

if TYPE_CHECKING:
    from ._array import TracedArray
    from ._core import Graph

Function = Callable[..., Any]
Tree = Any  # of arrays: see _tree.py

__all__ = [
    "grad",
    "hvp",
    "jit",
    "jvp",
    "repeat",
    "stop_gradient",
    "value_and_grad",
    "vjp",
]


# ---- jit -------------------------------------------------------------------------------------


def jit(
    f: Function,
    *,
    static_argnums: int | Sequence[int] = (),
    donate_argnums: int | Sequence[int] = (),
    device: str | None = None,
) -> Function:
    """The function compiled: traced once for each structure, dtype and shape of its arguments,
    run in C.

    Parameters
    ----------
    f : callable
    static_argnums : int or sequence of int
        Positions of arguments that are not arrays (hashable); each value compiles anew.
    donate_argnums : int or sequence of int
        Positions of arguments that the caller gives away: a result takes over the memory of an
        array in them that has its dtype and shape, so that a large state is neither copied nor
        allocated anew.  Do not use them afterwards: their contents are undefined, also after an
        error.  Arrays that are read-only, or share memory with another argument, are copied.
        Such a call is not interrupted by Ctrl-C before its end.
    device : {"cpu", "cuda"} or None
        Where it runs, and where results stay; None: where its arguments lie, else as
        `ebmlib.device` says.

    Returns
    -------
    callable
        With the arguments of ``f``.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.jit(lambda x: np.sum(x**2))(np.arange(3.0))
    array(5.)
    >>> step = ebm.jit(lambda state, x: state + x, donate_argnums=0)
    >>> state = np.zeros(3)
    >>> step(state, np.arange(3.0)) is state
    True
    """
    function(f, "jit")
    static = positions(static_argnums, "jit: static_argnums")
    donate = positions(donate_argnums, "jit: donate_argnums")
    if device is not None:
        return _on_device(jit(f, static_argnums=static, donate_argnums=donate), device)
    if not static and not donate:
        return transformed(f, f, ("jit",), name_of(f))
    cache = cache_of(f, ("jit", static, donate))

    def call(*args: Any, **kwargs: Any) -> Any:
        if current() is not None:
            return f(*args, **kwargs)
        n = len(args)
        fixed = {_position(k, n, "jit: static_argnums"): args[k] for k in static}
        given = {_position(k, n, "jit: donate_argnums") for k in donate}
        if given & fixed.keys():
            raise ValueError(
                f"jit: donate_argnums: argument {min(given & fixed.keys())} is static"
            )
        moving = [k for k in range(n) if k not in fixed]

        def inline(*arrays: Any, **kwargs: Any) -> Any:
            merged = fixed | dict(zip(moving, arrays, strict=True))
            return f(*(merged[k] for k in range(n)), **kwargs)

        leaves, structure = _tree.flatten((tuple(args[k] for k in moving), kwargs))
        values, specs = signature(leaves, structure)
        place = place_of(values)
        key = (_static_key(fixed), structure, specs, place)
        if key not in cache:
            sizes = [len(_tree.flatten(args[k])[0]) for k in moving]
            cache[key] = compile_function(
                inline,
                name_of(f),
                structure,
                specs,
                pure=False,
                donated=_leaves_of([k in given for k in moving], sizes),
                place=place,
            )
        return cache[key](values)

    call.__name__ = name_of(f)
    call.__doc__ = f.__doc__
    return call


def _on_device(compiled: Function, name: str) -> Function:
    checked(name)

    @functools.wraps(compiled)
    def call(*args: Any, **kwargs: Any) -> Any:
        if current() is not None:
            return compiled(*args, **kwargs)
        with scope(name):
            return compiled(*args, **kwargs)

    return call


def _leaves_of(chosen: Sequence[bool], sizes: Sequence[int]) -> list[int]:
    """The numbers of the leaves of the chosen arguments, given how many each argument has."""
    owners = [pick for pick, size in zip(chosen, sizes, strict=True) for _ in range(size)]
    return [k for k, pick in enumerate(owners) if pick]


def _position(k: int, n: int, what: str) -> int:
    """Position k of n arguments, counted from the front."""
    if not -n <= k < n:
        raise ValueError(f"{what}: got {k}, expected the position of one of {n} arguments")
    return k % n


def _static_key(fixed: dict[int, Any]) -> tuple[Any, ...]:
    """What tells static arguments apart: 1, 1.0 and True are three."""
    key = tuple((k, type(value), value) for k, value in sorted(fixed.items()))
    for k, kind, value in key:
        try:
            hash(value)
        except TypeError:
            raise TypeError(
                f"jit: argument {k}: got {kind.__name__}, expected something hashable, since "
                "static_argnums names it"
            ) from None
    return key


# ---- variables of a derivative ---------------------------------------------------------------


def _marked(tree: Tree, what: str) -> tuple[Tree, list[TracedArray], Any]:
    """(tree of fresh variables, the variables, structure) with the values of ``tree``."""
    leaves, structure = _tree.flatten(tree)
    graph = need().graph
    marks = []
    for k, leaf in enumerate(leaves):
        node = _node(leaf, what)
        if node.dtype.kind != "f":
            path = _tree.paths(structure)[k]
            raise TypeError(
                f"{what}{path} is {node.dtype}: only floats can be differentiated; "
                "convert it with astype, or keep it out of the variables"
            )
        mark = ops.mark(graph, node)
        marks.append(mark.as_weak() if node.weak else mark)
    return _tree.unflatten(structure, marks), marks, structure


def _float_results(tree: Tree, what: str) -> tuple[list[TracedArray], Any]:
    """(nodes, structure) of results that are to be differentiated."""
    leaves, structure = _tree.flatten(tree)
    nodes = [_node(leaf, f"{what}: result") for leaf in leaves]
    for k, node in enumerate(nodes):
        if node.dtype.kind != "f":
            path = _tree.paths(structure)[k]
            raise TypeError(
                f"{what}: result{path} is {node.dtype}: only floats have a derivative; "
                "return other values as has_aux"
            )
    return nodes, structure


def _like(structure: Any, nodes: list[TracedArray], tree: Tree, what: str) -> list[TracedArray]:
    """The leaves of a tree as nodes with the shapes and dtypes of ``nodes``."""
    leaves = _tree.flatten_like(structure, tree, what)
    made = []
    for k, (leaf, like) in enumerate(zip(leaves, nodes, strict=True)):
        node = as_node(_node(leaf, what), like.dtype)
        if node.shape != like.shape:
            path = _tree.paths(structure)[k]
            raise ShapeError(f"{what}{path}: shape {node.shape}, expected {like.shape}")
        made.append(node)
    return made


def _split_aux(result: Any, has_aux: bool, what: str) -> tuple[Any, Any]:
    if not has_aux:
        return result, None
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError(f"{what}: with has_aux=True the function must return (result, aux)")
    return result


# ---- reverse mode ----------------------------------------------------------------------------


def grad(f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False) -> Function:
    """The gradient of a scalar function, in the structure of its argument.

    Parameters
    ----------
    f : callable
        Of arrays, or trees of them, to one number.
    argnums : int or sequence of int
        The position of the variable; or several, for a tuple of gradients.
    has_aux : bool
        ``f`` returns (value, aux), and the gradient function (gradient, aux).

    Returns
    -------
    callable
        With the arguments of ``f``.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    both = _value_and_grad(f, argnums, has_aux, "grad")

    def inline(*args: Any, **kwargs: Any) -> Any:
        value, gradient = both(*args, **kwargs)
        return (gradient, value[1]) if has_aux else gradient

    return transformed(inline, f, ("grad", _frozen(argnums), has_aux), f"grad({name_of(f)})")


def value_and_grad(
    f: Function, argnums: int | Sequence[int] = 0, has_aux: bool = False
) -> Function:
    """As `grad`, but for (value, gradient); with has_aux for ((value, aux), gradient).

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.value_and_grad(lambda x: np.sum(x**3))(np.array([1.0, 2.0]))
    (array(9.), array([ 3., 12.]))
    """
    inline = _value_and_grad(f, argnums, has_aux, "value_and_grad")
    name = f"value_and_grad({name_of(f)})"
    return transformed(inline, f, ("value_and_grad", _frozen(argnums), has_aux), name)


def _frozen(argnums: Any) -> Any:
    return tuple(argnums) if isinstance(argnums, list) else argnums


def _value_and_grad(
    f: Function, argnums: int | Sequence[int], has_aux: bool, what: str
) -> Function:
    function(f, what)
    chosen = positions(argnums, f"{what}: argnums")
    if not chosen:
        raise ValueError(f"{what}: argnums: got none, expected at least one")

    def inline(*args: Any, **kwargs: Any) -> Any:
        given, parts = list(args), []
        places = [_position(k, len(args), f"{what}: argnums") for k in chosen]
        if len(set(places)) < len(places):
            raise ValueError(f"{what}: argnums: got {argnums}, expected each argument once")
        for position in places:
            given[position], *part = _marked(given[position], f"{what}: argument {position}")
            parts.append(part)
        result = f(*given, **kwargs)
        value, aux = _split_aux(result, has_aux, what)
        if not _tree.flatten(value)[1] == _tree.LEAF:
            raise TypeError(
                f"{what}: the function must return one number, got {type(value).__name__}"
            )
        nodes, _ = _float_results(value, what)
        if nodes[0].shape != ():
            raise ShapeError(
                f"{what}: the function must return one number, got shape {nodes[0].shape}: "
                "sum over it, or use vjp"
            )
        marks = [mark for part in parts for mark in part[0]]
        slopes = iter(need().graph.vjp(nodes, None, marks))
        grads = [_tree.unflatten(s, [next(slopes) for _ in own]) for own, s in parts]
        gradient = tuple(grads) if isinstance(argnums, list | tuple) else grads[0]
        return (nodes[0], aux) if has_aux else nodes[0], gradient

    return inline


def vjp(f: Function, *primals: Tree, has_aux: bool = False) -> tuple[Any, ...]:
    """Give (out, pullback): ``f(*primals)``, and the function from a cotangent of ``out`` to a
    tuple with the cotangent of each primal.

    Outside of a trace the pullback computes ``f`` again; ``ebm.jit`` around both avoids that.

    Parameters
    ----------
    f : callable
    *primals : arrays, or trees of them
    has_aux : bool
        ``f`` returns (out, aux), and vjp (out, pullback, aux).

    Returns
    -------
    out
        As ``f`` gives it.
    pullback : callable
        Takes a tree like ``out``.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> out, pullback = ebm.vjp(np.sin, np.array([0.0]))
    >>> pullback(np.array([2.0]))
    (array([2.]),)
    """
    function(f, "vjp")
    if current() is not None:
        return _vjp_inline(f, primals, has_aux)
    name = f"vjp({name_of(f)})"
    result = transformed(f, f, ("jit",), name)(*primals)

    def pull(primals: Any, cotangent: Tree) -> Tree:
        return _vjp_inline(f, primals, has_aux)[1](cotangent)

    apply = transformed(pull, f, ("vjp", has_aux), name)
    out, aux = _split_aux(result, has_aux, "vjp")

    def pullback(cotangent: Tree) -> Tree:
        return apply(primals, cotangent=cotangent)

    return (out, pullback, aux) if has_aux else (out, pullback)


def _vjp_inline(f: Function, primals: tuple[Tree, ...], has_aux: bool) -> tuple[Any, ...]:
    trace = need()
    start = trace.root.purpose
    variables, marks, structure = _marked(primals, "vjp: primals")
    result, aux = _split_aux(f(*variables), has_aux, "vjp")
    nodes, out_structure = _float_results(result, "vjp")

    def pullback(cotangent: Tree) -> Tree:
        here = need()
        if here.graph is not trace.graph:
            return _pull_elsewhere(f, primals, has_aux, start, cotangent)
        cts = _like(out_structure, nodes, cotangent, "vjp: cotangent")
        return _tree.unflatten(structure, here.graph.vjp(nodes, cts, marks))

    out = _tree.unflatten(out_structure, nodes)
    return (out, pullback, aux) if has_aux else (out, pullback)


def _pull_elsewhere(
    f: Function, primals: tuple[Tree, ...], has_aux: bool, start: int, cotangent: Tree
) -> Tree:
    """The pullback inside a repeat that its function was not traced in: traces the function
    again, with the drawing sites numbered as the first time.
    """
    root = need().root
    root.purpose, after = start, root.purpose
    pullback = _vjp_inline(f, primals, has_aux)[1]
    root.purpose = after
    return pullback(cotangent)


# ---- forward mode ----------------------------------------------------------------------------


def jvp(
    f: Function, primals: Sequence[Tree], tangents: Sequence[Tree], has_aux: bool = False
) -> tuple[Any, ...]:
    """Give (out, tangent): ``f(*primals)`` and its derivative along ``tangents``, a tuple with
    a tree for each primal.

    Parameters
    ----------
    f : callable
    primals, tangents : tuple of arrays, or of trees of them
    has_aux : bool
        ``f`` returns (out, aux), and jvp (out, tangent, aux).

    Returns
    -------
    out, tangent
        Trees as ``f`` gives them.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.jvp(np.sin, (np.array(0.0),), (np.array(2.0),))
    (array(0.), array(2.))
    """
    function(f, "jvp")

    def inline(primals: tuple[Tree, ...], tangents: tuple[Tree, ...]) -> tuple[Any, ...]:
        return _jvp_inline(f, primals, tangents, has_aux, "jvp")

    run = transformed(inline, f, ("jvp", has_aux), f"jvp({name_of(f)})")
    given = _several(primals, "jvp: primals"), _several(tangents, "jvp: tangents")
    return cast(tuple[Any, ...], run(*given))


def _several(trees: Any, what: str) -> tuple[Tree, ...]:
    if not isinstance(trees, list | tuple):
        raise TypeError(f"{what}: got {type(trees).__name__}, expected a tuple of arrays")
    if not trees:
        raise ValueError(f"{what}: got none, expected at least one")
    return tuple(trees)


def _jvp_inline(
    f: Function, primals: tuple[Tree, ...], tangents: tuple[Tree, ...], has_aux: bool, what: str
) -> tuple[Any, ...]:
    variables, marks, structure = _marked(primals, f"{what}: primals")
    along = _like(structure, marks, tangents, f"{what}: tangents")
    result, aux = _split_aux(f(*variables), has_aux, what)
    nodes, out_structure = _float_results(result, what)
    slopes = need().graph.jvp(nodes, marks, along)
    out, tangent = (_tree.unflatten(out_structure, leaves) for leaves in (nodes, slopes))
    return (out, tangent, aux) if has_aux else (out, tangent)


def hvp(f: Function, primals: Sequence[Tree], tangents: Sequence[Tree]) -> Tree:
    """The Hessian of a scalar function times ``tangents``: for one primal a tree like it, for
    several a tuple of trees.

    Parameters
    ----------
    f : callable
        Of arrays, or trees of them, to one number.
    primals, tangents : tuple of arrays, or of trees of them

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.hvp(lambda x: np.sum(x**3), (np.array([1.0, 2.0]),), (np.array([1.0, 0.0]),))
    array([6., 0.])
    """
    given = _several(primals, "hvp: primals"), _several(tangents, "hvp: tangents")
    argnums = 0 if len(primals) == 1 else tuple(range(len(primals)))
    both = _value_and_grad(f, argnums, False, "hvp")

    def gradient(*args: Tree) -> Tree:
        return both(*args)[1]

    def inline(primals: tuple[Tree, ...], tangents: tuple[Tree, ...]) -> Tree:
        return _jvp_inline(gradient, primals, tangents, False, "hvp")[1]

    return transformed(inline, f, ("hvp",), f"hvp({name_of(f)})")(*given)


def stop_gradient(tree: Tree) -> Tree:
    """The same values, as constants for every derivative.

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.grad(lambda x: x * ebm.stop_gradient(x))(3.0)
    array(3.)
    """
    if current() is None:
        return tree
    graph = need().graph
    return _tree.map_leaves(lambda leaf: ops.stop(graph, _node(leaf, "stop_gradient")), tree)


# ---- loops -----------------------------------------------------------------------------------


def repeat(
    body: Function,
    n: int,
    carry: Tree,
    *,
    xs: Tree = None,
    stack: bool = False,
    reverse: bool = False,
) -> Any:
    """The loop ``for i in range(n): carry = body(i, carry)``, compiled, in one piece of graph.

    Draws with one key are the same in every step: use ``ebm.random.fold_in(key, i)``.

    Parameters
    ----------
    body : callable
        ``body(i, carry)``, or ``body(i, carry, x)`` if xs is given.  It returns the new carry,
        of the same structure, shapes and dtypes; with ``stack=True`` the pair (carry, out).
    n : int
        The number of steps.
    carry : tree of arrays
    xs : tree of arrays with leading axis n
        Step i gets the i-th rows.
    stack : bool
        Also return the outs of all steps, in arrays with leading axis n.
    reverse : bool
        i runs from n - 1 down to 0.  Outs stay in place i.

    Returns
    -------
    carry
        The last; or (carry, outs).

    Examples
    --------
    >>> import numpy as np, ebmlib as ebm
    >>> ebm.repeat(lambda i, x: 2 * x, 3, np.array(1.0))
    array(8.)
    >>> ebm.repeat(lambda i, x: (x + i, x), 4, np.array(0.0), stack=True)
    (array(6.), array([0., 0., 1., 3.]))
    """

    def inline(carry: Tree, xs: Tree) -> Any:
        return _repeat_inline(body, n, carry, xs, stack, reverse)

    function(body, "repeat")
    if isinstance(n, Node | bool) or not hasattr(n, "__index__"):
        raise TypeError(
            f"repeat: n: got {type(n).__name__}, expected an int; "
            "an argument of a jitted function is one if static_argnums names it"
        )
    n = n.__index__()
    name = f"repeat({name_of(body)})"
    return transformed(inline, body, ("repeat", n, stack, reverse), name)(carry, xs)


_LEAVING = "repeat: the carry that leaves a step"


def _node(leaf: Any, what: str) -> TracedArray:
    try:
        return as_node(leaf)
    except WRONG as error:
        raise placed(error, what) from None


def _repeat_inline(
    body: Function, n: int, carry: Tree, xs: Tree, stack: bool, reverse: bool
) -> Any:
    trace = need()
    leaves, structure = _tree.flatten(carry)
    nodes = [_node(leaf, "repeat: carry") for leaf in leaves]
    x_leaves, x_structure = _tree.flatten(xs)
    x_nodes = [_node(leaf, "repeat: xs") for leaf in x_leaves]
    start = trace.root.purpose
    for _ in range(2):
        trace.root.purpose = start
        inner, i, carry_in, xs_in = trace.graph.repeat_open(n, nodes, x_nodes)
        carry_in = [
            c.as_weak() if c0.weak else c for c, c0 in zip(carry_in, nodes, strict=True)
        ]
        with Trace(inner, parent=trace):
            args = [i.as_weak(), _tree.unflatten(structure, carry_in)]
            if xs is not None:
                args.append(_tree.unflatten(x_structure, xs_in))
            result = body(*args)
            new, out = _split_outs(result, stack)
            leaving = [_node(leaf, _LEAVING) for leaf in _carry_leaves(structure, new)]
            wanted = [_carry_dtype(a, b) for a, b in zip(nodes, leaving, strict=True)]
            if wanted == [node.dtype for node in nodes]:
                return _close_repeat(inner, structure, nodes, leaving, out, stack, reverse)
        nodes = [
            node if node.dtype == dtype else as_node(node, dtype)
            for node, dtype in zip(nodes, wanted, strict=True)
        ]
    raise TypeError(f"repeat: the dtypes of the carry change in every step: {wanted}")


def _split_outs(result: Any, stack: bool) -> tuple[Tree, Tree]:
    if not stack:
        return result, ()
    if not isinstance(result, tuple) or len(result) != 2:
        raise TypeError("repeat: with stack=True the body must return (carry, out)")
    return result


def _carry_leaves(structure: Any, new: Tree) -> list[Any]:
    return _tree.flatten_like(structure, new, _LEAVING)


def _carry_dtype(entered: TracedArray, left: TracedArray) -> Any:
    """A carry that began as a Python number takes the dtype that leaves a step."""
    return left.dtype if entered.weak and not left.weak else entered.dtype


def _close_repeat(
    inner: Graph,
    structure: Any,
    nodes: list[TracedArray],
    leaving: list[TracedArray],
    out: Tree,
    stack: bool,
    reverse: bool,
) -> Any:
    for k, (before, after) in enumerate(zip(nodes, leaving, strict=True)):
        leaving[k] = as_node(after, before.dtype) if after.weak else after
        if leaving[k].dtype == before.dtype and after.shape == before.shape:
            continue
        error = TypeError if after.shape == before.shape else ShapeError
        raise error(
            f"repeat: the carry{_tree.paths(structure)[k]} enters a step as {before.dtype} "
            f"{before.shape} and leaves it as {after.dtype} {after.shape}"
        )
    out_leaves, out_structure = _tree.flatten(out)
    outs = [_node(leaf, "repeat: out") for leaf in out_leaves]
    last, stacked = inner.repeat_close(leaving, outs, reverse)
    last = [c.as_weak() if c0.weak else c for c, c0 in zip(last, nodes, strict=True)]
    carry = _tree.unflatten(structure, last)
    return (carry, _tree.unflatten(out_structure, stacked)) if stack else carry
