#!/bin/sh
# Compiles the shaders of gpu's tests. coop.comp needs a glslc that knows
# cooperative matrices, later than Debian 12's: without one its .spv stays.
set -eu
cd "$(dirname "$0")"
for f in *.comp; do
	case $f in
	coop.comp) glslc --target-env=vulkan1.3 -O -o /dev/null "$f" 2>/dev/null || continue ;;
	esac
	glslc --target-env=vulkan1.2 --target-spv=spv1.3 -O -o "${f%.comp}.spv" "$f"
done
