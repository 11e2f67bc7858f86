#version 450
#extension GL_EXT_shader_atomic_float : require
layout(local_size_x = 32) in;
layout(binding = 0) buffer X { float sum; };
void main() { atomicAdd(sum, 0.5); }
