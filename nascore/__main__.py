"""`python -m nascore` is the command `nascore`."""

import sys

from nascore.cli import main

sys.exit(main())
