"""Machine words for kernels: loads from the bytes of a message, and bit scans.

The loads check nothing. Whoever calls one has shown that the bytes lie inside the text; the text
lives as long as the kernel call that it is an argument of. Numbers are little-endian, as on every
machine this program runs on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

_BYTE, _WORD = ir.IntType(8), ir.IntType(64)

ONES = np.uint64(0x0101010101010101)
HIGHS = np.uint64(0x8080808080808080)
"""Every byte 1, and the highest bit of every byte."""


@intrinsic
def address_of(typing: Any, text: Any) -> Any:  # noqa: ARG001 (the signature numba asks for)
    """Return the address of the first byte of ``bytes``, int64."""
    if not isinstance(text, types.Bytes):
        return None

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        view = context.make_helper(builder, signature.args[0], value=arguments[0])
        return builder.ptrtoint(view.data, _WORD)

    return types.int64(text), build


def _load(width: Any, result: Any) -> Any:
    @intrinsic
    def load(typing: Any, address: Any) -> Any:  # noqa: ARG001 (the signature numba asks for)
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 (same)
            value = builder.load(builder.inttoptr(arguments[0], width.as_pointer()))
            value.align = 1
            return value

        return result(types.int64), build

    return load


byte_at = _load(_BYTE, types.uint8)
"""The byte at an address, uint8."""
word_at = _load(_WORD, types.uint64)
"""The eight bytes from an address on, uint64, the first one lowest."""


def _scan(name: str) -> Any:
    @intrinsic
    def scan(typing: Any, word: Any) -> Any:  # noqa: ARG001 (the signature numba asks for)
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001 (same)
            kind = ir.FunctionType(_WORD, [_WORD, ir.IntType(1)])
            function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.i64")
            return builder.call(function, [arguments[0], ir.Constant(ir.IntType(1), 1)])

        return types.int64(types.uint64), build

    return scan


leading_zeros = _scan("ctlz")
trailing_zeros = _scan("cttz")
"""Zero bits above or below the set ones of a uint64 that is not 0, int64."""
