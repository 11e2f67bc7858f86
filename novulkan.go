//go:build !cgo

package vkconv

import "vkconv/gpu"

// openVulkan refuses: the Vulkan loader is called through cgo.
func openVulkan(Options) (backend, string, error) { return nil, "", gpu.ErrNoCgo }
