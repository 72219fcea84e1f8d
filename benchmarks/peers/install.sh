#!/usr/bin/env bash
# Install the peers, each in its own environment: benchmarks/peers/install.sh FOLDER
set -euo pipefail
folder=$1
mkdir -p "$folder"
python3 -m venv "$folder/deepmd"
"$folder/deepmd/bin/pip" install -q "deepmd-kit[lmp]==3.2.*" "tensorflow-cpu==2.21.*" e3nn
python3 -m venv "$folder/mace"
"$folder/mace/bin/pip" install -q "torch==2.13.0"
"$folder/mace/bin/pip" install -q mace-torch
# DeepQMC 1.2 says nothing of the versions it needs; these are the last that it runs with.
python3 -m venv "$folder/deepqmc"
"$folder/deepqmc/bin/pip" install -q "deepqmc==1.2.0" "jax==0.4.33" "jaxlib==0.4.33" \
  "kfac-jax==0.0.6" "dm-haiku==0.0.13" folx
