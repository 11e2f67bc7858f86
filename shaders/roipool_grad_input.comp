#version 450
// Gradient of deformable RoI pooling by the input: an invocation owns a band of
// rows of one channel of one image. It goes over regions, bins and samples in
// their order and adds what falls into the band, so that every pixel is a sum in
// that order, however many bands there are. dx is cleared before; regions beyond a
// binding come in several dispatches, each of which adds to what those before left.
//
//	image n, channel c   ┌───────────┐
//	                     │           │ invocation 0
//	                     ├───────────┤      ┌────┐
//	                     │     ┌────┐│ 1    │ a bin that reaches into two bands:
//	                     ├┈┈┈┈┈└────┘┤      └────┘ each adds its own rows
//	                     │           │ 2
//	                     └───────────┘
//
//variant roipool_grad_input
//variant psroipool_grad_input SENSITIVE
//variant double_roipool_grad_input DOUBLE
//variant double_psroipool_grad_input SENSITIVE DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer RegionBuffer { real roi[]; };
layout(binding = 1) readonly buffer OffsetBuffer { real offset[]; };
layout(binding = 2) readonly buffer MaskBuffer { real mask[]; };
layout(binding = 3) readonly buffer OutputGradBuffer { real dy[]; };
layout(binding = 4) buffer InputGradBuffer { real dx[]; };

#include "roipool.glsl"
#include "roipool_bin.glsl"

int countOf(Axis a, int samples) {
  int count = 0;
  for (int i = 0; i < samples; i++) count += int(sampleOf(a, i).inside);
  return count;
}

// reaches tells whether any sample along y may fall into rows [from, to).
bool reaches(Axis y, int from, int to) {
  real first = sampleOf(y, 0).at, last = sampleOf(y, max(y.samples - 1, 0)).at;
  return all(bvec2(max(first, last) >= real(from - 1), min(first, last) <= real(to)));
}

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  // Neighbours are channels of the same image and band: they do the same.
  int c = item % p.c, band = item / p.c % p.bands, n = item / p.c / p.bands;
  int from = band * p.h / p.bands, to = (band + 1) * p.h / p.bands;
  int plane = (n * p.c + c) * p.h * p.w;
  n += p.firstImage;
  int k = c / (p.group * p.group), gy = c / p.group % p.group, gx = c % p.group;
  // The bins of this channel: by·group/ho = gy, bx·group/wo = gx.
  int by0 = (gy * p.ho + p.group - 1) / p.group, by1 = ((gy + 1) * p.ho + p.group - 1) / p.group;
  int bx0 = (gx * p.wo + p.group - 1) / p.group, bx1 = ((gx + 1) * p.wo + p.group - 1) / p.group;
  for (int r = 0; r < p.rois; r++) {
    bool mine = imageOf(roi[5 * r], 0.0, 0.0, 0.0, 0.0) == n;
    for (int by = mix(by1, by0, mine); by < by1; by++) {
      for (int bx = bx0; bx < bx1; bx++) {
        Bin b = binOf(r, k, by, bx);
        int samples = mix(0, b.y.samples, all(bvec2(b.image == n, reaches(b.y, from, to))));
        int count = b.y.samples * b.x.samples;
#ifdef SENSITIVE
        count = countOf(b.y, samples) * countOf(b.x, b.x.samples);
#endif
        real f = dy[((r * p.k + k) * p.ho + by) * p.wo + bx] * b.mask / real(max(count, 1));
        for (int i = 0; i < samples; i++) {
          Sample y = sampleOf(b.y, i);
          // Rows of other bands get nothing: 0 is added to one of this band's.
          bool lowHere = all(bvec2(y.low >= from, y.low < to)), highHere = all(bvec2(y.high >= from, y.high < to));
          int low = plane + clamp(y.low, from, to - 1) * p.w, high = plane + clamp(y.high, from, to - 1) * p.w;
          bool useY = all(bvec2(y.inside, !y.nan));
          for (int j = 0; j < b.x.samples; j++) {
            Sample x = sampleOf(b.x, j);
            bool use = all(bvec3(useY, x.inside, !x.nan));
            bool upper = all(bvec2(use, lowHere)), lower = all(bvec2(use, highHere));
            dx[low + x.low] += mix(0.0, (1.0 - y.share) * (1.0 - x.share) * f, upper);
            dx[low + x.high] += mix(0.0, (1.0 - y.share) * x.share * f, upper);
            dx[high + x.low] += mix(0.0, y.share * (1.0 - x.share) * f, lower);
            dx[high + x.high] += mix(0.0, y.share * x.share * f, lower);
          }
        }
      }
    }
  }
}
