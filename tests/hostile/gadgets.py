"""Pickles that would run something, by family of opcodes and by name; each would leave a file.

Harmless: whatever ran would create an empty file of a name that the test looks for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from tests.hostile.torch_files import integer, name_of, text

__all__ = ["CALLS", "CONTROLS", "NAMES", "REFUSED", "arguments"]

NAMES = [
    ("os", "system"), ("posix", "system"), ("nt", "system"), ("os", "popen"), ("os", "mkdir"),
    ("os", "mkfifo"), ("os", "execl"), ("os", "fork"), ("os", "abort"), ("os", "_exit"),
    ("posixpath", "os.system"), ("subprocess", "Popen"), ("subprocess", "call"),
    ("subprocess", "check_output"), ("subprocess", "getoutput"), ("commands", "getoutput"),
    ("pty", "spawn"), ("builtins", "eval"), ("builtins", "exec"), ("builtins", "compile"),
    ("builtins", "open"), ("builtins", "__import__"), ("builtins", "getattr"),
    ("builtins", "setattr"), ("builtins", "map"), ("builtins", "type"), ("builtins", "object"),
    ("__builtin__", "eval"), ("__builtin__", "execfile"), ("__main__", "x"),
    ("importlib", "import_module"), ("importlib", "reload"), ("imp", "load_source"),
    ("runpy", "run_path"), ("runpy", "run_module"), ("code", "interact"), ("codeop", "compile"),
    ("codecs", "decode"), ("codecs", "open"), ("_codecs", "lookup"),
    ("io", "open"), ("_io", "FileIO"), ("pathlib", "Path.touch"), ("pathlib", "PosixPath"),
    ("shutil", "copyfile"), ("shutil", "rmtree"), ("tempfile", "mkdtemp"), ("functools", "partial"),
    ("functools", "reduce"), ("operator", "attrgetter"), ("operator", "methodcaller"),
    ("operator", "call"), ("itertools", "starmap"), ("types", "FunctionType"),
    ("types", "CodeType"), ("types", "SimpleNamespace"), ("marshal", "loads"), ("pickle", "loads"),
    ("_pickle", "Unpickler"), ("copyreg", "_reconstructor"), ("copy_reg", "_reconstructor"),
    ("copyreg", "__newobj__"), ("copyreg", "add_extension"), ("ctypes", "CDLL"),
    ("_ctypes", "dlopen"), ("timeit", "timeit"), ("cProfile", "run"), ("pdb", "run"),
    ("doctest", "debug_script"), ("webbrowser", "open"), ("socket", "create_connection"),
    ("urllib.request", "urlopen"), ("multiprocessing.util", "spawnv_passfds"),
    ("asyncio", "run"), ("sys", "modules.os.system"), ("sys", "setrecursionlimit"),
    ("signal", "raise_signal"), ("atexit", "register"), ("threading", "Thread"),
    ("numpy", "load"), ("numpy", "fromfile"), ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py.crackfortran", "myeval"), ("numpy", "memmap"),
    ("numpy.core.multiarray", "fromstring"), ("torch", "load"), ("torch.serialization", "load"),
    ("torch.jit", "load"), ("torch.jit.unsupported_tensor_ops", "execWrapper"),
    ("torch.hub", "load"), ("torch.package", "PackageImporter"), ("torch._inductor.codecache", "x"),
    ("torch.utils.cpp_extension", "load"), ("torch.utils._config_module", "load_config"),
    ("torch.distributed.rpc.internal", "_internal_rpc_pickler"), ("torch.fx.graph", "_exec_with"),
    ("torch._utils", "_import_dotted_name"), ("torch._utils", "_rebuild_device_tensor_from_numpy"),
    ("torch._utils", "_rebuild_tensor_v2.__globals__"), ("torch.storage", "_load_from_bytes"),
    ("torch.storage", "os.system"), ("torch", "os.system"), ("torch.nn.modules.module", "Module"),
    ("collections", "OrderedDict.__class__"), ("collections", "namedtuple"),
    ("argparse", "FileType"), ("argparse", "Namespace.__init__.__globals__"),
    ("cpm_lm.checkpoints.convert", "convert"), ("cpm_lm.checkpoints.staging", "staged"),
    ("jinja2", "Template"), ("yaml", "unsafe_load"), ("dill", "loads"), ("cloudpickle", "loads"),
    ("tensorflow.io", "write_file"), ("keras.layers", "Lambda"), ("", ""), ("os\x00", "system"),
    ("..", "system"), ("\u202esys", "exit"),
]  # fmt: skip
"""By module and name: of the standard library, of libraries at hand, and of none."""


def arguments(mark: str) -> tuple[bytes, ...]:
    """Arguments with which one or the other would leave a file: a command, a program, a name."""
    command = text(f"touch {mark}")
    return command, text(f"open({mark!r}, 'w').close()"), text(mark), text(mark) + text("w")


def _stack_name(module: str, name: str) -> bytes:
    return text(module) + text(name) + b"\x93"


Call = Callable[[str, str, bytes], bytes]
CALLS: dict[str, Call] = {
    "REDUCE": lambda m, n, a: name_of(m, n) + b"(" + a + b"tR",
    "REDUCE of TUPLE1": lambda m, n, a: name_of(m, n) + b"(" + a + b"tq\x05R",
    "INST": lambda m, n, a: b"(" + a + b"i" + name_of(m, n)[1:],
    "OBJ": lambda m, n, a: b"(" + name_of(m, n) + a + b"o",
    "NEWOBJ": lambda m, n, a: name_of(m, n) + b"(" + a + b"t\x81",
    "NEWOBJ_EX": lambda m, n, a: name_of(m, n) + b"(" + a + b"t}\x92",
    "NEWOBJ_EX with names": lambda m, n, a: name_of(m, n) + b")}" + text("args") + a[:0]
    + b"(" + a + b"ts\x92",
    "STACK_GLOBAL": lambda m, n, a: _stack_name(m, n) + b"(" + a + b"tR",
    "STACK_GLOBAL and NEWOBJ": lambda m, n, a: _stack_name(m, n) + b"(" + a + b"t\x81",
    "BUILD": lambda m, n, a: name_of(m, n) + b")R}" + text("x") + b"(" + a + b"tsb",
    "BUILD of a class": lambda m, n, a: name_of(m, n) + b"}" + text("__setstate__") + name_of(m, n)
    + b"sb(" + a + b"tb",
    "BUILD by slots": lambda m, n, a: name_of(m, n) + b")\x81N}" + text("x") + b"(" + a
    + b"ts\x86b",
    "APPEND": lambda m, n, a: name_of(m, n) + b"(" + a + b"ta",
    "APPENDS": lambda m, n, a: name_of(m, n) + b"(" + a + b"e",
    "ADDITEMS": lambda m, n, a: name_of(m, n) + b"(" + a + b"\x90",
    "SETITEM": lambda m, n, a: name_of(m, n) + text("k") + b"(" + a + b"ts",
    "SETITEMS": lambda m, n, a: name_of(m, n) + b"(" + text("k") + b"(" + a + b"tu",
    "key": lambda m, n, a: b"}" + name_of(m, n) + b"(" + a + b"tRNs",
    "in a set": lambda m, n, a: b"\x8f(" + name_of(m, n) + b"(" + a + b"tR\x90",
    "in a frozen set": lambda m, n, a: b"(" + name_of(m, n) + b"(" + a + b"tR\x91",
    "through getattr": lambda m, n, a: name_of("builtins", "getattr") + name_of(
        "builtins", "__import__") + text(m) + b"\x85R" + text(n) + b"\x86R(" + a + b"tR",
    "through map": lambda m, n, a: name_of("builtins", "map") + name_of(m, n) + b"](" + a
    + b"e\x86R",
    "through OrderedDict": lambda m, n, a: name_of("collections", "OrderedDict") + b"]" + name_of(
        m, n) + b"(" + a + b"tRN\x86a\x85R",
    "through defaultdict": lambda m, n, a: name_of("collections", "defaultdict") + name_of(m, n)
    + b"\x85R",
    "through a parameter": lambda m, n, a: name_of("torch._utils", "_rebuild_parameter") + name_of(
        m, n) + b"(" + a + b"tR\x85R",
    "through a retyped tensor": lambda m, n, a: name_of("torch._tensor", "_rebuild_from_type_v2")
    + b"(" + name_of(m, n) + name_of("torch", "Tensor") + b"(" + a + b"tNtR",
    "through a tensor's class": lambda m, n, a: name_of("torch._tensor", "_rebuild_from_type_v2")
    + b"(" + name_of("torch._utils", "_rebuild_tensor_v2") + name_of(m, n) + b"(" + a + b"tNtR",
    "BINPERSID of a module": lambda m, n, a: b"(" + text("module") + name_of(m, n) + a + b"tQ",
    "BINPERSID of a storage": lambda m, n, a: b"(" + text("storage") + name_of(m, n) + text("0")
    + text("cpu") + integer(4) + b"tQ",
    "through a tensor's storage": lambda m, n, a: name_of("torch._utils", "_rebuild_tensor_v2")
    + b"((" + text("storage") + name_of(m, n) + text("0") + text("cpu") + integer(4)
    + b"tQK\x00)))NtR",
    "after a BYTEARRAY8": lambda m, n, a: b"\x96" + struct.pack("<Q", 2) + b"ab0" + name_of(m, n)
    + b"(" + a + b"tR",
    "in a frame": lambda m, n, a: b"\x95" + struct.pack("<Q", 3) + name_of(m, n) + b"(" + a + b"tR",
}  # fmt: skip
"""By family: opcodes that call a name with arguments. They are read, and call nothing."""

REFUSED: dict[str, tuple[bytes, str]] = {
    "EXT1": (b"\x82\x01)R", "EXT1 is not allowed"),
    "EXT2": (b"\x83\x01\x00)R", "EXT2 is not allowed"),
    "EXT4": (b"\x84\x01\x00\x00\x00)R", "EXT4 is not allowed"),
    "PERSID": (b"Pos.system\n", "PERSID is not allowed"),
    "NEXT_BUFFER": (b"\x97", "NEXT_BUFFER is not allowed"),
    "READONLY_BUFFER": (b"\x98", "READONLY_BUFFER is not allowed"),
    "BINPERSID of a name": (name_of("os", "system") + b"Q", "expected a storage"),
    "BINPERSID of a text": (text("os.system") + b"Q", "expected a storage"),
    "key that is a list": (b"}](" + name_of("os", "system") + b"eNs", "a key of a dictionary"),
    "state of a known class": (
        name_of("argparse", "Namespace") + b"N}" + text("__call__") + name_of("os", "system")
        + b"s\x86b", "is given a state"),
    "state of a quiet function": (name_of("_codecs", "encode") + b"Nb", "is given a state"),
    "state of a tensor's function": (
        name_of("torch._utils", "_rebuild_tensor_v2") + b"}" + text("__globals__") + b"}sb",
        "is given a state"),
}  # fmt: skip
"""By family: opcodes that no file of torch.save has, and the error."""

CONTROLS = ("REDUCE", "INST", "OBJ", "STACK_GLOBAL", "in a frozen set", "through getattr")
"""Families that Python's own pickle runs with `os.system`: it shows that the gadgets are live."""
