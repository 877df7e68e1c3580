"""Reads a pickle without executing it: a name in it stays a name; time and memory are bounded.

Python's own unpickler calls what a pickle names and hashes what a pickle has made: a few hundred
bytes can keep it busy for ever. Here every opcode is a few lines of ours. They build plain values,
lists, tuples and dictionaries whose keys are text or numbers; the caller's functions make tensors
and arrays; everything else becomes `Inert`.
"""

import pickle
import pickletools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, BinaryIO, NamedTuple

# Of all pickles of a file. HRNet-W48 with an average and Adam's state has 0.6 MB and 300 000 steps;
# mmengine adds the history of its log, 16 bytes an iteration for each of its figures.
MAX_BYTES = 2**28  # where the numbers of tensors stand beside the pickle
MAX_WORK = 500_000  # opcodes and copied items: under a second
_COST_OF_NAME = 4  # a name takes the time of so many opcodes
_MAX_NAME = 500  # characters
_MAX_KEY_BITS = 64  # of a number that is a key: hashing a larger one takes long

_LITERALS = frozenset(
    (
        *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
        *("STRING", "BINSTRING", "SHORT_BINSTRING"),
        *("UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
        *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    )
)
_EMPTY: dict[str, Callable[[], Any]] = {
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
    "EMPTY_DICT": dict,
}
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_MAPPINGS = ("collections.OrderedDict", "collections.defaultdict")


class Name(NamedTuple):
    """What a pickle would import: `module.name`."""

    full_name: str


class Inert(NamedTuple):
    """An object that is no part of a state dict; `kind` names the type that it would have."""

    kind: str


class Unfinished:
    """What a function made of a name and arguments, and the opcode BUILD completes."""

    def set_state(self, state: Any) -> None:
        """Takes what the file says, any plain value, `Name` or `Inert`."""
        raise NotImplementedError


class Pickles:
    """The pickles in a file, and the bytes and work that may still be spent on them.

    A length in the file that is too large reserves no memory.

    Args:
      file: at the start of a pickle.
      most: bytes that the pickles may have; `MAX_BYTES` if it is left out.
    """

    def __init__(self, file: BinaryIO, most: int | None = None):
        self._file = file
        self._most = self._left = MAX_BYTES if most is None else most
        self._work_left = MAX_WORK

    def spend(self, work: int) -> None:
        self._work_left -= work
        if self._work_left < 0:
            raise pickle.UnpicklingError(
                f"its pickle takes over {MAX_WORK} steps: save the state dict alone"
            )

    def read(self, count: int) -> bytes:
        return self._counted(self._file.read(min(count, self._left + 1)))

    def readline(self) -> bytes:
        return self._counted(self._file.readline(self._left + 1))

    def _counted(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise pickle.UnpicklingError(f"its pickle has over {self._most} bytes")
        return data


def load(
    pickles: Pickles,
    *,
    names: Mapping[str, Any],
    functions: Mapping[str, Callable],
    persistent: Callable[[tuple], Any],
) -> Any:
    """Reads the next pickle of a file.

    Args:
      pickles: in the file, which is left after this one.
      names: full name -> the plain value that it stands for.
      functions: full name -> what makes a value of the arguments that a pickle gives it. The
        arguments are the file's: any plain value, `Name` or `Inert`.
      persistent: makes a value of a persistent id, a tuple.

    Returns:
      The value. It may be nested without end: neither hash nor compare nor format it.

    Raises:
      pickle.UnpicklingError: whatever is wrong with it.
    """
    try:
        return _Machine(pickles, names, functions, persistent).run()
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a damaged pickle fails in every way there is
        raise pickle.UnpicklingError(type(error).__name__) from None


class _Machine:
    """The stack machine whose program a pickle is."""

    def __init__(
        self,
        pickles: Pickles,
        names: Mapping[str, Any],
        functions: Mapping[str, Callable],
        persistent: Callable[[tuple], Any],
    ):
        self._pickles = pickles
        self._spend = pickles.spend
        self._names = names
        self._functions = functions
        self._persistent = persistent
        self._stack: list[Any] = []
        self._below: list[list[Any]] = []  # the stacks under each mark
        self._memo: dict[int, Any] = {}

    def run(self) -> Any:
        push = self._push
        for opcode, argument, _ in pickletools.genops(self._pickles):  # type: ignore[arg-type]
            self._spend(1)
            name = opcode.name
            if name == "STOP":
                return self._stack.pop()
            if name in _LITERALS:
                push(argument)
            elif name in _EMPTY:
                push(_EMPTY[name]())
            elif name in _CONSTANTS:
                push(_CONSTANTS[name])
            elif name in _TUPLES:
                push(tuple(self._popped(_TUPLES[name])))
            elif name in _HANDLERS:
                _HANDLERS[name](self, argument)
            elif name not in _IGNORED:
                raise pickle.UnpicklingError(f"its pickle has the opcode {name}")
        raise pickle.UnpicklingError("its pickle has no end")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _popped(self, count: int) -> list:
        if len(self._stack) < count:
            raise pickle.UnpicklingError("its pickle takes more than it has")
        items = self._stack[-count:]
        del self._stack[-count:]
        return items

    def _to_mark(self) -> list:
        items, self._stack = self._stack, self._below.pop()
        return items

    def mark(self, _: Any) -> None:
        self._below.append(self._stack)
        self._stack = []

    def pop(self, _: Any) -> None:
        if self._stack:
            self._stack.pop()
        else:
            self._to_mark()

    def pop_mark(self, _: Any) -> None:
        self._to_mark()

    def duplicate(self, _: Any) -> None:
        self._push(self._stack[-1])

    def put(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    def memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def get(self, number: int) -> None:
        self._push(self._memo[number])

    def tuple_of(self, _: Any) -> None:
        self._push(tuple(self._to_mark()))

    def list_of(self, _: Any) -> None:
        self._push(self._to_mark())

    def dict_of(self, _: Any) -> None:
        items = self._to_mark()
        self._push(_with_plain_keys({}, zip(items[::2], items[1::2], strict=True)))

    def set_of(self, _: Any) -> None:
        self._to_mark()
        self._push(Inert("set"))

    def empty_set(self, _: Any) -> None:
        self._push(Inert("set"))

    def append(self, _: Any) -> None:
        self._extend(self._popped(1))

    def append_marked(self, _: Any) -> None:
        self._extend(self._to_mark())

    def _extend(self, items: list) -> None:
        target = self._stack[-1]
        if type(target) is list:
            target.extend(items)

    def set_item(self, _: Any) -> None:
        self._set([tuple(self._popped(2))])

    def set_marked(self, _: Any) -> None:
        items = self._to_mark()
        self._set(zip(items[::2], items[1::2], strict=True))

    def _set(self, pairs: Iterable[tuple]) -> None:
        target = self._stack[-1]
        if type(target) is dict:
            _with_plain_keys(target, pairs)

    def build(self, _: Any) -> None:
        (state,) = self._popped(1)
        if isinstance(self._stack[-1], Unfinished):  # other objects keep no state
            self._stack[-1].set_state(state)

    def name(self, text: str) -> None:
        self._push(self._named(*text.split(" ", 1)))

    def stack_name(self, _: Any) -> None:
        self._push(self._named(*self._popped(2)))

    def _named(self, *parts: Any) -> Any:
        self._spend(_COST_OF_NAME)
        if not all(type(x) is str and len(x) <= _MAX_NAME and x.isprintable() for x in parts):
            raise pickle.UnpicklingError("its pickle has a name that is none")
        full_name = ".".join(parts)
        return self._names.get(full_name, Name(full_name))

    def reduce(self, _: Any) -> None:
        function, arguments = self._popped(2)
        self._push(self._call(function, arguments))

    def new_object_ex(self, _: Any) -> None:
        kind, arguments, _ = self._popped(3)
        self._push(self._call(kind, arguments))

    def instance(self, text: str) -> None:
        arguments = tuple(self._to_mark())
        self.name(text)
        (kind,) = self._popped(1)
        self._push(self._call(kind, arguments))

    def new_instance(self, _: Any) -> None:
        kind, *arguments = self._to_mark()
        self._push(self._call(kind, tuple(arguments)))

    def _call(self, function: Any, arguments: Any) -> Any:
        if type(function) is not Name or type(arguments) is not tuple:
            return Inert("object")
        self._spend(len(arguments))
        if function.full_name in _MAPPINGS:
            items = next((x for x in arguments if type(x) in (list, tuple)), ())
            self._spend(len(items))
            pairs = (x for x in items if type(x) in (list, tuple) and len(x) == 2)
            return _with_plain_keys({}, pairs)
        if function.full_name in self._functions:
            return self._functions[function.full_name](*arguments)
        return Inert(function.full_name)

    def persistent_id(self, _: Any) -> None:
        (pid,) = self._popped(1)
        if type(pid) is not tuple:
            raise pickle.UnpicklingError("its pickle has a persistent id that is no tuple")
        self._push(self._persistent(pid))

    def extension(self, _: Any) -> None:
        self._push(Inert("extension"))


def _with_plain_keys(target: dict, pairs: Iterable[tuple]) -> dict:
    """Adds to a dict the pairs whose key is text or a number of common size."""
    for key, value in pairs:
        if type(key) is str or (type(key) in (int, bool) and key.bit_length() <= _MAX_KEY_BITS):
            target[key] = value
    return target


_HANDLERS: dict[str, Callable[[_Machine, Any], None]] = {
    "MARK": _Machine.mark,
    "POP": _Machine.pop,
    "POP_MARK": _Machine.pop_mark,
    "DUP": _Machine.duplicate,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), _Machine.put),
    "MEMOIZE": _Machine.memoize,
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), _Machine.get),
    "TUPLE": _Machine.tuple_of,
    "LIST": _Machine.list_of,
    "DICT": _Machine.dict_of,
    "EMPTY_SET": _Machine.empty_set,
    "FROZENSET": _Machine.set_of,
    "APPEND": _Machine.append,
    "APPENDS": _Machine.append_marked,
    "ADDITEMS": _Machine.pop_mark,
    "SETITEM": _Machine.set_item,
    "SETITEMS": _Machine.set_marked,
    "BUILD": _Machine.build,
    "GLOBAL": _Machine.name,
    "STACK_GLOBAL": _Machine.stack_name,
    **dict.fromkeys(("REDUCE", "NEWOBJ"), _Machine.reduce),
    "NEWOBJ_EX": _Machine.new_object_ex,
    "INST": _Machine.instance,
    "OBJ": _Machine.new_instance,
    "BINPERSID": _Machine.persistent_id,
    **dict.fromkeys(("EXT1", "EXT2", "EXT4"), _Machine.extension),
}
_IGNORED = ("PROTO", "FRAME")
