"""`python -m hpcretrain`."""

from __future__ import annotations

import sys

from hpcretrain.cli import main

sys.exit(main())
