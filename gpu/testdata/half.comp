#version 450
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#extension GL_EXT_shader_16bit_storage : require
layout(local_size_x = 32) in;
layout(binding = 0) buffer X { float16_t x[]; };
void main() { x[gl_GlobalInvocationID.x] = x[gl_GlobalInvocationID.x] * float16_t(2); }
