"""xDSL reads every valid module of the tests and writes it as it was, and refuses wrong ones."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "python"))

import test_xdsl

for name in test_xdsl.MODULES:
    test_xdsl.test_every_module_is_read_and_written(name)
for wrong in test_xdsl.WRONG:
    test_xdsl.test_refuses_what_is_wrong(*wrong)
print(f"{len(test_xdsl.MODULES)} of {len(test_xdsl.MODULES)} modules read, verified and written as they were")
