//go:build (!amd64 && !arm64) || noasm

package fast

func machineKernels() []*kernels { return nil }
