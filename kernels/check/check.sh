#!/bin/sh
# Address and undefined-behaviour sanitizers over the kernel: check.sh MODEL...
# The ISA of the run is chosen by HUOZI_ISA, as everywhere.
set -eu
here=$(cd "$(dirname "$0")/.." && pwd)
build=${HUOZI_CHECK_BUILD:-$(mktemp -d)}
flags="-std=gnu++20 -g -O1 -fopenmp -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined -Wno-psabi"
for source in api model neighbours order isa_portable isa_avx2 isa_avx512 check/driver; do
  case $source in
    isa_avx2) isa="-mavx2 -mfma" ;;
    isa_avx512) isa="-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma" ;;
    *) isa="" ;;
  esac
  # shellcheck disable=SC2086
  ${CXX:-g++} $flags $isa -c "$here/$source.cpp" -o "$build/$(basename $source).o"
done
# shellcheck disable=SC2086
${CXX:-g++} $flags "$build"/*.o -o "$build/check"
"$build/check" "$@"
