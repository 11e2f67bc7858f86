//go:build !amd64 || noasm

package fast

func machineKernels() []*kernels { return nil }
