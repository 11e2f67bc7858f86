// What the passes of batch normalization share. A channel's values are its planes
// of all images, counted through. What passes a binding comes in pieces: some
// images, some channels of one image or some pixels of one channel,
//
//          │        before        │ piece                       │
//   binding ├ bound but not looked at ┼ images × channels × pixels ┤
//
// and the sums of a channel go on from piece to piece in the order of the whole.
layout(push_constant) uniform Push {
  uint  tiles;
  int   items;   // work items
  int   c;       // channels of the tensor
  int   plane;   // pixels of an image
  int   parts;   // partial sums of a channel
  int   share;   // values of one, in this piece
  float eps, momentum;
  float count;   // of a channel's values
  float unbiased; // count / (count − 1)
  int   moves;   // 1: there are running moments
  int   firstChannel, channels, pixels; // of the piece
  int   values;  // of a channel in it
  int   phase;   // partial sum that the first of them belongs to
  int   before;  // elements
  int   goesOn;  // 1: there were pieces before
} p;

#include "flat.glsl"

// at is where value i of the piece's channel c lies.
int at(int c, int i) {
  int n = i / p.pixels;
  return p.before + (n * p.c + c) * p.plane + i - n * p.pixels;
}
