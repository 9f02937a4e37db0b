#!/usr/bin/env bash
# stubs.sh FOLDER - libraries to link against in place of the driver's and CUDA's, which only a machine with a GPU has.
#
# Every function fails: cuInit with CUDA_ERROR_NO_DEVICE, so that a program that is started with them finds no GPU. Never put
# FOLDER on the library path of a machine with a GPU. Needs gcc and cargo.
set -euo pipefail
folder=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$(dirname "$0")/../.."
cargo fetch --locked --quiet
# The crate that calls CUDA names every function of it in its sources; a stub needs no more than the names.
version=$(sed -n '/^name = "cudarc"$/{n;s/^version = "\(.*\)"$/\1/p}' Cargo.lock)
bindings=$(ls -d "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/"cudarc-$version" | head -n 1)
stub() { # file to be loaded, file to link against, what its functions return, module of the bindings
  { grep -oE '^ +fn (cu|curand|nvrtc)[A-Za-z0-9_]+' "$bindings/src/$4/sys/mod.rs" || true; } | awk '{print $2}' | sort -u \
    | while read -r name; do
      case $name in
        cuGetErrorString) echo "int $name(int code, const char **text) { *text = \"a stand-in for the driver\"; return 0; }" ;;
        *) echo "int $name(void) { return $3; }" ;;
      esac
    done > "$folder/stub.c"
  gcc -shared -fPIC -O1 -w -Wl,-soname,"$1" -o "$folder/$1" "$folder/stub.c"
  ln -sf "$1" "$folder/$2"
  rm "$folder/stub.c"
}
stub libcuda.so.1 libcuda.so 100 driver # 100: CUDA_ERROR_NO_DEVICE
stub libnvrtc.so.13 libnvrtc.so 11 nvrtc # 11: NVRTC_ERROR_INTERNAL_ERROR
stub libcurand.so.10 libcurand.so 203 curand
stub libcublas.so.13 libcublas.so 1 cublas
stub libcublasLt.so.13 libcublasLt.so 1 cublaslt
stub libcudnn.so.9 libcudnn.so 1001 cudnn
