#version 450
// Gradients of deformable RoI pooling by offset and mask: an invocation computes
// those of one part of a region's class, going over the channels and bins that
// read it in their order.
//
//variant roipool_grad_offset
//variant psroipool_grad_offset SENSITIVE
//variant double_roipool_grad_offset DOUBLE
//variant double_psroipool_grad_offset SENSITIVE DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer InputBuffer { real x[]; };
layout(binding = 1) readonly buffer RegionBuffer { real roi[]; };
layout(binding = 2) readonly buffer OffsetBuffer { real offset[]; };
layout(binding = 3) readonly buffer MaskBuffer { real mask[]; };
layout(binding = 4) readonly buffer OutputGradBuffer { real dy[]; };
layout(binding = 5) writeonly buffer OffsetGradBuffer { real doffset[]; };
layout(binding = 6) writeonly buffer MaskGradBuffer { real dmask[]; };

#include "roipool.glsl"
#include "roipool_bin.glsl"

layout(constant_id = 4) const uint wantOffset = 1;
layout(constant_id = 5) const uint wantMask = 1;

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int px = item % p.partX, py = item / p.partX % p.partY;
  int class_ = item / p.partX / p.partY % p.classes, r = item / p.partX / p.partY / p.classes;
  // The bins of this part: by·partY/ho = py, bx·partX/wo = px.
  int by0 = (py * p.ho + p.partY - 1) / p.partY, by1 = ((py + 1) * p.ho + p.partY - 1) / p.partY;
  int bx0 = (px * p.wo + p.partX - 1) / p.partX, bx1 = ((px + 1) * p.wo + p.partX - 1) / p.partX;
  int perClass = p.k / p.classes;
  bool others = false; // another dispatch does this region
  real byX = 0.0, byY = 0.0, byMask = 0.0;
  for (int by = by0; by < by1; by++) {
    for (int bx = bx0; bx < bx1; bx++) {
      Bin b = binOf(r, class_ * perClass, by, bx);
      bool use = b.image >= 0;
      others = elsewhere(b.image);
      int image = clamp(b.image - p.firstImage, 0, p.images - 1);
      for (int q = 0; q < perClass; q++) {
        int k = class_ * perClass + q;
        int plane = (image * p.c + channelOf(k, by, bx)) * p.h * p.w;
        real sum = 0.0, slopeX = 0.0, slopeY = 0.0;
        int count = 0;
        for (int i = 0; i < b.y.samples; i++) {
          Sample sy = sampleOf(b.y, i);
          int low = plane + sy.low * p.w, high = plane + sy.high * p.w;
          for (int j = 0; j < b.x.samples; j++) {
            Sample sx = sampleOf(b.x, j);
            bool counts = all(bvec2(sy.inside, sx.inside));
            real v0 = x[low + sx.low], v1 = x[low + sx.high], v2 = x[high + sx.low], v3 = x[high + sx.high];
            real hx = 1.0 - sx.share, hy = 1.0 - sy.share;
            sum += mix(0.0, hy * (hx * v0 + sx.share * v1) + sy.share * (hx * v2 + sx.share * v3), counts);
            slopeX += mix(0.0, sx.slope * (hy * (v1 - v0) + sy.share * (v3 - v2)), counts);
            slopeY += mix(0.0, sy.slope * (hx * (v2 - v0) + sx.share * (v3 - v1)), counts);
            count += int(counts);
          }
        }
        count = mix(b.y.samples * b.x.samples, count, sensitive);
        real f = dy[((r * p.k + k) * p.ho + by) * p.wo + bx] / real(max(count, 1));
        byX += mix(0.0, slopeX * f * b.mask * p.gamma * b.x.size, use);
        byY += mix(0.0, slopeY * f * b.mask * p.gamma * b.y.size, use);
        byMask += mix(0.0, sum * f, use);
      }
    }
  }
  if (others) return;
  int part = p.partY * p.partX, at = class_ * part + py * p.partX + px;
  if (wantOffset != 0) {
    doffset[r * 2 * p.classes * part + class_ * part + at] = byX;
    doffset[r * 2 * p.classes * part + (class_ + 1) * part + at] = byY;
  }
  if (wantMask != 0) dmask[r * p.classes * part + at] = byMask;
}
