"""Run a command and succeed only where it exits with the code given first."""

import subprocess
import sys

wanted, *command = sys.argv[1:]
code = subprocess.run(command, check=False).returncode
sys.exit(0 if code == int(wanted) else f"expected exit code {wanted}, got {code}")
