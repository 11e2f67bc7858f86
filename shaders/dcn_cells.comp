#version 450
// The samples of each group sorted by the cell they lie in, first two of four
// steps (dcn_scan, dcn_order are the others). A cell is the square between four
// pixels, one row and column more than there are pixels:
//
//	cell (−1,−1)┊(−1,0)┊      pixel (iy, ix) is reached from the four cells
//	┈┈┈┈┈┈┈┈┈┈┈┈•┈┈┈┈┈┈•┈     (iy−1, ix−1), (iy−1, ix), (iy, ix−1), (iy, ix)
//	    (0,−1)  ┊(0,0) ┊
//
// dcn_count counts a group's samples in each cell. dcn_fill puts each sample's
// number, pixel·points + point, into its cell's part of the list; cell[] holds
// where the parts start and is moved on to where they end. Counts do not depend
// on the order of atomic additions, the order in a part does: dcn_order undoes that.
//
//variant dcn_count
//variant double_dcn_count DOUBLE
//variant dcn_fill FILL
//variant double_dcn_fill FILL DOUBLE
#extension GL_GOOGLE_include_directive : require
#include "real.glsl"

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer OffsetBuffer { real offset[]; };
layout(binding = 1) buffer CellBuffer { uint cell[]; };
#ifdef FILL
layout(binding = 2) writeonly buffer OrderBuffer { uint order[]; };
#endif

#include "dcn.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int plane = p.ho * p.wo, samples = plane * p.points;
  int group = item / samples;
  int t = item / plane % p.points, pixel = item % plane;
  int n = p.first + group / p.groups, g = group % p.groups;
  int oy = pixel / p.wo, ox = pixel - oy * p.wo;
  int first = offsetOf(n, g, t, pixel);
  Point at = pointAt(t, oy, ox, offset[first], offset[first + plane]);
  if (at.nan || at.y < -1 || at.y >= p.h || at.x < -1 || at.x >= p.w) return;
  uint to = atomicAdd(cell[(group * (p.h + 1) + at.y + 1) * (p.w + 1) + at.x + 1], 1u);
#ifdef FILL
  order[uint(group * samples) + to] = uint(pixel * p.points + t);
#endif
}
