#!/bin/bash
# Everything the speed tables need from a machine with an NVIDIA card, in under 8 minutes there and without Go there.
#
#   bench/card.sh build DIR            on a machine with Go: the programs that the other needs, into DIR
#   bench/card.sh run DIR [FILE]       on the card's machine, in a copy of this tree: measures, writes FILE
#                                      (bench/results/card.md); wants Python with torch and torchvision
#
# The card's machine needs a Vulkan loader (libvulkan.so.1) and the card's driver. Knobs, all optional:
#
#   VKCONV_DEVICE   part of the Vulkan device's name                          (NVIDIA)
#   PYTHON          the command that runs Python                              (python3)
#   SECONDS_EACH    how long each side runs a layer                           (0.08)
#   PEER            what PyTorch computes on and whose clock counts           (-cuda -clock device)
#   LAYERS          layers whose name contains this                           (all)
#
# float32 is strict on both sides (TF32 off). A part that fails says so in the file, and the others go on.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

device=${VKCONV_DEVICE:-NVIDIA}
seconds=${SECONDS_EACH:-0.08}
peer=${PEER:--cuda -clock device}

build() { # DIR
	mkdir -p "$1" &&
		go build -o "$1/" ./cmd/convbench ./bench/peers &&
		go test -c -o "$1/kernels.test" ./kernels &&
		git describe --always --dirty >"$1/commit"
}

# part TITLE LIMIT COMMAND... runs a command for LIMIT seconds at the most and keeps what it prints.
part() {
	local title=$1 limit=$2 from=$SECONDS status
	shift 2
	printf '\n## %s\n\n' "$title"
	timeout "$limit" "$@" 2>"$errors"
	status=$?
	[ $status -eq 0 ] || { printf '\nFailed, exit status %d (124: out of time).\n\n' $status; tr '\r' '\n' <"$errors" | tail -n 12 | sed 's/^/    /'; }
	echo "$title: $((SECONDS - from)) s" >&2
	return $status
}

# text TITLE LIMIT COMMAND... is a part that is no Markdown.
text() { part "$@" | sed '3{/^$/!s/^/    /;}; 4,$s/^/    /; s/ *$//'; }

# peers TITLE FLAG... is ours beside PyTorch's. It stops by itself and tells of the layers it left out.
peers() {
	local title=$1
	shift
	# shellcheck disable=SC2086 # several flags
	part "$title" 80 "$dir/peers" -device "$device" -python "${PYTHON:-python3}" $peer -turns 1 -seconds "$seconds" -limit 60s \
		-shapes bench/peers/vulkan.json -only "${LAYERS:-}" "$@"
}

crosscheck() (
	cd kernels
	VKCONV_CASES=${VKCONV_CASES:-60} VKCONV_REQUIRE=$device timeout 60 "$dir/kernels.test" \
		-test.run 'TestForward|TestEveryVariant|TestMatrixUnits|TestOperands|TestBackward|TestConvTranspose|TestDCN|TestRoIPool|TestScales|TestWinograd' 2>&1
)

run() { # DIR
	dir=$(realpath "$1") errors=$(mktemp)
	export dir device
	export -f crosscheck
	printf '# Against PyTorch on one card\n\n`bench/card.sh run`, commit %s, %s.\n' "$(cat "$dir/commit")" "$(date -u +%F)"
	command -v nvidia-smi >/dev/null && printf '\nnvidia-smi: %s.\n' "$(nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit --format=csv,noheader)"
	text 'Device' 20 "$dir/convbench" devices
	text 'Cross-check' 65 bash -c crosscheck
	text 'Outside cases' 30 bash -c '"$dir/convbench" check -device "$device" convtest/testdata/cases | sed -n "/^[0-9]* cases, /,\$p"'
	text 'Main job' 30 "$dir/convbench" -device "$device"
	peers 'float32, forward'
	peers 'float32 split for matrix units, forward' -split
	peers 'float32, gradients' -backward
	peers 'float16, forward' -type float16
	peers 'float16, gradients' -type float16 -backward
	rm -f "$errors"
}

case "${1:-}" in
build) build "${2:?a folder}" ;;
run)
	out=${3:-bench/results/card.md}
	run "${2:?the folder of build}" >"$out.part" && mv "$out.part" "$out" && echo "wrote $out" >&2
	;;
*) sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit 2 ;;
esac
