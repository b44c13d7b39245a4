"""Engines by name and by `auto`, threads, and choices that a process can make once."""

from __future__ import annotations

import ctypes
import re
import subprocess
import sys
from pathlib import Path

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from cpm_lm.checkpoints.convert import convert
from cpm_lm.engines import select
from cpm_lm.engines.machine import cores
from cpm_lm.engines.native.engine import NativeEngine
from cpm_lm.engines.select import open_engine
from cpm_lm.errors import CheckpointError, EngineError
from cpm_lm.gpt import backend
from cpm_lm.installation import pip_install


@pytest.fixture(scope="module")
def store(checkpoints: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("select") / "store"
    convert(checkpoints / "tiny-mp1", target, heads=4)
    return target


def run(script: str, *arguments: object) -> list[str]:
    """Run a script in its own process and return its lines; its stderr must be empty."""
    command = [sys.executable, "-W", "error", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_an_unknown_name_lists_the_known_ones(store):
    with pytest.raises(EngineError, match=r"'torch' is unknown.*auto, native, tensorflow"):
        open_engine(store, engine="torch")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("gpu", "installed", "name"),
    [
        (True, {"jax", "tensorflow", "keras"}, "jax"),
        (True, {"tensorflow", "keras"}, "tensorflow"),
        (True, {"jax"}, "reference"),
        (True, {"jax", "cpm_lm._native"}, "native"),
        (True, set(), "reference"),
        (False, {"jax", "tensorflow", "keras"}, "reference"),
        (False, {"jax", "tensorflow", "keras", "cpm_lm._native"}, "native"),
    ],
)
def test_auto_chooses_by_gpu_and_installed_backends(monkeypatch, gpu, installed, name):
    monkeypatch.setattr(select, "has_gpu", lambda: gpu)
    monkeypatch.setattr(select, "find_spec", lambda package: package in installed or None)
    assert select.automatic() == name


@pytest.mark.parametrize(
    ("answers", "devices", "usable"), [(0, 1, True), (0, 0, False), (100, 1, False)]
)
def test_a_gpu_is_found_through_the_driver(monkeypatch, answers, devices, usable):
    class Driver:
        def cuInit(self, flags):  # noqa: N802 - a name of the driver
            return answers

        def cuDeviceGetCount(self, count):  # noqa: N802
            count._obj.value = devices
            return 0

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver())
    assert select.has_gpu() is usable


def test_without_a_driver_there_is_no_gpu(monkeypatch):
    def missing(name):
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert not select.has_gpu()


def test_the_reference_engine_sets_the_blas_threads(store):
    with threadpool_limits():  # restores the settings
        open_engine(store, engine="reference", threads=1)
        assert {
            pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"
        } == {1}


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("threads", [-1, 0, 1025, 10**9])
def test_an_impossible_number_of_threads_is_refused(store, engine, threads):
    with pytest.raises(EngineError, match=f"threads is {threads}; 1 to 1024 were expected"):
        open_engine(store, engine=engine, threads=threads)


def test_cpm_threads_is_the_default_number_of_threads(store, monkeypatch):
    def threads(given: int | None = None) -> int:
        engine = open_engine(store, engine="native", threads=given)
        assert isinstance(engine, NativeEngine)
        return engine.threads

    monkeypatch.setenv("CPM_THREADS", "3")
    assert threads() == 3
    assert threads(2) == 2
    monkeypatch.setenv("CPM_THREADS", "")
    assert threads() == cores()


@pytest.mark.parametrize("value", ["0", "two", "-1", "1.5", "1025", "²"])
def test_a_bad_cpm_threads_is_refused(store, monkeypatch, value):
    monkeypatch.setenv("CPM_THREADS", value)
    with pytest.raises(EngineError, match=r"CPM_THREADS is .* 1 to 1024 was expected"):
        open_engine(store, engine="native")


def test_options_of_the_native_engine_are_refused_by_others(store):
    with pytest.raises(EngineError, match="cache_dtype was given, which the reference engine"):
        open_engine(store, engine="reference", cache_dtype="f16")
    with pytest.raises(EngineError, match="cache_dtype is 'f8'; expected 'f32' or 'f16'"):
        open_engine(store, engine="native", cache_dtype="f8")  # type: ignore[arg-type]
    with pytest.raises(EngineError, match="cache_bytes is 0; at least 1"):
        open_engine(store, engine="native", cache_bytes=0)


# The package without kernels, as it is with CPM_NO_NATIVE=1.
WITHOUT = """if True:
    import sys
    sys.modules["cpm_lm._native"] = None
    from cpm_lm.engines.select import open_engine
    from cpm_lm.errors import EngineError
    print(open_engine(sys.argv[1]).name)
    try:
        open_engine(sys.argv[1], engine="native")
    except EngineError as error:
        print(error)
    from cpm_lm.cli import main
    sys.argv[1:] = ["sample", "1+1=", "--max-tokens", "1", "--seed", "1"]
    main()
"""


def test_without_the_kernels(store):
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, str(store)], capture_output=True, text=True, check=True
    )
    name, error, printed = done.stdout.splitlines()
    assert name == "reference"
    assert "CPM_NO_NATIVE" in error
    assert "reference engine" in error
    assert printed
    slow = f"the compiled kernels are not installed, so the reference engine.*{pip_install()}"
    library, command, footer = [x for x in done.stderr.splitlines() if not x.startswith(" ")]
    assert re.search(f"UserWarning|SlowEngineWarning: {slow}", library)
    assert re.fullmatch(f"# {slow}", command)  # one line, without a place in a source file
    assert footer.endswith(", reference")


@pytest.mark.parametrize("engine", ["native", "tensorflow", "jax", "reference"])
def test_a_missing_store_is_a_one_line_error(tmp_path, engine):
    with pytest.raises(CheckpointError, match="nothing does not exist"):
        open_engine(tmp_path / "nothing", engine=engine)


@pytest.mark.parametrize("missing", ["jax", "keras"])
def test_a_missing_extra_names_the_pip_command(monkeypatch, store, missing):
    monkeypatch.setattr(backend, "_running", lambda: None)
    monkeypatch.setattr(backend, "find_spec", lambda name: None if name == missing else True)
    expected = f"{missing} is not installed; {pip_install('jax')}"
    with pytest.raises(EngineError, match=re.escape(expected)):
        open_engine(store, engine="jax")


def test_another_backend_in_keras_backend_is_refused(monkeypatch):
    monkeypatch.setattr(backend, "_running", lambda: None)
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    with pytest.raises(EngineError, match="KERAS_BACKEND is 'torch'"):
        backend.use_backend()


@pytest.mark.parametrize("engine", ["auto", "native", "reference"])
def test_native_and_reference_import_no_framework(store, engine):
    script = """if True:
        import sys
        from cpm_lm.engines.select import open_engine
        open_engine(sys.argv[1], engine=sys.argv[2], threads=1).session(4).extend([1], [-1])
        print(sorted({"keras", "tensorflow", "jax", "torch"} & set(sys.modules)))
    """
    assert run(script, store, engine) == ["[]"]


# One process for each backend tests several things, because TensorFlow takes seconds to start: no
# output, the threads, and that backend and threads cannot change afterwards.
PROCESS = """if True:
    import sys
    from cpm_lm.engines.select import open_engine
    from cpm_lm.errors import EngineError
    store, ours, other = sys.argv[1:]
    engine = open_engine(store, engine=ours, threads=1)
    engine.session(4).extend([1], [-1])
    open_engine(store, engine=ours, threads=1)
    if ours == "tensorflow":
        import tensorflow
        print(tensorflow.config.threading.get_intra_op_parallelism_threads())
    else:
        from pathlib import Path
        names = [(task / "comm").read_text() for task in Path("/proc/self/task").iterdir()]
        print(sum("XLAEigen" in name for name in names))
    for engine, threads in (ours, 7), (other, None):
        try:
            open_engine(store, engine=engine, threads=threads)
        except EngineError as error:
            print(error)
"""


@pytest.mark.parametrize(("ours", "other"), [("tensorflow", "jax"), ("jax", "tensorflow")])
def test_one_backend_and_one_number_of_threads_in_a_process(store, ours, other):
    threads, changed, switched = run(PROCESS, store, ours, other)
    assert threads == "1"
    assert "already started with another number of threads than 7" in changed
    assert f"Keras already runs on {ours} in this process, and {other} was asked for" in switched
