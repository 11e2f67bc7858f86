// What pooling and resizing share: images whose channels are worked on one by
// one, as push constants that the host fills by name.
#extension GL_EXT_control_flow_attributes : require
#ifndef EXTRA
#define EXTRA // what an operator takes besides
#endif

#include "real.glsl"

layout(push_constant) uniform Push {
  uint tiles;          // workgroups with work; the dispatch may hold a few more
  int  items;          // work items
  int  c;              // channels
  int  h, w, ho, wo;   // a plane of x or dx, of y or dy
  int  cx, cy;         // channels of the tensors that these lie in
  int  firstX, firstY; // elements before them
#ifdef DOUBLE
  int scale, scaleHigh; // of a pooling: 1 / (h·w), the words of a double
#else
  float scale;         // of a pooling: 1 / (h·w)
#endif
  EXTRA
} p;

// tileIndex is this workgroup's place among all: dispatches beyond 65,535
// workgroups are folded over x and y.
uint tileIndex() {
  return gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
}

// planeX and planeY are where channel i of all images, counted through, begins.
int planeX(int i) {
  int n = i / p.c;
  return p.firstX + (n * p.cx + i - n * p.c) * p.h * p.w;
}

int planeY(int i) {
  int n = i / p.c;
  return p.firstY + (n * p.cy + i - n * p.c) * p.ho * p.wo;
}
