#version 450
// How fast memory streams at most: neighbouring invocations take neighbouring
// quadruples, EACH of them a workgroup's width apart, and copy them or add them up.
//
//variant peak_copy  EACH=8
//variant peak_read  EACH=8 READ
#extension GL_EXT_control_flow_attributes : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer FromBuffer { vec4 from[]; };
#ifdef READ
layout(binding = 1) writeonly buffer ToBuffer { float to[]; };
#else
layout(binding = 1) writeonly buffer ToBuffer { vec4 to[]; };
#endif

void main() {
  uint i = gl_WorkGroupID.x * gl_WorkGroupSize.x * EACH + gl_LocalInvocationID.x;
#ifdef READ
  vec4 sum = vec4(0.0);
  [[unroll]] for (uint e = 0; e < EACH; e++) sum += from[i + e * gl_WorkGroupSize.x];
  to[gl_WorkGroupID.x * gl_WorkGroupSize.x + gl_LocalInvocationID.x] = (sum.x + sum.y) + (sum.z + sum.w);
#else
  [[unroll]] for (uint e = 0; e < EACH; e++) to[i + e * gl_WorkGroupSize.x] = from[i + e * gl_WorkGroupSize.x];
#endif
}
