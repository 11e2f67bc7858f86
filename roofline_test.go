package vkconv_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"time"

	"vkconv"
)

// Every device has peaks of a computer's size, measured once.
func TestRoofline(t *testing.T) {
	onOwn(t, func(t *testing.T, e *vkconv.Engine) {
		stopped, stop := context.WithCancel(ctx)
		stop()
		if r, err := e.Roofline(stopped); !errors.Is(err, context.Canceled) || r.Known() {
			t.Errorf("after its context ended: %+v, %v", r, err)
		}
		r, err := e.Roofline(ctx)
		if err != nil {
			t.Fatal(err)
		}
		for name, v := range map[string]float64{"Float32": r.Float32, "Memory": r.Memory, "Command": r.Command} {
			if !(v > 1e7 && v < 1e16) {
				t.Errorf("%s is %g a second", name, v)
			}
		}
		if r.Memory != max(r.Read, r.Copy, r.Command) {
			t.Errorf("of memory the best is not taken: %+v", r)
		}
		if again, err := e.Roofline(ctx); again != r || err != nil {
			t.Errorf("%+v, then %+v, %v", r, again, err)
		}
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Roofline(ctx); !errors.Is(err, vkconv.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// 2·10⁹ operations at 10¹³ a second take 0.2 ms at least, 10⁸ bytes at 2·10¹¹
// a second 0.5 ms.
func TestRooflineShare(t *testing.T) {
	if (vkconv.Roofline{Float32: 1}).Known() || (vkconv.Roofline{Memory: 1}).Known() {
		t.Error("half a roofline is none")
	}
	for _, c := range []struct {
		memory float64
		least  time.Duration
		limits bool
		share  float64
	}{{1e15, 200 * time.Microsecond, false, 0.2}, {2e11, 500 * time.Microsecond, true, 0.5}} {
		r := vkconv.Roofline{Float32: 1e13, Memory: c.memory}
		if least, limits := r.Least(2e9, 1e8); least != c.least || limits != c.limits || !r.Known() {
			t.Errorf("at %g bytes a second at least %v, %v; want %v, %v", c.memory, least, limits, c.least, c.limits)
		}
		if share := r.Share(2e9, 1e8, time.Millisecond); math.Abs(share-c.share) > 1e-12 {
			t.Errorf("at %g bytes a second the share is %g, want %g", c.memory, share, c.share)
		}
	}
}
