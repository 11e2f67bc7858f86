#version 450
// Takes a while: rounds of a linear congruential generator, so that the compiler cannot shorten it.
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint rounds; };
layout(binding = 0) buffer X { uint x[]; };
void main() {
	uint i = gl_GlobalInvocationID.x, v = x[i];
	for (uint k = 0; k < rounds; k++) v = v * 1664525u + 1013904223u;
	x[i] = v;
}
