#!/usr/bin/env bash
# check.sh [COMMAND] - type-checks everything behind the features `cuda` and `cudnn`, on a machine without CUDA.
#
# A stand-in for nvcc writes empty kernels, in a build folder of its own, so that none of them is ever linked. COMMAND is
# `check` (the default) or `clippy`.
set -euo pipefail
cd "$(dirname "$0")/../.."
command=${1:-check}
target=${CARGO_TARGET_DIR:-target}/cuda-check
mkdir -p "$target/stand-in"
target=$(cd "$target" && pwd)
cat > "$target/stand-in/nvcc" <<'S'
#!/bin/sh
# Stands in for nvcc: says a version, and writes empty files where kernels are expected.
out='' folder=. mode='' before='' last=''
for argument in "$@"; do
  case $before in
    -o) out=$argument ;;
    --output-directory) folder=$argument ;;
  esac
  case $argument in
    --version) mode=version ;;
    --ptx) mode=ptx ;;
    --lib) mode=lib ;;
    -c) mode=object ;;
  esac
  before=$argument last=$argument
done
case $mode in
  version) printf 'nvcc\nCopyright\nBuilt\nCuda compilation tools, release 13.0, V13.0.88\n' ;;
  ptx) : > "$folder/$(basename "${last%.cu}").ptx" ;;
  lib) rm -f "$out" && ar rcs "$out" ;;
  object) : > "$out" ;;
esac
S
chmod +x "$target/stand-in/nvcc"
export PATH=$target/stand-in:$PATH CUDA_COMPUTE_CAP=80
unset NVCC CUDA_HOME CUDA_PATH
# Release, as everything else here: half of Candle's dependencies are then compiled the same way.
if [[ $command == clippy ]]; then
  cargo clippy --release --locked -p mrpf-api -p mrpf-host --features mrpf-host/cudnn --target-dir "$target" -- -D warnings
else
  cargo "$command" --release --locked -p mrpf-api -p mrpf-host --features mrpf-host/cudnn --target-dir "$target"
fi
