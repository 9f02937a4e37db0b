#!/usr/bin/env bash
# home.sh [FOLDER] - what is needed to build with CUDA, without a GPU, a driver, a toolkit or root rights.
#
# Prints lines for `eval`: CUDA_HOME and PATH. Where an nvcc that suits is on PATH already it is taken and nothing is fetched.
# Otherwise NVIDIA's packages for Python are put into FOLDER (about 100 MB to fetch), with stubs to link against in place of
# the libraries that only a machine with a GPU needs. The packages are under NVIDIA's licence: do not pass them on.
#
# CUDA_TOOLKIT_VERSION: of the packages (13.0.2). It must not be newer than the driver on the machine that the program is for.
# Needs python3 with pip, gcc, and cargo.
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
  # The crate that calls CUDA names every function of it in its sources; a stub needs no more than the names.
  (cd "$here" && cargo fetch --locked --quiet >&2)
  version=$(sed -n '/^name = "cudarc"$/{n;s/^version = "\(.*\)"$/\1/p}' "$here/Cargo.lock")
  bindings=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"cudarc-$version" | head -n 1)
  ln -sfn lib "$root/lib64"
  ln -sf libcudart.so.13 "$root/lib/libcudart.so"
  mkdir -p "$root/lib/stubs"
  stub() { # file to be loaded later, file to link against, what its functions return, module of the bindings
    local source=$folder/stub.c
    grep -oE '^ +fn (cu|curand|nvrtc)[A-Za-z0-9_]+' "$bindings/src/$4/sys/mod.rs" | awk '{print $2}' | sort -u \
      | while read -r name; do echo "int $name(void) { return $3; }"; done > "$source"
    gcc -shared -fPIC -O1 -w -Wl,-soname,"$1" -o "$root/lib/stubs/$1" "$source"
    ln -sf "$1" "$root/lib/stubs/$2"
    rm -f "$source"
  }
  stub libcuda.so.1 libcuda.so 100 driver # 100: CUDA_ERROR_NO_DEVICE
  stub libnvrtc.so.13 libnvrtc.so 1 nvrtc
  stub libcurand.so.10 libcurand.so 203 curand
  stub libcublas.so.13 libcublas.so 1 cublas
  stub libcublasLt.so.13 libcublasLt.so 1 cublaslt
  stub libcudnn.so.9 libcudnn.so 1001 cudnn
  touch "$folder/complete"
fi
echo "export CUDA_HOME=$root"
echo "export PATH=$root/bin:\$PATH"
