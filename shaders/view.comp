#version 450
// One frame of the window, a pixel an invocation, 8×8 a workgroup:
//
//   ┌────────────┬────────────┐
//   │ photograph │  response  │   both p.scale pixels a pixel, marks over them
//   ├────────────┴────────────┤
//   │ words                   │   as large as they are
//   └─────────────────────────┘
//
// A mark is a line with round ends, a disc where the ends meet, or a square
// where the radius is negative. Later ones lie above earlier ones. The host has
// sorted them into tiles of 16×16 pixels: tile t is touched by the marks
// tiles[tiles[t]] … tiles[tiles[t + 1] − 1], and draws no others.
layout(local_size_x_id = 0) in;

struct Mark {
  vec4 ends; // x, y, x, y in the window's pixels
  vec4 look; // radius; width of the rim; fill and rim, as bits of 0xAABBGGRR
};

layout(binding = 0) readonly buffer PhotoBuffer { uint photo[]; };
layout(binding = 1) readonly buffer ResponseBuffer { uint response[]; };
layout(binding = 2) readonly buffer MarkBuffer { Mark marks[]; };
layout(binding = 3) readonly buffer TileBuffer { int tiles[]; };
layout(binding = 4) readonly buffer WordBuffer { uint words[]; };
layout(binding = 5) writeonly buffer FrameBuffer { uint frame[]; };
layout(push_constant) uniform Push {
  int   width, height; // of the frame
  int   rows, columns; // of photograph and response
  float scale;
  float top, left, right; // where photograph and response begin, right is the response's left
  float shade;         // how much of the photograph is black
  int   wordsTop;      // the row where the words begin
  int   blueFirst;
} p;

const int TILE = 16;

vec4 unpack(uint c) { return unpackUnorm4x8(c); }

vec3 over(vec3 below, vec4 c, float share) { return mix(below, c.rgb, c.a * clamp(share, 0.0, 1.0)); }

vec3 pixelOf(bool first, int y, int x) {
  int i = clamp(y, 0, p.rows - 1) * p.columns + clamp(x, 0, p.columns - 1);
  return unpack(first ? photo[i] : response[i]).rgb;
}

// The picture at a place, blended unless its pixels are large.
vec3 picture(bool first, vec2 at) {
  if (p.scale >= 3.0) return pixelOf(first, int(floor(at.y)), int(floor(at.x)));
  at -= 0.5;
  vec2 base = floor(at), f = at - base;
  int y = int(base.y), x = int(base.x);
  return mix(mix(pixelOf(first, y, x), pixelOf(first, y, x + 1), f.x),
             mix(pixelOf(first, y + 1, x), pixelOf(first, y + 1, x + 1), f.x), f.y);
}

// How far a place lies from a mark's middle line.
float away(Mark m, vec2 at) {
  vec2 a = m.ends.xy, along = m.ends.zw - a, to = at - a;
  if (m.look.x < 0.0) return max(abs(to.x), abs(to.y));
  float long2 = dot(along, along);
  float t = long2 > 0.0 ? clamp(dot(to, along) / long2, 0.0, 1.0) : 0.0;
  return length(to - t * along);
}

vec3 draw(vec3 below, Mark m, vec2 at) {
  float d = away(m, at), radius = abs(m.look.x), rim = m.look.y;
  vec3 c = over(below, unpack(floatBitsToUint(m.look.z)), radius + 0.5 - d);
  return rim > 0.0 ? over(c, unpack(floatBitsToUint(m.look.w)), rim * 0.5 + 0.5 - abs(d - radius)) : c;
}

void main() {
  int lane = int(gl_LocalInvocationID.x), lanes = int(gl_WorkGroupSize.x);
  int x = int(gl_WorkGroupID.x) * 8 + lane % 8, y = int(gl_WorkGroupID.y) * (lanes / 8) + lane / 8;
  if (x >= p.width || y >= p.height) return;
  vec2 at = vec2(float(x) + 0.5, float(y) + 0.5);
  vec2 size = vec2(float(p.columns), float(p.rows)) * p.scale;

  vec3 c = vec3(0.09, 0.10, 0.12);
  vec2 inLeft = at - vec2(p.left, p.top), inRight = at - vec2(p.right, p.top);
  if (all(greaterThanEqual(inLeft, vec2(0.0))) && all(lessThan(inLeft, size))) c = picture(true, inLeft / p.scale) * (1.0 - p.shade);
  if (all(greaterThanEqual(inRight, vec2(0.0))) && all(lessThan(inRight, size))) c = picture(false, inRight / p.scale);

  int tile = (y / TILE) * ((p.width + TILE - 1) / TILE) + x / TILE;
  for (int i = tiles[tile]; i < tiles[tile + 1]; i++) c = draw(c, marks[tiles[i]], at);
  if (y >= p.wordsTop) c = unpack(words[(y - p.wordsTop) * p.width + x]).rgb;
  if (p.blueFirst == 1) c = c.bgr;
  frame[y * p.width + x] = packUnorm4x8(vec4(c, 1.0));
}
