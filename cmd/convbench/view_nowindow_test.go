//go:build !cgo || !window

package main

import "testing"

// A build without a window says how to get one, and what else there is.
func TestWithoutWindow(t *testing.T) {
	files(t)
	must(t, statusBadInput, []string{"go install -tags window", "xorg-dev", `convbench show photo.png -o points.png -layers "3x3 d2 *1" -deform turn`},
		"view", "photo.png", "-rate", "2", "-layers", "1", "-deform", "turn")
	// What it offers works.
	must(t, 0, []string{"9 of 9 samples"}, "show", "photo.png", "-o", "points.png", "-layers", "3x3 d2 *1", "-deform", "turn")
}
