"""Two test workers share the machine's cores: one thread each, in this process and in what it starts (notebook kernels,
commands). More threads than cores make PyTorch wait for itself; and no example of hypothesis fails for being slow.
A shell's background job ignores Ctrl-C, and so does what it starts: here it counts, for the tests that press it."""

import os
import signal

from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
signal.signal(signal.SIGINT, signal.default_int_handler)
