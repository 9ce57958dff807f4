#!/bin/sh
# Clones share one folder for what they build, so that a second one does not compile the
# libraries again. Our own crates must not be shared: cargo tells two clones' files apart
# by date only, and would run what the other clone built. So the folder remembers who
# built in it last, and a different clone throws our crates away first.
folder="${CARGO_TARGET_DIR:?}"
mark="$folder/.built-by"
[ "$(cat "$mark" 2>/dev/null)" = "$PWD" ] && exit 0
if [ -d "$folder/release" ]; then
  packages=$(sed -n 's/^name = "\(impactiq-[a-z]*\|xtask\)"$/-p \1/p' Cargo.lock)
  # shellcheck disable=SC2086
  cargo clean --quiet --release --locked $packages || exit 1
fi
mkdir -p "$folder" && printf '%s' "$PWD" >"$mark"
