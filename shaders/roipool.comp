#version 450
// Deformable RoI pooling: an invocation computes one bin of one channel.
//
//variant roipool
//variant psroipool SENSITIVE
//variant double_roipool DOUBLE
//variant double_psroipool SENSITIVE DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { real x[]; };
layout(binding = 1) readonly buffer RegionBuffer { real roi[]; };
layout(binding = 2) readonly buffer OffsetBuffer { real offset[]; };
layout(binding = 3) readonly buffer MaskBuffer { real mask[]; };
layout(binding = 4) writeonly buffer OutputBuffer { real y[]; };

#include "roipool.glsl"
#include "roipool_bin.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int bx = item % p.wo, by = item / p.wo % p.ho, k = item / p.wo / p.ho % p.k, r = item / p.wo / p.ho / p.k;
  Bin b = binOf(r, k, by, bx);
  if (b.image < 0) {
    y[item] = nan();
    return;
  }
  if (elsewhere(b.image)) return;
  int plane = ((b.image - p.firstImage) * p.c + channelOf(k, by, bx)) * p.h * p.w;
  real sum = 0.0;
  int count = 0;
  for (int i = 0; i < b.y.samples; i++) {
    Sample sy = sampleOf(b.y, i);
    int low = plane + sy.low * p.w, high = plane + sy.high * p.w;
    for (int j = 0; j < b.x.samples; j++) {
      Sample sx = sampleOf(b.x, j);
      bool counts = all(bvec2(sy.inside, sx.inside));
      real upper = (1.0 - sx.share) * x[low + sx.low] + sx.share * x[low + sx.high];
      real lower = (1.0 - sx.share) * x[high + sx.low] + sx.share * x[high + sx.high];
      sum += mix(0.0, (1.0 - sy.share) * upper + sy.share * lower, counts);
      count += int(counts);
    }
  }
  if (!sensitive) count = max(b.y.samples * b.x.samples, 1);
  y[item] = count > 0 ? sum / real(count) * b.mask : 0.0;
}
