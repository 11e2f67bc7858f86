#version 450
// Gradient by the weight of a deformable convolution with few channels in a
// group: an invocation sums one tap of TN channels that share an offset group,
// for one output channel of each, over every LocalSize-th pixel of its
// workgroup's part. Every invocation's sums are a partial result.
//
//variant deform_grad_depthwise_n4  TN=4
#extension GL_GOOGLE_include_directive : require
#define SPLIT
#define DEFORMABLE

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { float x[]; };
layout(binding = 1) readonly buffer OutputGradientBuffer { float dy[]; };
layout(binding = 2) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 3) readonly buffer MaskBuffer { float mask[]; };
layout(binding = 4) writeonly buffer PartBuffer { float dw[]; };

#include "grad.glsl"
#include "grad_place.glsl"

float acc[TN];
int channel[TN], from[TN];

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return;
  int block = int(tile % uint(p.blocks)), part = int(tile / uint(p.blocks));
  int taps = p.r * p.s, plane = p.h * p.w, outPlane = p.ho * p.wo;
  int nth = block % p.kg, tap = block / p.kg % taps, channelBlock = block / (p.kg * taps);
  int q = channelBlock / p.groupBlocks, c0 = (channelBlock - q * p.groupBlocks) * TN;
  int channels = min(TN, p.offsetChannels - c0);
  c0 += q * p.offsetChannels;
  UNROLL for (int t = 0; t < TN; t++) {
    int c = c0 + min(t, channels - 1);
    channel[t] = c * plane;
    from[t] = (c / p.cg * p.kg + nth) * outPlane;
    acc[t] = 0.0;
  }
  int end = min((part + 1) * p.share, p.items);
  for (int i = part * p.share + LOCAL_ID; i < end; i += LOCAL) { // pixels of dy
    int n = i / outPlane, pixel = i - n * outPlane;
    Place here = PLACE(n, q, tap, pixel);
    bvec4 counts = sampled(here);
    vec4 share = sampleWeights(here) * MODULATION(n, q, tap, pixel);
    ivec4 corners = n * p.c * plane + ivec4(corner(here, 0), corner(here, 1), corner(here, 2), corner(here, 3));
    UNROLL for (int t = 0; t < TN; t++) {
      ivec4 at = corners + channel[t];
      vec4 v = mix(vec4(0), vec4(x[at.x], x[at.y], x[at.z], x[at.w]), counts);
      acc[t] += dy[n * p.k * outPlane + from[t] + pixel] * (share.x * v.x + share.y * v.y + share.z * v.z + share.w * v.w);
    }
  }
  int to = (part * LOCAL + LOCAL_ID) * p.k * p.cg * taps + tap;
  UNROLL for (int t = 0; t < TN; t++) {
    int c = c0 + t, g = c / p.cg;
    if (t < channels) dw[to + ((g * p.kg + nth) * p.cg + c - g * p.cg) * taps] = acc[t];
  }
}
