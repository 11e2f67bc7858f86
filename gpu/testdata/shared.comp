#version 450
// Sums SIZE values of each workgroup in shared memory; SIZE is also the amount of shared memory.
layout(local_size_x_id = 0, local_size_y_id = 1) in;
layout(constant_id = 2) const uint SIZE = 64;
layout(binding = 0) readonly buffer X { uint x[]; };
layout(binding = 1) writeonly buffer Y { uint y[]; };
shared uint part[SIZE * 2 / 2];
void main() {
	uint step = gl_WorkGroupSize.x * gl_WorkGroupSize.y;
	for (uint i = gl_LocalInvocationIndex; i < SIZE; i += step) part[i] = x[gl_WorkGroupID.x * SIZE + i];
	barrier();
	if (gl_LocalInvocationIndex == 0) {
		uint sum = 0;
		for (uint i = 0; i < SIZE; i++) sum += part[i];
		y[gl_WorkGroupID.x] = sum;
	}
}
