//go:build !cgo

package vkconv_test

import "testing"

func devices(*testing.T) []string { return []string{"cpu"} }
