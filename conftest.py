"""Two test workers share the machine's cores: one thread each, in this process and in what it starts (notebook kernels,
commands). More threads than cores make PyTorch wait for itself. And nothing fails for being slow: neither an example of
hypothesis, nor a notebook's kernel that takes long to start or to say what it has printed.
A shell's background job ignores Ctrl-C, nohup's ignores a terminal that closes, and so does what they start: here both
count, for the tests that do it."""

import atexit
import os
import shutil
import signal
import tempfile

from hypothesis import HealthCheck, settings
from jupyter_client.connect import LocalPortCache

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")
signal.signal(signal.SIGINT, signal.default_int_handler)
if hasattr(signal, "SIGHUP"):  # Windows has none
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Kernels of two workers would write their history into one database in the home directory.
os.environ["IPYTHONDIR"] = tempfile.mkdtemp(prefix="nascore-ipython-")
atexit.register(shutil.rmtree, os.environ["IPYTHONDIR"], ignore_errors=True)

HANGS = 900  # seconds after which a wait is given up, so that what hangs ends


def pytest_configure(config):
    config.option.nbval_kernel_startup_timeout = HANGS
    if worker := getattr(config, "workerinput", None):  # one of pytest-xdist's
        # A kernel's ports are chosen while they are free and taken when it has started: no two workers choose from the
        # same ones. (In pairs, as Linux gives out odd ones first.)
        number, workers = int(worker["workerid"].removeprefix("gw")), worker["workercount"]
        others = (port for port in range(2**16) if (port // 2 - number) % workers)
        LocalPortCache.instance().currently_used_ports.update(others)


def pytest_itemcollected(item):
    if hasattr(item, "output_timeout"):  # a notebook's cell; nbval's own limit is 5 seconds
        item.output_timeout = HANGS
