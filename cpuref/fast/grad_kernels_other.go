//go:build !amd64 || noasm

package fast

func machineGrad(*kernels) {}
