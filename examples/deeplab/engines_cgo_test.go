//go:build cgo

package main

import (
	"strconv"
	"testing"

	"vkconv/gpu/gputest"
)

// devices names every device there is for Options.Device, the CPU first.
func devices(t *testing.T) []string {
	names := []string{"cpu"}
	t.Run("find drivers", func(t *testing.T) { // a subtest, so that its skip is seen and the CPU still tested
		for _, i := range gputest.List(t) {
			names = append(names, strconv.Itoa(i.Index))
		}
	})
	if t.Failed() {
		t.FailNow()
	}
	return names
}
