#!/usr/bin/env bash
# home.sh [FOLDER] - what is needed to build with CUDA, without a GPU, a driver, a toolkit or root rights.
#
# Prints lines for `eval`: CUDA_HOME and PATH. Where an nvcc that suits is on PATH already it is taken and nothing is fetched.
# Otherwise NVIDIA's packages for Python are put into FOLDER (about 100 MB to fetch), with stubs to link against in place of
# the libraries that only a machine with a GPU needs. The packages are under NVIDIA's licence: do not pass them on.
#
# CUDA_TOOLKIT_VERSION: of the packages (13.0.2). It must not be newer than the driver on the machine that the program is for.
# Needs python3 with pip, gcc, and cargo; see stubs.sh.
set -euo pipefail
: "${CUDA_TOOLKIT_VERSION:=13.0.2}"
here=$(cd "$(dirname "$0")/../.." && pwd)

if nvcc=$(command -v nvcc) && nvcc --version | grep -qE 'release 1[1-3]\.'; then
  root=$(cd "$(dirname "$(readlink -f "$nvcc")")/.." && pwd)
  echo "export CUDA_HOME=${CUDA_HOME:-$root}"
  exit 0
fi

folder=${1:-${XDG_CACHE_HOME:-$HOME/.cache}/mrpf-cuda-$CUDA_TOOLKIT_VERSION}
root=$folder/site/nvidia/cu13
if [[ ! -e $folder/complete ]]; then
  mkdir -p "$folder"
  folder=$(cd "$folder" && pwd)
  root=$folder/site/nvidia/cu13
  echo "fetching the CUDA toolkit $CUDA_TOOLKIT_VERSION into $folder" >&2
  python3 -m pip install --quiet --upgrade --target "$folder/site" \
    "cuda-toolkit[nvcc,crt,nvvm,cudart,cccl]==$CUDA_TOOLKIT_VERSION" >&2
  ln -sfn lib "$root/lib64"
  ln -sf libcudart.so.13 "$root/lib/libcudart.so"
  "$here/scripts/cuda/stubs.sh" "$root/lib/stubs" >&2
  touch "$folder/complete"
fi
echo "export CUDA_HOME=$root"
echo "export PATH=$root/bin:\$PATH"
