#!/usr/bin/env bash
# Build SLASH's runtime (libvrt, without its daemon and kernel module) of a checkout, for test_vrt.py.
# usage: slash.sh CHECKOUT PREFIX; then CMAKE_PREFIX_PATH=PREFIX pytest test/integration/test_vrt.py
# Debian: apt-get install cmake g++ libjsoncpp-dev libxml2-dev cppzmq-dev zlib1g-dev
set -euo pipefail
[ $# = 2 ] || { sed -n '2,4p' "$0" >&2; exit 2; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp -r "$1/driver" "$1/packaging" "$1/vrt" "$work"
# The daemon alone needs AMI, systemd and inih.
sed -i -e '/ami.cmake/d' -e '/add_subdirectory(src)/d' -e '/pkg_check_modules/d' "$work/vrt/vrtd/CMakeLists.txt"
perl -0pi -e 's/install\(\s*TARGETS vrtd\s.*?\)//s' "$work/vrt/vrtd/CMakeLists.txt"
for part in driver/libslash vrt/vrtd vrt; do
  cmake -S "$work/$part" -B "$work/build/$part" -DCMAKE_INSTALL_PREFIX="$2" -DCMAKE_PREFIX_PATH="$2" \
    -DCMAKE_INSTALL_LIBDIR=lib -DCMAKE_INSTALL_RPATH='$ORIGIN' -DCMAKE_BUILD_TYPE=Release >/dev/null
  cmake --build "$work/build/$part" -j2
  cmake --install "$work/build/$part" >/dev/null
done
