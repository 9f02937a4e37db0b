#!/usr/bin/env bash
# check.sh - type-checks the program with the feature `metal`, for Macs, on any machine.
#
# Needs `rustup target add aarch64-apple-darwin`. A stand-in takes the place of Apple's C compiler and writes empty files, in a build folder
# of its own, so that nobody takes what is built for a program. About two minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=${CARGO_TARGET_DIR:-target}/metal-check
mkdir -p "$target/stand-in"
target=$(cd "$target" && pwd)
cat > "$target/stand-in/apple-cc" <<'C'
#!/bin/sh
before=''
for argument in "$@"; do
  [ "$before" = -o ] && : > "$argument"
  before=$argument
done
C
printf '#!/bin/sh\nexit 0\n' > "$target/stand-in/apple-ar"
printf '#!/bin/sh\necho /\n' > "$target/stand-in/xcrun"
chmod +x "$target/stand-in/"*
export PATH=$target/stand-in:$PATH SDKROOT=/
export CC_aarch64_apple_darwin=$target/stand-in/apple-cc CXX_aarch64_apple_darwin=$target/stand-in/apple-cc AR_aarch64_apple_darwin=$target/stand-in/apple-ar
cargo clippy --release --locked -p mrpf-api -p mrpf-host --no-default-features --features mrpf-host/metal --target aarch64-apple-darwin \
  --target-dir "$target" -- -D warnings
