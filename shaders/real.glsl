// Sources that are compiled for both precisions say real: float, or with DOUBLE
// defined double.
//
// What a number is, is tested by its bits: compilers may assume that floats are
// finite numbers.
#ifndef real
#ifdef DOUBLE
#define real double
#define real4 dvec4
#include "double_exp.glsl"

bool isNaN(double v) {
  uvec2 bits = unpackDouble2x32(v);
  uint high = bits.y & 0x7fffffffu;
  return any(bvec2(high > 0x7ff00000u, all(bvec2(high == 0x7ff00000u, bits.x != 0u))));
}
bool finite(double v) { return (unpackDouble2x32(v).y & 0x7ff00000u) != 0x7ff00000u; }
double nan() { return packDouble2x32(uvec2(0u, 0x7ff80000u)); }
#else
#define real float
#define real4 vec4

bool isNaN(float v) { return (floatBitsToUint(v) & 0x7fffffffu) > 0x7f800000u; }
bool finite(float v) { return (floatBitsToUint(v) & 0x7f800000u) != 0x7f800000u; }
float nan() { return uintBitsToFloat(0x7fc00000u); }
float exponential(float v) { return exp(v); }
#endif
#endif
