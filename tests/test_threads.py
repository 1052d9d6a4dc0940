"""Threads, processes and interruptions: the same bits whatever the division of work, and nothing hangs."""

import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import fastnn
from fastnn import _core
from fastnn.layers import Concatenate, Dense, Dropout, Input
from fastnn.models import Model, Sequential
from fastnn.training import trainer
from fastnn.utils.seeding import set_random_seed


def small():
    return Sequential([Input((20,)), Dense(16, activation="relu"), Dropout(0.3), Dense(4, activation="softmax")])


def wide():
    return Sequential([Input((20,)), Dense(300, activation="tanh", kernel_regularizer="l2"), Dropout(0.5),
                       Dense(300, activation="gelu"), Dense(4, activation="softmax")])  # fmt: skip


def branched():
    x = Input((20,))
    y = Concatenate()([Dense(40, activation="relu")(x), Dense(24, activation="elu")(x)])
    return Model(x, Dense(4, activation="softmax")(Dropout(0.2)(y)))


NETS = [small, wide, branched]


def data(rows=333):
    rng = np.random.default_rng(0)
    return rng.normal(size=(rows, 20)).astype(np.float32), rng.integers(0, 4, rows)


def train(make, batch=64, epochs=2, optimizer="adam"):
    set_random_seed(9)
    model = make()
    model.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    x, t = data()
    history = model.fit(x, t, batch_size=batch, epochs=epochs, validation_split=0.2, verbose=0).history
    return [*model.get_weights(), model.predict(x, batch_size=100, verbose=0), *history.values()]


def same(a, b):
    return all(np.array_equal(u, v) for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize("batch", [1, 7, 64, 250])
@pytest.mark.parametrize("make", NETS)
def test_same_bits_for_any_number_of_threads(make, batch, threads):
    if batch == 1 and make is wide:
        batch = 3
    threads(1)
    expected = train(make, batch)
    for n in (2, 3, 8):
        threads(n)
        assert same(train(make, batch), expected), f"{n} threads"


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "adamw", "lion"])
def test_same_bits_with_every_optimizer(optimizer, threads):
    threads(1)
    expected = train(wide, 32, 1, optimizer)
    threads(2)
    assert same(train(wide, 32, 1, optimizer), expected)


@pytest.mark.parametrize("seconds", [1e-9, 1e-4])
@pytest.mark.parametrize("n", [1, 2])
def test_same_bits_for_any_chunking(seconds, n, threads, monkeypatch):
    threads(n)
    expected = train(branched, 8)
    monkeypatch.setattr(trainer, "CHUNK_SECONDS", seconds)
    assert same(train(branched, 8), expected)


def test_two_models_train_in_two_threads(threads):
    threads(2)
    expected = {make: train(make) for make in (wide, branched)}
    x, t = data()
    models = {}
    for make in (wide, branched):
        set_random_seed(9)
        models[make] = make()
        models[make].compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    found = {}

    def work(make):
        history = models[make].fit(x, t, batch_size=64, epochs=2, validation_split=0.2, verbose=0).history
        found[make] = [*models[make].get_weights(), models[make].predict(x, batch_size=100, verbose=0),
                       *history.values()]  # fmt: skip

    workers = [threading.Thread(target=work, args=(make,)) for make in models]
    for w in workers:
        w.start()
    for w in workers:
        w.join(60)
        assert not w.is_alive()
    for make in models:
        assert same(found[make], expected[make])


def test_one_plan_in_two_threads_is_refused(threads):
    """A step has one memory: the second run fails, the first is not disturbed."""
    threads(1)
    model = Sequential([Input((256,)), Dense(512, activation="tanh"), Dense(512, activation="tanh"), Dense(1)])
    x = np.random.default_rng(0).normal(size=(20000, 256)).astype(np.float32)
    expected = model.predict(x[:256], batch_size=128, verbose=0)
    (step,) = model._steps.values()
    out = np.empty((len(x), 1), np.float32)
    step.bind([x])
    step.bind_outputs([out])
    refused, done = [], threading.Event()

    def run(last):
        """Tries until the plan is free; the refusals are kept."""
        while True:
            try:
                return step.core.run(0, last, 128)
            except RuntimeError as error:
                refused.append(str(error))

    def long():
        run(len(x))
        done.set()

    worker = threading.Thread(target=long)
    worker.start()
    while not done.is_set():
        run(128)
    worker.join(60)
    assert np.array_equal(out[:128], expected[:128]) and np.isfinite(out).all()
    assert refused and "already running" in refused[0]
    assert np.array_equal(model.predict(x[:256], batch_size=128, verbose=0), expected)


# ---- fork ----


def in_child(work):
    """Exit status of a forked child that runs `work`, with a limit of 60 s."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            status = 0 if work() else 2
        finally:
            os._exit(status)
    for _ in range(600):
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child hangs")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Python warns of fork beside threads: that is the test
def test_fork_after_training(threads):
    threads(2)
    expected = train(wide)
    assert in_child(lambda: same(train(wide), expected)) == 0
    assert same(train(wide), expected)
    # a child's child
    assert in_child(lambda: in_child(lambda: same(train(branched), train(branched))) == 0) == 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_fork_while_another_thread_trains(threads):
    threads(2)
    expected = train(branched)
    stop = threading.Event()

    def work():
        while not stop.is_set():
            model = wide()
            model.compile("sgd", "sparse_categorical_crossentropy")
            model.fit(*data(), epochs=2, verbose=0)

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(3):
            assert in_child(lambda: same(train(branched), expected)) == 0
    finally:
        stop.set()
        worker.join(60)


def _train_in_pool(n):
    fastnn.set_num_threads(n)
    return train(branched, epochs=1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_multiprocessing_fork(threads):
    threads(2)
    expected = train(branched, epochs=1)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for found in pool.map_async(_train_in_pool, [1, 2, 2, 1]).get(timeout=60):
            assert same(found, expected)


# ---- Ctrl-C ----

INTERRUPTED = """
    import signal, sys
    import numpy as np
    import fastnn
    from fastnn.layers import Dense, Input
    from fastnn.models import Sequential

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    fastnn.set_num_threads(int(sys.argv[1]))
    rows, width = int(sys.argv[2]), int(sys.argv[3])
    model = Sequential([Input((64,)), Dense(width, activation="relu"), Dense(width, activation="relu"), Dense(1)])
    model.compile("adam", "mse")
    x, y = np.random.default_rng(0).normal(size=(rows, 64)).astype("float32"), np.zeros((rows, 1), "float32")
    batch = int(sys.argv[4])
    model.fit(x[:batch], y[:batch], batch_size=batch, verbose=0)
    print("ready", flush=True)
    try:
        model.fit(x, y, batch_size=batch, epochs=100000, verbose=0)
        print("not interrupted")
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    assert np.isfinite(model.evaluate(x[:64], y[:64], verbose=0))
    model.fit(x[:64], y[:64], verbose=0)
    assert model.predict(x[:5], verbose=0).shape == (5, 1)
    print("usable", flush=True)
"""


@pytest.mark.skipif("TSAN_OPTIONS" in os.environ, reason="half a second is for code without a sanitizer")
@pytest.mark.parametrize("n,rows,width,batch", [(1, 4096, 16, 4), (2, 4096, 256, 256), (1, 65536, 512, 4096)])
def test_control_c(n, rows, width, batch):
    command = [sys.executable, "-c", textwrap.dedent(INTERRUPTED), *map(str, (n, rows, width, batch))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(0.3)
            start = time.perf_counter()
            child.send_signal(signal.SIGINT)
            assert child.stdout.readline() == "interrupted\n"
            took = time.perf_counter() - start
            assert child.stdout.readline() == "usable\n"
            assert child.wait(30) == 0
        finally:
            child.kill()
    assert took < 0.5


# ---- how many threads ----


def ask(code, **environment):
    clean = {k: v for k, v in os.environ.items() if k not in ("FASTNN_NUM_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env={**clean, **environment})
    return done.stdout.strip() if done.returncode == 0 else done.stderr.strip().splitlines()[-1]


THREADS = "import fastnn; print(fastnn.get_num_threads())"


def test_numbers_from_the_environment():
    usable = len(os.sched_getaffinity(0))
    assert 1 <= int(ask(THREADS)) <= usable
    assert ask(THREADS, FASTNN_NUM_THREADS="3") == "3"
    assert ask(THREADS, OMP_NUM_THREADS="1") == "1"
    assert int(ask(THREADS, OMP_NUM_THREADS="64")) <= usable
    assert ask(THREADS, OMP_NUM_THREADS="1", FASTNN_NUM_THREADS="2") == "2"
    assert ask(THREADS, OMP_NUM_THREADS="4,2") == ask(THREADS)
    for wrong in ("0", "-1", "many", "1000"):
        assert "FASTNN_NUM_THREADS must be an integer from 1 to 256" in ask(THREADS, FASTNN_NUM_THREADS=wrong)


def test_affinity_is_respected():
    one = min(os.sched_getaffinity(0))
    code = f"import os; os.sched_setaffinity(0, {{{one}}}); {THREADS}"
    assert ask(code) == "1"


@pytest.mark.parametrize("n", [0, -1, 257, 1.5, "2", True, None])
def test_impossible_numbers(n):
    with pytest.raises(ValueError, match="set_num_threads"):
        fastnn.set_num_threads(n)


def test_runtime_info():
    info = fastnn.runtime_info()
    assert info["isa"] in info["isas"] and info["threads"] == fastnn.get_num_threads()
    assert info["isa"] == _core.isa()


def test_many_more_threads_than_processors(threads):
    threads(64)
    expected = train(branched, epochs=1)
    threads(1)
    assert same(train(branched, epochs=1), expected)
