//go:build !cgo

package main

import "testing"

// devices is the CPU alone.
func devices(*testing.T) []string { return []string{"cpu"} }
