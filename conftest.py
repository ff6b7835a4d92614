"""Two test workers share the machine's cores: one thread each, in this process and in what it starts (notebook kernels,
commands). More threads than cores make PyTorch wait for itself."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
