#!/bin/sh
# GPAW with its atomic data, into the Python given (default .venv/bin/python). As root on Debian or
# Ubuntu the three libraries are installed too. Serial: one label is one process on one core, and
# GPAW's build would otherwise take a compiler wrapper of MPI without headers for an MPI. The time of
# a label is in the libraries, so the sources are compiled with -O1, which takes a minute in place
# of many on a slow machine.
set -eu
python=${1:-.venv/bin/python}
if [ "$(id -u)" = 0 ]; then apt-get install -y -q libxc-dev libopenblas-dev libfftw3-dev g++; fi
config=$(mktemp)
trap 'rm -f "$config"' EXIT
cat > "$config" <<'END'
compiler = 'g++'
mpicompiler = None
noblas = False
nolibxc = False
fftw = True
libraries = ['xc', 'openblas', 'fftw3']
END
CFLAGS=${CFLAGS:--O1} GPAW_CONFIG="$config" "$python" -m pip install --no-cache-dir -c constraints.txt \
    gpaw gpaw-data
