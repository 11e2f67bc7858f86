//go:build !cgo

package onnx

import "testing"

// devices is the CPU alone.
func devices(*testing.T) []string { return []string{"cpu"} }
