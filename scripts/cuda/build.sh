#!/usr/bin/env bash
# build.sh [FEATURES [FOLDER]] - builds mrpf for NVIDIA GPUs on any x86-64 Linux machine, into dist/cuda; run it there by run.sh.
#
# FEATURES: cudnn (the default), or cuda for convolutions without cuDNN. Takes about 6 minutes on two cores the first time.
# FOLDER: instead of the program in dist/cuda, which holds its plugins and Candle in itself and opens no others, the folder that
# scripts/dist makes, whose program opens run-time plugins; run it there by FOLDER/bin/run.sh.
#
# CUDA_COMPUTE_CAP: 80 runs on every GPU from Ampere on; 90 on H100 and H200 only.
set -euo pipefail
features=${1:-cudnn}
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
eval "$("$here/home.sh")"
export CUDA_COMPUTE_CAP=${CUDA_COMPUTE_CAP:-80}
export CUDAFORGE_THREADS=${CUDAFORGE_THREADS:-$(nproc)}
# Kernels make up most of the program; compressed it is half as large.
export NVCC_APPEND_FLAGS=${NVCC_APPEND_FLAGS:---compress-mode=size}
# Candle's kernels for quantised networks, which nothing here calls, are two thirds of the work: they are left out, and
# functions that end the program stand in for them at link time.
target=${CARGO_TARGET_DIR:-target}/cuda
mkdir -p "$target"
export REAL_NVCC=$(command -v nvcc) NVCC=$(cd "$target" && pwd)/nvcc
cat > "$NVCC" <<'S'
#!/bin/sh
out='' mode=pass before=''
for argument in "$@"; do
  [ "$before" = -o ] && out=$argument
  case $argument in --lib) mode=lib ;; -c) mode=object ;; esac
  before=$argument
done
case $mode in
  pass) exec "$REAL_NVCC" "$@" ;;
  object) : > "$out" ;;
  lib)
    rm -f "$out"
    { echo '#include <stdlib.h>'; grep -oE 'pub fn [A-Za-z0-9_]+' src/ffi.rs | awk '{print "void " $3 "(void) { abort(); }"}' | sort -u; } > "$out.c"
    gcc -c -fPIC -w -o "$out.o" "$out.c" && ar rcs "$out" "$out.o" ;;
esac
S
chmod +x "$NVCC"
if [[ $# -gt 1 ]]; then
  scripts/dist "$2" --features "$features" --target-dir "$target"
  cp "$here/run.sh" "$2/bin/"
  "$here/stubs.sh" "$2/bin/stand-ins"
  exit
fi
# A folder of its own: the kernels are not built anew when the program for the CPU is built in between.
cargo build --release --locked -p mrpf-host --bin mrpf --no-default-features --features "$features" --target-dir "$target"
mkdir -p dist/cuda
# The tests that run on a device, as one program.
tests=$(cargo test --release --locked -p mrpf-host --test on_device --no-default-features --features "$features" --target-dir "$target" \
  --no-run --message-format=json | python3 -c '
import json, sys
found = [line["executable"] for line in map(json.loads, sys.stdin) if line.get("executable") and line["target"]["name"] == "on_device"]
print(found[-1])')
strip -o dist/cuda/on-device-tests "$tests"
xz -6 --keep --force dist/cuda/on-device-tests
strip -o dist/cuda/mrpf "$target/release/mrpf"
"$here/stubs.sh" dist/cuda/stand-ins
cp "$here/run.sh" "$here/on-device.sh" examples/cifar10-gpu.toml dist/cuda/
xz -6 --keep --force dist/cuda/mrpf
ls -l dist/cuda
