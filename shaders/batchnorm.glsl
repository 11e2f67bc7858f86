// What the passes of batch normalization share. A channel's values are its planes
// of all images, counted through.
layout(push_constant) uniform Push {
  uint  tiles;
  int   items;   // work items
  int   n, c;    // images, channels
  int   plane;   // pixels of an image
  int   parts;   // partial sums of a channel
  int   share;   // values of one
  float eps, momentum;
  float count;   // n·plane
  float unbiased; // count / (count − 1)
  int   moves;   // 1: there are running moments
} p;

#include "flat.glsl"

// at is where value i of channel c lies.
int at(int c, int i) {
  int n = i / p.plane;
  return (n * p.c + c) * p.plane + i - n * p.plane;
}
