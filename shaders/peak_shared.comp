#version 450
// How fast a workgroup reads what it shares at most, in quadruples: neighbours
// take neighbours, another 4 KiB page's place each time.
#extension GL_EXT_control_flow_attributes : require
#define PLACES 256u
#define STEPS 16

layout(local_size_x_id = 0) in;
layout(binding = 0) writeonly buffer OutputBuffer { float y[]; };
layout(push_constant) uniform Push {
  uint rounds;
} p;

shared vec4 page[PLACES];

void main() {
  for (uint j = gl_LocalInvocationID.x; j < PLACES; j += gl_WorkGroupSize.x) page[j] = vec4(float(j));
  barrier();
  vec4 even = vec4(0.0), odd = vec4(0.0);
  uint at = gl_LocalInvocationID.x;
  for (uint r = 0; r < p.rounds; r++) {
    [[unroll]] for (int s = 0; s < STEPS; s += 2) {
      even += page[at & (PLACES - 1u)];
      odd += page[(at + 33u) & (PLACES - 1u)];
      at += 67u;
    }
  }
  vec4 sum = even + odd;
  y[gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x] = (sum.x + sum.y) + (sum.z + sum.w);
}
