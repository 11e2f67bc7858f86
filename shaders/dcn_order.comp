#version 450
// Last of the steps in dcn_cells.comp: an invocation sorts a cell's part of the
// list, so that sums over it are the same bits every time. Heap sort: parts are
// short, but offsets may send every sample into one cell.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer CellBuffer { uint cell[]; }; // where parts end
layout(binding = 1) buffer OrderBuffer { uint order[]; };

#include "dcn.glsl"

void main() {
  int item = itemIndex();
  if (item >= p.items) return;
  int cells = (p.h + 1) * (p.w + 1);
  int group = item / cells;
  int base = group * p.ho * p.wo * p.points;
  int from = base + (item == group * cells ? 0 : int(cell[max(item - 1, 0)]));
  int count = base + int(cell[item]) - from;
  // One step sifts a value down: first all inner nodes build the heap, then the
  // largest goes to the end, again and again.
  int inner = count / 2, steps = inner + max(count - 1, 0);
  for (int step = 0; step < steps; step++) {
    bool building = step < inner;
    int node = mix(0, inner - 1 - step, building);
    int size = mix(count - 1 - (step - inner), count, building);
    int last = mix(size, node, building);
    uint value = order[from + last];
    order[from + last] = order[from + node];
    for (bool sinks = true; sinks;) {
      int child = 2 * node + 1;
      uint left = order[from + min(child, size - 1)], right = order[from + min(child + 1, size - 1)];
      uint larger = max(left, right);
      sinks = all(bvec2(child < size, larger > value));
      order[from + node] = mix(value, larger, sinks);
      node = mix(node, child + int(right > left), sinks);
    }
  }
}
