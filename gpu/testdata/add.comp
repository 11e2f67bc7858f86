#version 450
// x[i] += y[i], for i < n: reads and writes in place.
layout(local_size_x = 64) in;
layout(push_constant) uniform Push { uint n; };
layout(binding = 0) buffer X { uint x[]; };
layout(binding = 1) readonly buffer Y { uint y[]; };
void main() {
	uint i = gl_GlobalInvocationID.x;
	if (i < n) x[i] += y[i];
}
