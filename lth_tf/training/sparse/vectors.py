"""Loops over the weights of one unit, as vector instructions that numba does not find itself.

Activations and their gradients are flat float32 arrays: WIDTH numbers, one an example, for
each unit. A unit's weights are a range of `value`; `source` says where in the activations
the inputs of each begin. A unit's sums stay in registers while its weights are gone through.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

WIDTH = 64
"""Examples that are computed side by side."""

LANES = 16  # of an AVX-512 register; LLVM splits it for other processors
_GROUP = 4  # weights whose gradients are summed up together
_PARTS = range(WIDTH // LANES)
_FLOAT = ir.FloatType()
_VECTOR = ir.VectorType(_FLOAT, LANES)
_ZERO = ir.Constant(_VECTOR, [0.0] * LANES)
# Products and sums may be fused, and sums ordered anyhow, but NaN stays NaN.
_FLAGS = ("contract", "reassoc", "nsz")

_floats, _indices = types.Array(types.float32, 1, "C"), types.Array(types.uint64, 1, "C")
_index, _flag = types.uint64, types.boolean


@intrinsic
def forward_piece(_typing, activation, at, source, value, start, end, bias, begins, relu):
    """Adds some of the weights of one unit to its activations.

    Args:
        activation: float32 array; read at the sources, changed from `at` on.
        at: where the unit's own activations begin.
        source: uint64 array: where the inputs of each weight begin.
        value: float32 array of weights.
        start: the first weight.
        end: the one after the last.
        bias: what the sum begins with.
        begins: whether it begins here; else it goes on with what is there.
        relu: whether what is negative then becomes 0.
    """
    kinds = (_floats, _index, _indices, _floats, _index, _index, types.float32, _flag, _flag)
    return _emitted(types.void, kinds, _forward)


@intrinsic
def backward_piece(
    _typing, activation, upstream, at, source, value, gradient, start, end, relu, below
):
    """Adds the gradients of some weights of one unit and of what they read; returns its bias's.

    Args:
        activation: float32 array of activations.
        upstream: float32 array of their gradients, read from `at` on; what the unit reads
            gets its share added.
        at: where the unit's own activations begin.
        source: uint64 array: where the inputs of each weight begin.
        value: float32 array of weights.
        gradient: float32 array; the gradients of the weights are added.
        start: the first weight.
        end: the one after the last.
        relu: whether the unit's negative activations became 0.
        below: whether what the unit reads needs gradients.
    """
    kinds = (_floats, _floats, _index, _indices, _floats, _floats, _index, _index, _flag, _flag)
    return _emitted(types.float32, kinds, _backward)


@intrinsic
def load_tile(_typing, inputs, rows, place, scale, activation, at):
    """Puts LANES features of LANES examples into the activations, features first.

    Args:
        inputs: array of any type, one example after the other.
        rows: uint64 array [LANES]: where the examples begin.
        place: the first feature.
        scale: float32 that is multiplied by.
        activation: float32 array.
        at: where the first feature of the first example goes to.
    """
    kinds = (inputs, _indices, _index, types.float32, _floats, _index)
    return _emitted(types.void, kinds, _load_tile)


def _emitted(result: types.Type, kinds: tuple, emit: Callable[..., Any]) -> tuple:
    """Returns what an intrinsic returns; `emit` gets arrays as pointers to their first number."""

    def generate(context, builder, signature, arguments):
        values = [
            context.make_array(kind)(context, builder, argument).data
            if isinstance(kind, types.Array)
            else argument
            for kind, argument in zip(signature.args, arguments, strict=True)
        ]
        found = emit(builder, *values)
        return context.get_dummy_value() if found is None else found

    return result(*kinds), generate


def _forward(builder, activation, at, source, value, start, end, bias, begins, relu) -> None:
    sums = []
    for part in _PARTS:
        there = _load(builder, activation, at, part)
        initial = builder.select(begins, _splat(builder, bias), there)
        sums.append(cgutils.alloca_once_value(builder, initial))
    with _counting(builder, start, end) as entry:
        weight = _splat(builder, builder.load(builder.gep(value, [entry])))
        inputs = builder.load(builder.gep(source, [entry]))
        for part in _PARTS:
            product = builder.fmul(weight, _load(builder, activation, inputs, part), _FLAGS)
            total = builder.fadd(builder.load(sums[part]), product, _FLAGS)
            builder.store(total, sums[part])
    for part in _PARTS:
        total = builder.load(sums[part])
        negative = builder.fcmp_ordered("<", total, _ZERO)
        cut = builder.select(negative, _ZERO, total)
        _store(builder, builder.select(relu, cut, total), activation, at, part)


def _backward(builder, activation, upstream, at, source, value, gradient, start, end, relu, below):
    own = []
    for part in _PARTS:
        whole = _load(builder, upstream, at, part)
        active = builder.fcmp_ordered(">", _load(builder, activation, at, part), _ZERO)
        own.append(builder.select(relu, builder.select(active, whole, _ZERO), whole))
    with builder.if_then(below):
        with _counting(builder, start, end) as entry:
            weight = _splat(builder, builder.load(builder.gep(value, [entry])))
            inputs = builder.load(builder.gep(source, [entry]))
            for part in _PARTS:
                share = builder.fmul(weight, own[part], _FLAGS)
                share = builder.fadd(_load(builder, upstream, inputs, part), share, _FLAGS)
                _store(builder, share, upstream, inputs, part)
    groups = builder.add(start, builder.and_(builder.sub(end, start), _constant(start, -_GROUP)))
    with _counting(builder, start, groups, _GROUP) as entry:
        totals = [_product(builder, own, activation, source, entry, i) for i in range(_GROUP)]
        _add_to(builder, gradient, entry, _sums(builder, totals))
    with _counting(builder, groups, end) as entry:
        total = _product(builder, own, activation, source, entry, 0)
        _add_to(builder, gradient, entry, _sum(builder, total))
    total = own[0]
    for part in own[1:]:
        total = builder.fadd(total, part, _FLAGS)
    return _sum(builder, total)


def _load_tile(builder, inputs, rows, place, scale, activation, at) -> None:
    kind = ir.VectorType(inputs.type.pointee, LANES)
    vectors = []
    for i in range(LANES):
        row = builder.load(builder.gep(rows, [ir.Constant(place.type, i)]))
        first = builder.gep(inputs, [builder.add(row, place)])
        vectors.append(builder.load(builder.bitcast(first, kind.as_pointer()), align=1))
    half = LANES // 2
    zips = [_lanes([first + i // 2 + LANES * (i % 2) for i in range(LANES)]) for first in (0, half)]
    # Each round interleaves the vectors half the number apart; after log2 of them rows are columns.
    for _ in range(LANES.bit_length() - 1):
        vectors = [
            builder.shuffle_vector(vectors[i // 2], vectors[i // 2 + half], zips[i % 2])
            for i in range(LANES)
        ]
    for i, vector in enumerate(vectors):
        if not isinstance(kind.element, ir.FloatType):
            vector = builder.uitofp(vector, _VECTOR)
        to = builder.add(at, ir.Constant(at.type, i * WIDTH))
        _store(builder, builder.fmul(vector, _splat(builder, scale)), activation, to, 0)


def _product(builder, own, activation, source, entry, further):
    """Returns LANES sums whose sum is the gradient of a weight."""
    entry = builder.add(entry, _constant(entry, further))
    inputs = builder.load(builder.gep(source, [entry]))
    total = _ZERO
    for part in _PARTS:
        product = builder.fmul(own[part], _load(builder, activation, inputs, part), _FLAGS)
        total = builder.fadd(total, product, _FLAGS)
    return total


def _add_to(builder, array, at, numbers) -> None:
    place = builder.gep(array, [at])
    place = builder.bitcast(place, numbers.type.as_pointer())
    builder.store(builder.fadd(builder.load(place, align=4), numbers, _FLAGS), place, align=4)


@contextmanager
def _counting(builder, start, end, step=1) -> Iterator[Any]:
    """Emits a loop; the block gets the index."""
    with cgutils.for_range_slice(builder, start, end, _constant(start, step), intp=start.type) as (
        entry,
        _,
    ):
        yield entry


def _constant(like, number):
    return ir.Constant(like.type, number)


def _splat(builder, scalar):
    """Returns a vector of equal numbers."""
    first = builder.insert_element(
        ir.Constant(_VECTOR, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    return builder.shuffle_vector(first, ir.Constant(_VECTOR, ir.Undefined), _lanes([0] * LANES))


def _lanes(numbers):
    return ir.Constant(ir.VectorType(ir.IntType(32), len(numbers)), numbers)


def _place(builder, array, at, part):
    index = builder.add(at, ir.Constant(at.type, part * LANES))
    return builder.bitcast(builder.gep(array, [index]), _VECTOR.as_pointer())


def _load(builder, array, at, part):
    return builder.load(_place(builder, array, at, part), align=4)


def _store(builder, vector, array, at, part) -> None:
    builder.store(vector, _place(builder, array, at, part), align=4)


def _sum(builder, vector):
    """Returns the sum of a vector's numbers, by halves."""
    lanes = LANES
    while lanes > 1:
        lanes //= 2
        halves = [
            builder.shuffle_vector(
                vector,
                ir.Constant(vector.type, ir.Undefined),
                _lanes(list(range(first, first + lanes))),
            )
            for first in (0, lanes)
        ]
        vector = builder.fadd(*halves, _FLAGS)
    return builder.extract_element(vector, ir.Constant(ir.IntType(32), 0))


def _sums(builder, vectors):
    """Returns a vector of the sums of _GROUP vectors, in fewer instructions than one by one."""
    size = LANES
    while len(vectors) > 1:
        size //= 2
        # The lower half of each stretch of `size` pairs goes on with the upper one's.
        lower = [i for i in range(2 * LANES) if i // size % 2 == 0]
        vectors = [
            builder.fadd(
                builder.shuffle_vector(one, other, _lanes(lower)),
                builder.shuffle_vector(one, other, _lanes([i + size for i in lower])),
                _FLAGS,
            )
            for one, other in zip(vectors[::2], vectors[1::2], strict=True)
        ]
    (vector,) = vectors
    while size > 1:
        size //= 2
        swapped = [i ^ size for i in range(LANES)]
        vector = builder.fadd(
            vector, builder.shuffle_vector(vector, vector, _lanes(swapped)), _FLAGS
        )
    stretch = LANES // _GROUP
    return builder.shuffle_vector(vector, vector, _lanes([i * stretch for i in range(_GROUP)]))
