#!/bin/sh
# GPAW with its atomic data, into the Python given (default .venv/bin/python). As root on Debian or
# Ubuntu the two libraries are installed too. Serial: one label is one process on one core, and
# GPAW's build would otherwise take a compiler wrapper of MPI without headers for an MPI.
set -eu
python=${1:-.venv/bin/python}
if [ "$(id -u)" = 0 ]; then apt-get install -y -q libxc-dev libopenblas-dev g++; fi
config=$(mktemp)
trap 'rm -f "$config"' EXIT
cat > "$config" <<'END'
compiler = 'g++'
mpicompiler = None
noblas = False
nolibxc = False
libraries = ['xc', 'openblas']
END
GPAW_CONFIG="$config" "$python" -m pip install -c constraints.txt gpaw gpaw-data
