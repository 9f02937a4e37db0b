#!/usr/bin/env bash
# check.sh [COMMAND] - compiles everything behind the features `cuda` and `cudnn`, on a machine without CUDA.
#
# A stand-in for nvcc writes empty kernels, in a build folder of its own, so that nobody takes what is built for a program.
# COMMAND is one of
#   check    types only (the default)
#   clippy   the same with lints
#   try      also links against stubs, and tries what the program answers on a machine without a GPU; some minutes more
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
  lib)
    # Launchers that Candle calls by their names; none of them is reached without a GPU.
    rm -f "$out"
    grep -oE 'pub fn [A-Za-z0-9_]+' src/ffi.rs | awk '{print "void " $3 "(void) {}"}' | sort -u > "$out.c"
    gcc -c -fPIC -w -o "$out.o" "$out.c" && ar rcs "$out" "$out.o"
    ;;
  object) : > "$out" ;;
esac
S
chmod +x "$target/stand-in/nvcc"
export PATH=$target/stand-in:$PATH CUDA_COMPUTE_CAP=80
unset NVCC CUDA_HOME CUDA_PATH
features=(--features mrpf-host/cudnn)
# Release, as everything else here: what the CPU build has compiled is compiled the same way.
case $command in
  check) cargo check --release --locked -p mrpf-api -p mrpf-host "${features[@]}" --target-dir "$target" ;;
  clippy) cargo clippy --release --locked -p mrpf-api -p mrpf-host "${features[@]}" --target-dir "$target" -- -D warnings ;;
  try)
    scripts/cuda/stubs.sh "$target/stubs"
    gcc -shared -fPIC -Wl,-soname,libcudart.so.13 -o "$target/stubs/libcudart.so.13" -x c /dev/null
    ln -sf libcudart.so.13 "$target/stubs/libcudart.so"
    export RUSTFLAGS="${RUSTFLAGS:-} -L native=$target/stubs"
    cargo build --release --locked -p mrpf-host --bin mrpf --no-default-features "${features[@]}" --target-dir "$target"
    export LD_LIBRARY_PATH=$target/stubs
    mrpf=$target/release/mrpf
    told=$(mktemp)
    trap 'rm -f "$told"' EXIT
    echo "== a GPU that is not there is refused with the driver's own code"
    if "$mrpf" bench --device cuda 2> "$told"; then exit 1; elif [[ $? != 7 ]]; then cat "$told"; exit 1; fi
    cat "$told"
    grep -q 'CUDA_ERROR_NO_DEVICE' "$told" && grep -q 'hint: the driver sees no GPU' "$told"
    echo "== auto takes the processor and says why"
    "$mrpf" bench --what forward --arch resnet8 --batch 2 --steps 1 --device auto 2>&1 | tee "$told"
    grep -q 'device auto: computing on the CPU, because' "$told"
    echo "== the doctor finds the processor right and the libraries to be stubs"
    "$mrpf" doctor | tee "$told" | tail -n 12
    grep -q ' 0 wrong' "$told" && grep -q 'a folder of stubs' "$told"
    echo "== where libraries are missing, run.sh says which, and the program computes on the processor"
    mkdir -p "$target/started"
    cp "$mrpf" scripts/cuda/run.sh "$target/started/"
    rm -rf "$target/started/stand-ins"
    cp -r "$target/stubs" "$target/started/stand-ins"
    PYTHON=false LD_LIBRARY_PATH='' "$target/started/run.sh" bench --what forward --arch resnet8 --batch 2 --steps 1 --device auto 2>&1 | tee "$told"
    grep -q 'libcudnn.so.9 => not found' "$told" && grep -q 'device auto: computing on the CPU, because' "$told"
    ;;
  *) echo "check.sh: found \`$command\`, expected check, clippy or try" >&2; exit 2 ;;
esac
