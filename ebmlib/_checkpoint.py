"""Estimators in files: saved, loaded, written while they train, and resumed to the same bits.

What a file holds is described in _files.py.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from . import _core
from ._files import Arrays, File, Savable, class_name, dtype_name, remove_leftovers, write
from ._loop import Event, Fit, Memory, lasting
from ._params import Specification, from_plain, pack_specification, to_plain
from ._rows import check_rows, mark_rows
from .callbacks import check_callbacks
from .entropy import Entropy
from .errors import ShapeError, StateError
from .networks import BoundGenerator, Network, bind_arrays
from .optimizers import Optimizer
from .random import key
from .samplers import Sampler, whole
from .schedules import Schedule

if TYPE_CHECKING:
    from ._estimator import EnergyEstimator

__all__ = ["Checkpoint", "Durable"]

_FAMILIES: Mapping[str, type[Specification]] = {
    "network": Network,
    "sampler": Sampler,
    "learning_rate": Schedule,
    "generator": Network,
    "entropy": Entropy,
    "generator_optimizer": Optimizer,
    "entropy_optimizer": Optimizer,
}
_UNSAVED = ("checkpoint", "callbacks")  # parameters that files do not have
_MEMORIES = {
    "rollback": 3,
    "early_stopping": 1,
    "keep_best": 1,
}  # events, and how long their lists are
_MOMENTS = ("adam.m", "adam.v", "sgd.v")
_COUNTS = ("step", "guard.step", "guard.term", "guard.param")
_ENERGIES = ("params", "ema.params", "energy")
_STEP_MAX = 2**31 - 1

Self = TypeVar("Self", bound="Durable")
Shapes = dict[str, tuple[str, tuple[int, ...]]]
Parts = dict[str, dict[str, tuple[tuple[int, ...], bool]]]  # {prefix: {name: (shape, trained)}}


class Durable(Savable):
    """What estimators have of `save`, ``ebm.load`` and ``resume``."""

    # Arrays of the estimator's kind: dtype and sizes, where "real" is the network's dtype, "n"
    # any size that they share, "row" the shape of a row.
    _own_arrays: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def resume(self: Self, X: Any, y: Any = None, X_val: Any = None) -> Self:
        """Go on with a fit that was interrupted, to the bits that it would have had.

        After ``ebm.load`` of a checkpoint, or after Ctrl-C.  A fit that has come to its end
        stays as it is.  Callbacks are not in files: give them again before, by
        ``set_params(callbacks=...)``.

        Parameters
        ----------
        X : array (n_samples, ...)
            The rows of that fit.
        y : ignored
        X_val : array like X, or None
            The held-out rows of that fit.

        Returns
        -------
        self

        Raises
        ------
        ShapeError
            X or X_val has another shape than in that fit.
        ValueError
            It has other values (64 rows are compared): ``partial_fit`` goes on with new data.
            A callback that had a part in that fit is missing.
        StateError
            There was no fit.
        """
        _resume(cast("EnergyEstimator", self), X, X_val)
        return self

    def _pack(self) -> tuple[dict[str, Any], Arrays]:
        return _pack(cast("EnergyEstimator", self), False)

    @classmethod
    def _unpack(cls, file: File) -> EnergyEstimator:
        file.expect_keys("parameters", "checkpoint", "fitted", "fit")
        est = _unpack_parameters(cast("type[EnergyEstimator]", cls), file)
        if file.get("checkpoint", bool):
            est.checkpoint = file.path
        if file.value("fitted") is not None:
            _unpack_fitted(est, file)
            return est
        file.expect_arrays({}, _constants(file))
        if file.value("fit") is not None:
            raise file.error("fit", "got one of an estimator that is not fitted")
        return est


# ---- while it trains -------------------------------------------------------------------------


class Checkpoint(Event):
    """Writes the estimator to a file: at the start, every so many steps, and in the end."""

    def __init__(self, path: str | os.PathLike[str], every: int) -> None:
        self._path, self._every = path, every
        self._tried: int | None = None  # the step that was written last, or failed to be

    def begin(self, fit: Fit) -> None:
        remove_leftovers(self._path)
        self._write(fit)

    def next(self, step: int) -> int:
        return (step // self._every + 1) * self._every

    def act(self, fit: Fit) -> None:
        if not fit.over:  # what ends a fit may still change arrays
            self._write(fit)

    def _write(self, fit: Fit) -> None:
        est = fit.estimator
        self._tried = fit.step
        try:
            fit.store()
            write(self._path, class_name(type(est)), *_pack(est, True))
        except KeyboardInterrupt:
            self._tried = None
            raise

    def undone(self, fit: Fit) -> None:
        self._tried = None

    def end(self, fit: Fit) -> None:
        if fit.step != self._tried:
            self._write(fit)


def _resume(est: EnergyEstimator, X: Any, X_val: Any) -> None:
    who = f"{type(est).__name__}.resume"
    est._fitted()
    fit = est._fit
    if fit is None:
        raise StateError(f"{who}: there is no fit to go on with")
    x = check_rows(X, who, None, est.image_shape)
    _check_same(f"{who}: X", x, est._row, fit["data"])
    if (X_val is None) != (fit["held_out"] is None):
        had = "none" if X_val is not None else f"{fit['held_out']['rows']} rows"
        raise ValueError(f"{who}: X_val: got {_count(X_val)}, expected {had} as in that fit")
    val = None
    if X_val is not None:
        val = check_rows(X_val, f"{who}: X_val", None, est.image_shape)
        _check_same(f"{who}: X_val", val, est._row, fit["held_out"])
    est._check_loop()
    trainer = est._get_trainer()
    if trainer.steps < fit["last"] or est._memories:
        check_callbacks(type(est).__name__, est.callbacks, val is not None)
        est._run(trainer, x, val, fit["last"] - trainer.steps, fit["first"], X_val)


def _count(rows: Any) -> str:
    return "none" if rows is None else f"{len(rows)} rows"


def _check_same(
    what: str, x: NDArray[Any], row: tuple[int, ...], mark: Mapping[str, int]
) -> None:
    expected = (mark["rows"], *row)
    if x.shape != expected:
        raise ShapeError(f"{what}: got {x.shape}, expected {expected} as in that fit")
    if mark_rows(x)["crc"] != mark["crc"]:
        raise ValueError(
            f"{what}: got other values than in that fit (partial_fit goes on with new data)"
        )


# ---- to a file -------------------------------------------------------------------------------


def _pack(est: EnergyEstimator, checkpoint: bool) -> tuple[dict[str, Any], Arrays]:
    _check_parameters(est)
    fitted = est.__sklearn_is_fitted__()
    row, dtype = (est._row, est.energy_.dtype) if fitted else (None, None)
    parameters, arrays = {}, {}
    for name, value in est.get_params(deep=False).items():
        if name in _UNSAVED:
            continue
        if isinstance(value, Specification):
            parameters[name], more = pack_specification(value, name, row, dtype)
            arrays.update(more)
        else:
            parameters[name] = _parameter_text(name, value)
    metadata = {"parameters": parameters, "checkpoint": checkpoint, "fitted": None, "fit": None}
    if fitted:
        metadata["fitted"], more = _pack_fitted(est)
        arrays.update(more)
        if est._fit is not None:
            events, more = _pack_memories(est._memories)
            metadata["fit"] = est._fit | {"events": events}
            arrays.update(more)
    return metadata, arrays


def _pack_memories(memories: Mapping[str, Memory]) -> tuple[dict[str, Any], dict[str, Any]]:
    events, arrays = {}, {}
    for name, (numbers, snapshots) in memories.items():
        steps = {str(slot): step for slot, (step, _) in snapshots.items()}
        events[name] = {"numbers": numbers, "snapshots": steps}
        for slot, (_, snapshot) in snapshots.items():
            arrays.update({f"events.{name}.{slot}.{key}": a for key, a in snapshot.items()})
    return events, arrays


def _parameter_text(name: str, value: Any) -> Any:
    if name == "dtype":
        return np.dtype(value).name
    if isinstance(value, np.random.Generator):
        return {"generator": _generator_words(value)}
    return to_plain(value, name)


def _pack_fitted(est: EnergyEstimator) -> tuple[dict[str, Any], dict[str, Any]]:
    arrays = _lasting_of_now(est)
    network, energy = est.energy_.network, est.energy_.parameters()
    text = None
    if network != est._network:
        text, more = pack_specification(network, "fitted.network", est._row, est.energy_.dtype)
        arrays.update(more)
    prefix = next((p for p in _ENERGIES if _stand_below(p, energy, arrays)), "energy")
    if prefix == "energy":
        arrays.update({f"energy.{name}": array for name, array in energy.items()})
    for attribute, part in _learned_parts(est):
        own = getattr(est, attribute).parameters()
        if not any(
            _stand_below(p, own, arrays) for p in (f"ema.parts.{part}", f"parts.{part}")
        ):
            arrays.update({f"learned.{part}.{name}": array for name, array in own.items()})
    arrays.update({f"history.{name}": rows for name, rows in est.history_.items()})
    names = getattr(est, "feature_names_in_", None)
    fitted = {
        "network": text,
        "row": list(est._row),
        "dtype": est.energy_.dtype.name,
        "key": est._key.tolist(),
        "energy": prefix,
        "features": None if names is None else [str(name) for name in names],
    }
    return fitted, arrays


def _lasting_of_now(est: EnergyEstimator) -> dict[str, NDArray[Any]]:
    """The arrays of the trainer, for the parts that the parameters have now."""
    wanted = _part_arrays(est, est._row)
    for attribute, part in _learned_parts(est):
        mine, own = getattr(est, attribute).parameters(), wanted[f"parts.{part}"]
        if {name: a.shape for name, a in mine.items()} != {k: of for k, (of, _) in own.items()}:
            raise ValueError(
                f"save: {part}: got one of other arrays than {attribute}, expected that of the "
                "fit, or another fit"
            )
    names = {f"{prefix}.{name}" for prefix, own in wanted.items() for name in own}
    saved = est._lasting()
    if names == {name for name in saved if name.startswith("parts.")}:
        return dict(saved)
    return lasting(est._get_trainer().get())  # the entropy was changed after the fit


def _learned_parts(est: EnergyEstimator) -> list[tuple[str, str]]:
    """(attribute, part) of the networks beside the energy."""
    return [(name, part) for name, part in est._learned.items() if part != "energy"]


def _stand_below(prefix: str, wanted: Arrays, arrays: Arrays) -> bool:
    """True if the arrays below the prefix are the wanted ones."""
    return all(
        f"{prefix}.{name}" in arrays and np.array_equal(array, arrays[f"{prefix}.{name}"])
        for name, array in wanted.items()
    )


def _check_parameters(est: EnergyEstimator) -> None:
    """ValueError or TypeError for a parameter that no fit would take."""
    spec = est._spec()
    networks = [network for network, _ in est._parts().values() if network is not None]
    optimizers = [optimizer for _, optimizer in est._parts().values()]
    for part in (est._network, est._sampler, est._schedule, *networks, *optimizers):
        part._check()
    optimizer, _, update = spec["update"]
    _core.check_options("estimator", *spec["estimator"])
    _core.check_options("optimizer", *optimizer)
    _core.check_options("update", "", update)
    if spec["entropy"] is not None:
        _core.check_options("entropy", *spec["entropy"])
    _core.check_options("training", "", spec["training"])
    est._check_loop()
    whole(est.max_steps, "max_steps", 0)
    whole(int(est.verbose), "verbose", 0)
    whole(int(est.warm_start), "warm_start", 0)
    for size in est.image_shape or ():
        whole(size, "image_shape", 1)
    if np.dtype(est.dtype) not in (np.dtype(np.float32), np.dtype(np.float64)):
        raise TypeError(f"dtype: got {est.dtype!r}, expected float32 or float64")
    if isinstance(est.random_state, int):
        key(est.random_state)


def _generator_words(rng: np.random.Generator) -> list[int]:
    """The state of the generator of ``numpy.random.default_rng``."""
    state: Any = rng.bit_generator.state
    if state["bit_generator"] != "PCG64":
        raise TypeError(
            f"random_state: got {rng}, which a file cannot hold: expected an int, None or "
            "numpy.random.default_rng(...)"
        )
    inner = state["state"]
    return [inner["state"], inner["inc"], state["has_uint32"], state["uinteger"]]


# ---- from a file -----------------------------------------------------------------------------


def _constants(file: File) -> list[str]:
    """The arrays that came with specifications."""
    return [name for key in (*_FAMILIES, "fitted.network") for name in file.names(key)]


def _unpack_parameters(cls: type[EnergyEstimator], file: File) -> EnergyEstimator:
    texts = dict(file.get("parameters", dict))
    special: dict[str, Any] = {}
    for name, family in _FAMILIES.items():
        if isinstance(texts.get(name), dict):
            special[name] = family._from_file(file, name, texts.pop(name))
    if isinstance(texts.get("random_state"), dict):
        special["random_state"] = _generator(file, texts.pop("random_state"))
    if "dtype" in texts:
        file.dtype("parameters: dtype", texts["dtype"])
    known = [name for name in cls._defaults() if name not in _UNSAVED]
    with file.checking("parameters"):
        est = cls(**special, **from_plain(texts, known))
        _check_parameters(est)
    return est


def _generator(file: File, text: dict[str, Any]) -> np.random.Generator:
    words = file.fields("random_state", text, ["generator"])["generator"]
    if len(file.typed("random_state", words, list)) != 4:
        raise file.error("random_state", "expected four numbers of a generator")
    limits = (2**128, 2**128, 2, 2**32)
    state, inc, has, left = (
        file.whole("random_state", word, 0, limit - 1)
        for word, limit in zip(words, limits, strict=True)
    )
    bits = np.random.PCG64()
    bits.state = {
        "bit_generator": "PCG64",
        "state": {"state": state, "inc": inc | 1},
        "has_uint32": has,
        "uinteger": left,
    }
    return np.random.Generator(bits)


def _unpack_fitted(est: EnergyEstimator, file: File) -> None:
    names = ("network", "row", "dtype", "key", "energy", "features")
    text = file.fields("fitted", file.value("fitted"), names)
    network = est._network
    if text["network"] is not None:
        network = cast(Network, Network._from_file(file, "fitted.network", text["network"]))
    row, dtype = file.row("fitted.row", text["row"]), file.dtype("fitted.dtype", text["dtype"])
    words = _key_words(file, text["key"])
    features = _feature_names(file, text["features"], row)
    with file.checking("fitted.network"):
        shapes = network._shapes(row)
    fit = _progress(file)
    state = _checked_state(est, file, shapes, row, dtype, fit)
    energy = _checked_energy(file, text["energy"], shapes)
    est.energy_ = bind_arrays(network, row, dtype, energy)
    for attribute, part in _learned_parts(est):
        prefixes = (f"learned.{part}", f"ema.parts.{part}", f"parts.{part}")
        own = next(filter(None, map(file.below, prefixes)))
        specification = cast(Network, est._parts()[part][0])
        setattr(est, attribute, bind_arrays(specification, row, dtype, own, BoundGenerator))
    est.history_ = file.below("history")
    est.n_steps_ = int(state["step"])
    est.n_features_in_ = math.prod(row)
    if features is not None:
        est.feature_names_in_ = features
    est._row, est._key, est._saved = row, words, state
    est._fit, est._memories = None, {}
    if fit is not None:
        est._memories = _unpack_memories(file, fit.pop("events"))
        est._fit, est.stop_reason_ = fit, fit["reason"]


def _checked_energy(
    file: File, prefix: Any, shapes: Mapping[str, tuple[int, ...]]
) -> dict[str, NDArray[Any]]:
    if prefix not in _ENERGIES:
        raise file.error("fitted.energy", f"got {prefix!r}, expected one of {_ENERGIES}")
    energy = file.below(prefix)
    file.expect(f"fitted.energy: {prefix}", energy, shapes)
    return energy


def _checked_state(
    est: EnergyEstimator,
    file: File,
    shapes: Mapping[str, tuple[int, ...]],
    row: tuple[int, ...],
    dtype: np.dtype[Any],
    fit: Mapping[str, Any] | None,
) -> dict[str, NDArray[Any]]:
    """The arrays of the trainer; all arrays of the file are looked at."""
    with file.checking("parameters"):
        parts = _part_arrays(est, row)
    trained = {name: (shape, True) for name, shape in shapes.items()}
    state = _expected_state(est, file, {"params": trained} | parts, row, dtype)
    snapshots = _expected_snapshots(fit["events"] if fit else {}, state)
    others = _expected_others(file, shapes, parts, dtype)
    file.expect_arrays({**state, **snapshots, **others}, _constants(file))
    arrays = file.arrays()
    for name, (of, _) in {**state, **snapshots}.items():
        if of == "I32" and not name.endswith("key") and (arrays[name] < 0).any():
            raise file.error(name, f"got {arrays[name].min()}, expected no negative number")
    if fit is not None:
        step = int(arrays["step"])
        file.whole("fit.first", fit["first"], 0, step)
        file.whole("fit.last", fit["last"], step, _STEP_MAX)
    return {name: array for name, array in arrays.items() if name in state}


def _expected_state(
    est: EnergyEstimator,
    file: File,
    parts: Parts,
    row: tuple[int, ...],
    dtype: np.dtype[Any],
) -> Shapes:
    """The arrays of the trainer."""
    real = dtype_name(dtype)
    expected: Shapes = {"key": ("I32", (2,))}
    for prefix, arrays in parts.items():
        names = {f"{prefix}.{name}": (real, shape) for name, (shape, _) in arrays.items()}
        expected.update(names)
        if prefix != "params":
            expected[f"rate.{prefix.removeprefix('parts.')}"] = (real, ())
        if file.names(f"ema.{prefix}"):
            expected.update({f"ema.{name}": of for name, of in names.items()})
        for moment in _MOMENTS:  # all trained parameters have them, or none
            if file.names(f"{moment}.{prefix}"):
                kept = [name for name, (_, is_trained) in arrays.items() if is_trained]
                expected.update(
                    {f"{moment}.{prefix}.{name}": (real, arrays[name][0]) for name in kept}
                )
    expected.update(dict.fromkeys(_COUNTS, ("I32", ())))
    expected.update({"rate": (real, ()), "backoff": (real, ())})
    own = est._own_arrays
    n = next((file.shapes[name][1][:1] for name in own if name in file.shapes), None)
    if n is not None:
        sizes = {"n": n, "row": row}
        for name, (of, *dims) in own.items():
            shape = tuple(size for dim in dims for size in sizes[dim])
            expected[name] = (real if of == "real" else of, shape)
    return expected


def _part_arrays(est: EnergyEstimator, row: tuple[int, ...]) -> Parts:
    """Of what is trained beside the energy."""
    spec = est._spec()
    if not spec["parts"]:
        return {}
    network, estimator, update = spec["network"], spec["estimator"], spec["update"]
    found = _core.part_arrays(network, estimator, update, spec["entropy"], spec["parts"], row)
    return {prefix: arrays for prefix, arrays in found.items() if prefix != "params"}


def _expected_others(
    file: File, shapes: Mapping[str, tuple[int, ...]], parts: Parts, dtype: np.dtype[Any]
) -> Shapes:
    """The arrays of ``energy_`` and the like, and of ``history_``."""
    expected: Shapes = {}
    real = dtype_name(dtype)
    if file.names("energy"):
        expected.update({f"energy.{name}": (real, shape) for name, shape in shapes.items()})
    for prefix, arrays in parts.items():
        learned = prefix.replace("parts", "learned", 1)
        if file.names(learned):
            expected.update({f"{learned}.{k}": (real, of) for k, (of, _) in arrays.items()})
    for name in file.names("history"):
        of, shape = file.shapes[name]
        expected[name] = of, shape[:1] or (0,)
    return expected


def _expected_snapshots(events: Mapping[str, Any], state: Shapes) -> Shapes:
    """The snapshots that events have: each of all arrays of the trainer."""
    return {
        f"events.{event}.{slot}.{name}": of
        for event, memory in events.items()
        for slot in memory["snapshots"]
        for name, of in state.items()
    }


def _progress(file: File) -> dict[str, Any] | None:
    if file.value("fit") is None:
        return None
    names = ("first", "last", "reason", "data", "held_out", "events")
    fit = file.fields("fit", file.value("fit"), names)
    for name in ("data", "held_out"):
        if name == "data" or fit[name] is not None:
            mark = file.fields(f"fit.{name}", fit[name], ("rows", "crc"))
            file.whole(f"fit.{name}.rows", mark["rows"], 1, 2**62)
            file.whole(f"fit.{name}.crc", mark["crc"], 0, 2**32 - 1)
    if fit["reason"] is not None:
        file.typed("fit.reason", fit["reason"], str)
    for name, memory in file.typed("fit.events", fit["events"], dict).items():
        _check_memory(file, name, memory)
    return fit


def _check_memory(file: File, event: str, memory: Any) -> None:
    key = f"fit.events.{event}"
    kind, _, number = event.partition(".")
    if kind not in _MEMORIES or not number.isdecimal():
        raise file.error(key, f"expected one of {list(_MEMORIES)} with its number")
    memory = file.fields(key, memory, ("numbers", "snapshots"))
    for numbers in file.typed(key, memory["numbers"], list):
        if len(file.typed(key, numbers, list)) != _MEMORIES[kind]:
            raise file.error(key, f"got {len(numbers)} numbers, expected {_MEMORIES[kind]}")
        if not all(type(number) in (int, float) for number in numbers):
            raise file.error(key, f"got {numbers}, expected numbers")
    for slot, step in file.typed(key, memory["snapshots"], dict).items():
        if slot not in ("0", "1", "2", "3"):
            raise file.error(key, f"got snapshot {slot!r}, expected 0 to 3")
        file.whole(key, step, 0, _STEP_MAX)


def _unpack_memories(file: File, events: Mapping[str, Any]) -> dict[str, Memory]:
    memories = {}
    for name, memory in events.items():
        snapshots = {
            int(slot): (step, file.below(f"events.{name}.{slot}"))
            for slot, step in memory["snapshots"].items()
        }
        memories[name] = Memory(memory["numbers"], snapshots)
    return memories


def _key_words(file: File, words: Any) -> NDArray[np.int32]:
    if len(file.typed("fitted.key", words, list)) != 2:
        raise file.error("fitted.key", f"got {len(words)} words, expected 2")
    checked = [file.whole("fitted.key", word, -(2**31), 2**31 - 1) for word in words]
    return np.array(checked, np.int32)


def _feature_names(file: File, names: Any, row: tuple[int, ...]) -> NDArray[Any] | None:
    if names is None:
        return None
    for name in file.typed("fitted.features", names, list):
        file.typed("fitted.features", name, str)
    if len(names) != math.prod(row):
        raise file.error(
            "fitted.features", f"got {len(names)} names of {math.prod(row)} features"
        )
    return np.asarray(names, dtype=object)
