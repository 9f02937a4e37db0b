#!/usr/bin/env bash
# run.sh [PROGRAM[.xz]] ARGUMENTS - starts a build of build.sh on a machine with an NVIDIA driver.
#
# Looks for the CUDA libraries in a toolkit and in NVIDIA's packages for Python (those that PyTorch installs will do), and says
# which are missing. Without PROGRAM it starts the `mrpf` beside it. PYTHON names the Python to look into.
set -euo pipefail
program=$(cd "$(dirname "$0")" && pwd)/mrpf
if [[ $# -gt 0 && ( $1 == *.xz || ( -f $1 && -x $1 ) ) ]]; then program=$1; shift; fi
temporary=${TMPDIR:-/tmp}
python=${PYTHON:-python3}
if [[ $program == *.xz || ! -f $program ]]; then
  packed=${program%.xz}.xz
  program=$temporary/$(basename "${packed%.xz}")-$(id -u)
  if [[ ! $program -nt $packed ]]; then
    "$python" -c 'import lzma, shutil, sys; shutil.copyfileobj(lzma.open(sys.argv[1]), open(sys.argv[2], "wb"))' "$packed" "$program"
    chmod +x "$program"
  fi
fi
folders=$("$python" - <<'P' 2>/dev/null || true
import glob, importlib.util, os
found = importlib.util.find_spec("nvidia")
places = found.submodule_search_locations if found else []
print(":".join(sorted({os.path.dirname(file) for place in places for file in glob.glob(place + "/**/lib*.so*", recursive=True)})))
P
)
for folder in /usr/local/cuda/lib64 /usr/local/cuda/targets/x86_64-linux/lib /usr/local/nvidia/lib64 \
  /usr/lib/x86_64-linux-gnu/nvidia/current /usr/lib/wsl/lib; do
  if [[ -d $folder ]]; then folders=$folders:$folder; fi
done
export LD_LIBRARY_PATH=${folders#:}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
# Where the driver keeps what it compiles at the first start, about 20 seconds of work.
export CUDA_CACHE_PATH=${CUDA_CACHE_PATH:-${XDG_CACHE_HOME:-$HOME/.cache}/mrpf-cuda-kernels}
# Where a library is missing, or lacks a function that this build calls, stand-ins whose every function fails take its place, so that
# the program starts, says what it cannot use, and computes on the processor.
stand_ins=$(cd "$(dirname "$0")" && pwd)/stand-ins
advise() { # what is wrong, lines of it
  echo "CUDA cannot be used: $1"
  head -n 12 <<< "$2"
  echo "libcuda comes with NVIDIA's driver, 580 or newer for CUDA 13; the others with the CUDA toolkit and cuDNN, or by"
  echo "  pip install nvidia-cublas nvidia-cuda-nvrtc nvidia-curand nvidia-cudnn-cu13"
  echo "searched: ${LD_LIBRARY_PATH#:}"
  if [[ ! -d $stand_ins ]]; then exit 2; fi
} >&2
if wrong=$(ldd "$program" | grep 'not found' | sort -u); then
  advise "libraries are missing" "$wrong"
  LD_LIBRARY_PATH=$LD_LIBRARY_PATH:$stand_ins
fi
if wrong=$(ldd -r "$program" 2>&1 | grep -E 'undefined symbol: (cu|nvrtc)'); then
  advise "libraries are too old for this build" "$wrong"
  LD_LIBRARY_PATH=$stand_ins:$LD_LIBRARY_PATH
fi
exec "$program" "$@"
