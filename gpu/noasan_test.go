//go:build cgo && !asan

package gpu_test

const asan = false
