//go:build cgo && asan

package gpu_test

const asan = true // what escapes is different then
