#version 450
// Gradient of deformable RoI pooling by the input: an invocation computes one
// pixel, going over regions and bins in their order. A bin's samples form a
// grid, so what reaches a pixel is a product,
//
//	Σ_ij share_i(iy)·share_j(ix) = Σ_i share_i(iy) · Σ_j share_j(ix)
//
//variant roipool_grad_input
//variant psroipool_grad_input SENSITIVE
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer RegionBuffer { float roi[]; };
layout(binding = 1) readonly buffer OffsetBuffer { float offset[]; };
layout(binding = 2) readonly buffer MaskBuffer { float mask[]; };
layout(binding = 3) readonly buffer OutputGradBuffer { float dy[]; };
layout(binding = 4) writeonly buffer InputGradBuffer { float dx[]; };

#include "roipool.glsl"
#include "roipool_bin.glsl"

// shares returns what samples along an axis give to pixel i, and adds up those
// that count.
float shares(Axis a, int i, out int count) {
  float sum = 0.0;
  count = 0;
  for (int j = 0; j < a.samples; j++) {
    Sample s = sampleOf(a, j);
    float share = mix(0.0, 1.0 - s.share, s.low == i) + mix(0.0, s.share, s.high == i);
    sum += mix(0.0, share, all(bvec2(s.inside, !s.nan)));
    count += int(s.inside);
  }
  return sum;
}

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int ix = item % p.w, iy = item / p.w % p.h, c = item / p.w / p.h % p.c, n = item / p.w / p.h / p.c;
  int k = c / (p.group * p.group), gy = c / p.group % p.group, gx = c % p.group;
  // The bins of this channel: by·group/ho = gy, bx·group/wo = gx.
  int by0 = (gy * p.ho + p.group - 1) / p.group, by1 = ((gy + 1) * p.ho + p.group - 1) / p.group;
  int bx0 = (gx * p.wo + p.group - 1) / p.group, bx1 = ((gx + 1) * p.wo + p.group - 1) / p.group;
  float sum = 0.0;
  for (int r = 0; r < p.rois; r++) {
    bool mine = imageOf(roi[5 * r], 0.0, 0.0, 0.0, 0.0) == n;
    for (int by = mix(by1, by0, mine); by < by1; by++) {
      for (int bx = bx0; bx < bx1; bx++) {
        Bin b = binOf(r, k, by, bx);
        int countY, countX;
        float share = shares(b.y, iy, countY) * shares(b.x, ix, countX);
        int count = mix(b.y.samples * b.x.samples, countY * countX, sensitive);
        float f = dy[((r * p.k + k) * p.ho + by) * p.wo + bx] * b.mask / float(max(count, 1));
        sum += mix(0.0, f * share, all(bvec2(b.image == n, share > 0.0)));
      }
    }
  }
  dx[item] = sum;
}
