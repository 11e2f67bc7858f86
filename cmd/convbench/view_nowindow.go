//go:build !cgo || !window

package main

import (
	"context"
	"fmt"
)

// openWindow says how to get one.
func openWindow(_ context.Context, _ *env, _, path string, s *scene) error {
	stack := fmt.Sprintf("%dx%d d%d *%d", s.size, s.size, s.rate, s.layers)
	deform := ""
	if s.deform > 0 {
		deform = " -deform " + s.deforms[s.deform]
	}
	return badInputf("this convbench was built without a window; with cgo and GLFW's headers (Debian: apt install xorg-dev libgl-dev) "+
		"go install -tags window ./cmd/convbench gives one, and without it convbench show %s -o points.png -layers %q%s draws the same points", path, stack, deform)
}
