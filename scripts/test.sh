#!/usr/bin/env bash
# Runs every test, doctests included. On Linux, a machine that has no Vulkan adapter first gets Mesa's
# software driver, and where apt-get can bring it, spirv-val, which tests/shaders.rs then requires.
# Arguments are passed on to `cargo test`, a filter for instance.
set -euo pipefail
cd "$(dirname "$0")/.."

if [ -z "${XDG_RUNTIME_DIR:-}" ]; then
    XDG_RUNTIME_DIR=$(mktemp -d)
    export XDG_RUNTIME_DIR
    trap 'rm -rf "$XDG_RUNTIME_DIR"' EXIT
fi

# One profile: dependencies, tests and the product share their release build, as the tests do too much
# arithmetic for a debug one. Gradus itself is compiled with the checks of a debug build on top, so that
# an index calculation that overflows fails here instead of wrapping silently.
checks=(
    --config profile.release.package.gradus.debug-assertions=true
    --config profile.release.package.gradus.overflow-checks=true
)

# Builds the command line beside the tests, from the same dependencies.
cargo test --release "${checks[@]}" --no-run
gradus=${CARGO_TARGET_DIR:-target}/release/gradus

# Asks gradus itself, because a driver may be installed and still offer no adapter.
has_vulkan() {
    local info
    info=$("$gradus" info --json) || return 1
    info=${info//[[:space:]]/}
    [[ ${info,,} == *'"adapters":[{'*':"vulkan"'* ]]
}

as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
can_install() {
    command -v apt-get >/dev/null && { [ ${#as_root[@]} = 0 ] || command -v sudo >/dev/null; }
}

if [ "$(uname -s)" = Linux ] && ! has_vulkan; then
    if ! can_install; then
        echo "test.sh: no Vulkan adapter, and no way to install one from here." >&2
        echo "Install the Vulkan loader and Mesa's software driver, then run this again:" >&2
        echo "  Debian, Ubuntu: apt-get install mesa-vulkan-drivers libvulkan1 (as root)" >&2
        echo "  Fedora:         dnf install mesa-vulkan-drivers vulkan-loader" >&2
        echo "  Arch:           pacman -S vulkan-swrast vulkan-icd-loader" >&2
        exit 1
    fi
    echo "test.sh: no Vulkan adapter; installing mesa-vulkan-drivers, libvulkan1 and spirv-tools" >&2
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1 spirv-tools
    if ! has_vulkan; then
        echo "test.sh: the software driver is installed, and still gradus finds no Vulkan adapter:" >&2
        "$gradus" info >&2 || true
        exit 1
    fi
fi

if [ "$(uname -s)" = Linux ] && can_install; then
    if ! command -v spirv-val >/dev/null; then
        echo "test.sh: installing spirv-tools" >&2
        "${as_root[@]}" apt-get update -qq
        "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends spirv-tools
    fi
    export GRADUS_REQUIRE_SPIRV_VAL=1
fi

cargo test --release "${checks[@]}" "$@"
