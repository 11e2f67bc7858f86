#version 450
// Between float32 and the 16-bit types of conv.Type, in integers only: what a
// driver's own packHalf2x16 rounds and flushes is its own affair.
//
//   word i of the 16-bit tensor  │ element 2i+1 │ element 2i │
//
// An invocation takes one such word, so that no two write the same.
#extension GL_GOOGLE_include_directive : require

layout(local_size_x_id = 0) in;
layout(binding = 0) readonly buffer FromBuffer { uint from[]; };
layout(binding = 1) writeonly buffer ToBuffer { uint to[]; };
layout(push_constant) uniform Push {
  uint tiles;
  int  elements;
  int  type;   // 1 float16, 2 bfloat16
  int  narrow; // 1 from float32, 0 to float32
} p;

uint encode(uint bits) {
  uint sign = (bits >> 16) & 0x8000u, magnitude = bits & 0x7fffffffu;
  if (p.type == 2) {
    if (magnitude > 0x7f800000u) return sign | 0x7fc0u;
    return (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  }
  if (magnitude > 0x7f800000u) return sign | 0x7e00u;
  if (magnitude >= 0x47800000u) return sign | 0x7c00u;
  if (magnitude < 0x38800000u) {
    // Subnormal, in units of 2⁻²⁴: shift the significand there, ties to even.
    uint shift = 126u - (magnitude >> 23);
    if (shift > 24u) return sign;
    uint m = (magnitude & 0x7fffffu) | 0x800000u;
    uint kept = m >> shift, rest = m & ((1u << shift) - 1u), half_ = 1u << (shift - 1u);
    return sign | (kept + ((rest > half_ || (rest == half_ && (kept & 1u) == 1u)) ? 1u : 0u));
  }
  uint m = magnitude - (112u << 23);
  return sign | ((m + 0xfffu + ((m >> 13) & 1u)) >> 13);
}

uint decode(uint b) {
  if (p.type == 2) return b << 16;
  uint sign = (b & 0x8000u) << 16, exponent = (b >> 10) & 31u, fraction = b & 0x3ffu;
  if (exponent == 31u) return sign | 0x7f800000u | (fraction << 13);
  if (exponent != 0u) return sign | ((exponent + 112u) << 23) | (fraction << 13);
  if (fraction == 0u) return sign;
  int top = findMSB(fraction); // 2⁻²⁴·fraction, normal in float32
  return sign | (uint(top + 103) << 23) | ((fraction << uint(23 - top)) & 0x7fffffu);
}

void main() {
  uint tile = gl_WorkGroupID.x + gl_WorkGroupID.y * gl_NumWorkGroups.x;
  int word = int(tile * gl_WorkGroupSize.x + gl_LocalInvocationID.x);
  int i = 2 * word;
  if (tile >= p.tiles || i >= p.elements) return;
  bool both = i + 1 < p.elements;
  if (p.narrow == 1) {
    uint high = both ? encode(from[i + 1]) : 0u;
    to[word] = encode(from[i]) | (high << 16);
  } else {
    uint w = from[word];
    to[i] = decode(w & 0xffffu);
    if (both) to[i + 1] = decode(w >> 16);
  }
}
