#!/usr/bin/env bash
# on-device.sh [FOLDER] - what is to be checked on a machine with an NVIDIA GPU, in this order; FOLDER takes the outputs.
#
# Build by build.sh anywhere, copy dist/cuda there, and start this from it. Each step says
# what it shows and what counts as right; a step that fails does not stop the ones after it.
#
# DATA_DIR: the folder with cifar-10-batches-bin in it, for the last steps.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-on-device}
mkdir -p "$out"
failed=0
step() { # name, then the command
  local name=$1
  shift
  echo "== $name: $*"
  if "$here/run.sh" "$@" > "$out/$name.txt" 2> "$out/$name.err"; then
    tail -n 3 "$out/$name.txt"
  else
    failed=$((failed + 1))
    echo "FAILED"
    tail -n 5 "$out/$name.err"
  fi
}

# What the references recorded: `test result: ok`. FIXTURES names the repository's tests/fixtures.
if [[ -n ${FIXTURES:-} ]]; then
  export MRPF_TEST_DEVICE=cuda MRPF_FIXTURES=$FIXTURES
  step tests "$here/on-device-tests.xz" --test-threads=1
fi

# Every operation, forward and gradients, in f32 on the GPU against f64 on the CPU: all `right`, exit code 0.
step doctor doctor --device cuda
step doctor-tf32 doctor --device cuda --tf32
step doctor-deterministic doctor --device cuda --deterministic

# The built-in experiment from start to end, and the same on the CPU: accuracies within the confidence intervals of the tables.
step run-cuda run --device cuda --out "$out/run-cuda"
step run-cpu run --device cpu --out "$out/run-cpu"

# Attacked on the CPU, the network that was trained on the GPU gives nearly the figures that it had there.
step evaluate-moved evaluate "$out/run-cuda/networks/dense.safetensors" --device cpu --out "$out/evaluate-moved"

# Stopped on the GPU, gone on with on the CPU: ends well, with a warning that names both.
( timeout --signal=KILL 6 "$here/run.sh" train --device cuda --set pretrain.epochs=200 --out "$out/moved" ) > /dev/null 2>&1
step resume-moved train --device cpu --resume "$out/moved"

# A comparison on every GPU that there is: the devices at work are named in each stage's done.json; again, everything is there from before.
step compare-all compare --device cuda:all --out "$out/compare-all"
step compare-again compare --device cuda:0 --out "$out/compare-all"

# Answers to what cannot be: exit code 7 with a hint each.
echo "== refusals"
"$here/run.sh" bench --device cuda:99 2>&1 | tail -n 2
CUDA_VISIBLE_DEVICES='' "$here/run.sh" bench --device cuda 2>&1 | tail -n 2

# Speed, to be set beside PyTorch's by the README's bench scripts, in one sitting on an idle GPU.
for what in conv forward attack train_step mrs; do
  step "bench-$what" bench --device cuda --what "$what" --arch resnet18 --batch 128 --steps 10 --warmup 3 --json
  step "bench-$what-tf32" bench --device cuda --tf32 --what "$what" --arch resnet18 --batch 128 --steps 10 --warmup 3 --json
done
for arch in resnet18 mobilenet-v2 densenet-40-12 mobilevit-xxs; do
  step "bench-$arch-bf16" bench --device cuda --what train_step --precision bf16 --arch "$arch" --batch 128 --steps 15 --warmup 4 --json
done

# Real images: ten epochs of PGD-AT, MRS, a cut by half, fine-tuning, AutoAttack; three minutes on an H200.
if [[ -n ${DATA_DIR:-} ]]; then
  step cifar10 run "$here/cifar10-gpu.toml" --device cuda --tf32 --data-dir "$DATA_DIR" --out "$out/cifar10"
fi
echo "$failed steps failed; outputs are in $out"
exit $((failed > 0))
