#version 450
// y[i] = a·x[i] + b, for i < n; N_PER values an invocation.
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL = 64;
layout(constant_id = 1) const uint N_PER = 1;
layout(push_constant) uniform Push { uint n; float a; float b; };
layout(binding = 0) readonly buffer X { float x[]; };
layout(binding = 1) writeonly buffer Y { float y[]; };
void main() {
	uint base = gl_GlobalInvocationID.x * N_PER;
	for (uint k = 0; k < N_PER; k++)
		if (base + k < n) y[base + k] = a * x[base + k] + b;
}
