package vkconv

import "vkconv/gpu"

// Devices lists the machine's Vulkan devices in the order of their index, those
// that cannot be used too. The error says why there are none.
func Devices() ([]gpu.Info, error) { return gpu.Devices(gpu.Options{}) }
