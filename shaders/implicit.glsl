// The walk of a workgroup that multiplies tiles in shared memory: output
// channels × outputs, summed over (tap, input channel). The matrix of inputs is
// never stored, its tile is gathered on the way:
//
//                           outputs → columns
//                          ┌────────────┐
//                   depth  │ values     │   gathered: padding or bilinear samples
//                          └────────────┘
//          ┌──────┐        ┌────────────┐
//  channels│weight│        │ sums       │
//   ↓ rows │      │        │            │
//          └──────┘        └────────────┘
//
// An invocation always loads for the same output, so that it works out
// addresses, and in the deformable kernel sampling positions, once a tap (and
// offset group) and not once a channel.
//
// A tap that meets nothing but padding at every output of the tile is skipped.
//
// The including shader says how a tile is kept and multiplied: columns, depth,
// rows and threads; clearSums; put(d, column, v) keeps a value; multiply(tid, at,
// count) adds the products of count channels, whose weights start at at;
// storeSums(tid, kb, first) finishes.

#ifndef DEFORM
// meets says whether outputs from … to of an axis have tap i of that axis anywhere
// on the image's n pixels; padding other than with zeros always has values.
bool meets(int from, int to, int i, int stride, int before, int dilation, int n) {
  int at = i * dilation - before;
  return any(bvec2(p.mode != 0, all(bvec2(to * stride + at >= 0, from * stride + at < n))));
}
#endif

void main() {
  uint tile = tileIndex();
  if (tile >= p.tiles) return; // the whole workgroup does
  int kb = int(tile % uint(p.blocks)), first = int(tile / uint(p.blocks)) * columns;
  int tid = int(gl_LocalInvocationID.x);
  int g = kb / p.groupBlocks, cg = p.cg, plane = p.h * p.w, pixels = p.ho * p.wo, taps = p.r * p.s;
  int firstChannel = g * cg;
  // What this invocation loads: one output, every (threads / columns)th channel.
  int column = tid % columns, above = tid / columns, every = threads / columns;
  int item = min(first + column, p.items - 1);
  int n = item / pixels, pixel = item - n * pixels, oy = pixel / p.wo;
  int iy0 = oy * p.strideY - p.top, ix0 = (pixel - oy * p.wo) * p.strideX - p.left;
  int image = p.firstX + (n * p.c + firstChannel) * plane;
#ifndef DEFORM
  // The rows and columns of outputs that the tile touches: all where it is of
  // several images or rows.
  int last = min(first + columns, p.items) - 1, at0 = first - first / pixels * pixels, at1 = last - last / pixels * pixels;
  bool oneImage = first / pixels == last / pixels, oneRow = oneImage && at0 / p.wo == at1 / p.wo;
  int y0 = mix(0, at0 / p.wo, oneImage), y1 = mix(p.ho - 1, at1 / p.wo, oneImage);
  int x0 = mix(0, at0 % p.wo, oneRow), x1 = mix(p.wo - 1, at1 % p.wo, oneRow);
#endif
  clearSums();
  for (int t = 0; t < taps; t++) {
    int r = t / p.s, s = t - r * p.s;
    int wAt = (kb * taps + t) * cg * rows;
#ifdef DEFORM
    int c = 0;
    int lastOffset = (firstChannel + cg - 1) / p.offsetChannels;
    for (int q = firstChannel / p.offsetChannels; q <= lastOffset; q++) {
      int o = (n * p.offsetGroups + q) * taps + t;
      Place here = place(iy0 + r * p.dilationY, ix0 + s * p.dilationX, offset[o * 2 * pixels + pixel], offset[(o * 2 + 1) * pixels + pixel]);
      float m = mask[mix(0, o * pixels + pixel, p.masked != 0)];
      m = mix(1.0, m, p.masked != 0);
      ivec4 at = max(here.at, ivec4(0));
      bvec4 inside = greaterThanEqual(here.at, ivec4(0));
      int end = min(cg, (q + 1) * p.offsetChannels - firstChannel);
      for (; c < end; c += depth) {
        int count = min(depth, end - c);
        for (int d = above; d < depth; d += every) {
          int from = image + mix(0, (c + d) * plane, d < count);
          vec4 corner = mix(vec4(0.0), vec4(x[from + at.x], x[from + at.y], x[from + at.z], x[from + at.w]), inside);
          float sum = corner.x * here.weight.x + corner.y * here.weight.y + corner.z * here.weight.z + corner.w * here.weight.w;
          put(d, column, mix(0.0, sum * m, d < count));
        }
        multiply(tid, wAt + c * rows, count);
      }
      c = end;
    }
#else
    int iy = mapPad(iy0 + r * p.dilationY, p.h), ix = mapPad(ix0 + s * p.dilationX, p.w);
    bool inside = min(iy, ix) >= 0;
    int at = image + mix(0, iy * p.w + ix, inside);
    bool any = all(bvec2(meets(y0, y1, r, p.strideY, p.top, p.dilationY, p.h), meets(x0, x1, s, p.strideX, p.left, p.dilationX, p.w)));
    int end = mix(0, cg, any);
    for (int c = 0; c < end; c += depth) {
      int count = min(depth, cg - c);
      for (int d = above; d < depth; d += every) {
        bool exists = all(bvec2(inside, d < count));
        float v = x[mix(0, at + (c + d) * plane, exists)];
        put(d, column, mix(0.0, v, exists));
      }
      multiply(tid, wAt + c * rows, count);
    }
#endif
  }
  storeSums(tid, kb, first);
}
