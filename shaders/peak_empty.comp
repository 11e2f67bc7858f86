#version 450
// What a dispatch costs that does nothing.
layout(local_size_x_id = 0) in;
void main() {}
