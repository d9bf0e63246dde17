"""lutllm in other compilers: each in an environment of its own with its real package, the versions pinned here.

python test/bench/hosts.py [iree] [jaxlib] [xdsl]   all without arguments; environments go to build/hosts/

Prints a line a host, what `in_hosts/NAME_host.py` found there, and exits with 1 where one differs. A host's environment
sees its own packages first, then those of the Python that runs this.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOSTS = {
    "iree": ("iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0"),
    "jaxlib": ("jaxlib==0.10.2",),
    "xdsl": ("xdsl==0.75.0",),
}


def environment(name: str) -> Path:
    """The Python of a host, made where it is missing or of other versions."""
    folder = ROOT / "build" / "hosts" / name
    python, stamp, pins = folder / "bin" / "python", folder / "pins.txt", "\n".join(HOSTS[name])
    if not stamp.is_file() or stamp.read_text() != pins:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *HOSTS[name]], check=True)
        packages = Path(next(folder.glob("lib/python*/site-packages")))
        ours = sysconfig.get_paths()["purelib"]
        packages.joinpath("zz_lutllm.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
        stamp.write_text(pins)
    return python


def main() -> int:
    names = sys.argv[1:] or list(HOSTS)
    if unknown := set(names) - set(HOSTS):
        sys.exit(f"expected hosts among {', '.join(HOSTS)}, got {', '.join(sorted(unknown))}")
    failed = 0
    for name in names:
        script = Path(__file__).parent / "in_hosts" / f"{name}_host.py"
        done = subprocess.run([environment(name), script], capture_output=True, text=True)
        failed += done.returncode != 0
        said = (done.stdout if done.returncode == 0 else done.stdout + done.stderr).strip()
        print(f"{name:8} {'equal ' if done.returncode == 0 else 'FAILED'} {' '.join(HOSTS[name])}: {said}", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
