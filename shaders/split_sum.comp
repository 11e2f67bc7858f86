#version 450
// Adds up what the workgroups of shared.comp with SPLIT summed, the first first,
// and finishes the outputs: y = act(Σ part[j] + bias). The order is fixed, so the
// bits are the same every time.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer PartBuffer { float part[]; }; // [parts][k][items]
layout(binding = 1) readonly buffer BiasBuffer { float bias[]; };
layout(binding = 2) writeonly buffer OutputBuffer { float y[]; };
layout(push_constant) uniform Push {
  uint tiles;
  int  items, parts;   // outputs of a channel, all images
  int  channels;       // output channels
  int  k, ho, wo;      // of the tensor that y lies in
  int  firstY;         // and elements before it
  float low, high;     // the activation's parameters
} p;

#include "finish.glsl"

void main() {
  int i = int((gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x) * gl_WorkGroupSize.x + gl_LocalInvocationID.x);
  int elements = p.channels * p.items;
  if (i >= elements) return;
  float sum = part[i];
  for (int j = 1; j < p.parts; j++) sum += part[j * elements + i];
  int channel = i / p.items, item = i - channel * p.items;
  int pixels = p.ho * p.wo, n = item / pixels;
  y[p.firstY + (n * p.k + channel) * pixels + item - n * pixels] = finish(vec4(sum + bias[channel])).x;
}
