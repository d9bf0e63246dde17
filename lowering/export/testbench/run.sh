#!/bin/sh
# Builds the bench with Verilator and runs it; what it prints ends with PASS or FAIL, its exit code is 0 or 1.
set -eu

usage() {
  cat <<USAGE
usage: $0 [options]
  --image FILE       memory image (@IMAGE@)
  --expected FILE    model, prompt and expected tokens (expected.txt)
  --latency CYCLES   of the memory, at least 1 (@LATENCY@)
  --stalls N         chance in 256 that an AXI channel pauses in a cycle (0)
  --seed N           of the stalls, and of what registers and memories hold before the reset (1)
  --watchdog CYCLES  without any movement until the run fails
  --verify 1         have the driver load the image and the accelerator check it before the run (0)
  --abort CYCLES     end a first run after so many, and reset the accelerator (0: no such run)
Files without a path given are those beside this script. Environment: BUILD, the build folder (build beside this
script); OPT, what the C++ compiler gets (-O2); JOBS, of make (2).
USAGE
}

case "${1-}" in -h | --help) usage && exit 0 ;; esac
tb=$(cd "$(dirname "$0")" && pwd)
build=${BUILD:-$tb/build}
for program in verilator g++ make; do
  command -v $program >/dev/null || { echo "expected program '$program' on the path, got none" >&2; exit 1; }
done
case $build in *" "*)
  echo "expected a build folder without a space, as make wants it, got '$build'; set BUILD to another" >&2
  exit 1 ;;
esac
mkdir -p "$build"
build=$(cd "$build" && pwd)

# Links, because other folders may have spaces too. The log is shown only where the build fails.
ln -sfn "$tb" "$build/tb"
ln -sfn "$tb/@RTL@" "$build/rtl"
if ! (cd "$build" && verilator --cc --exe --build -O3 -j "${JOBS:-2}" -Wno-lint -Wno-fatal \
  --x-initial unique --x-assign fast --output-split 20000 --output-split-cfuncs 400 \
  --top-module @TOP@ --prefix Vmodel --Mdir . -o bench \
  -CFLAGS "-std=c++17 -Itb" -MAKEFLAGS "OPT_FAST=${OPT:--O2} OPT_SLOW=-O0 OPT_GLOBAL=-O1" \
  -F rtl/filelist.f tb/main.cpp) >"$build/build.log" 2>&1; then
  cat "$build/build.log" >&2
  echo "FAIL: the build failed" >&2
  exit 1
fi
exec "$build/bench" --image "$tb/@IMAGE@" --expected "$tb/expected.txt" "$@"
