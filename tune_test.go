package vkconv_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// A tuned shape is measured once and found again by the next engine; on the CPU
// path the option changes nothing.
func TestTune(t *testing.T) {
	x, w := conv.Shape{1, 3, 9, 8}, conv.Shape{4, 3, 3, 3}
	r := rand.New(rand.NewPCG(1, 2))
	image, weight := convtest.Normal(r, x.Len()), convtest.Normal(r, w.Len())
	for _, name := range devices(t) {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			var before []float32
			for _, o := range []vkconv.Options{{}, {Tune: time.Nanosecond}, {Tune: time.Hour}} {
				want := "by the cost model"
				if o.Tune > 0 {
					want = "measured"
				}
				if o.Tune == time.Hour { // nothing is measured that was before
					want = "measured before and kept"
				}
				o.Device, o.CacheDir = name, dir
				e, err := vkconv.Open(o)
				if err != nil {
					t.Fatal(err)
				}
				l, err := e.NewConv2D(x, weight, nil, w, conv.Params{})
				if err != nil {
					t.Fatal(err)
				}
				choices := l.Choices()
				switch {
				case name == "cpu" && choices != nil:
					t.Errorf("the CPU path chose: %+v", choices)
				case name != "cpu":
					if len(choices) != 1 || choices[0].How != want || choices[0].Of != "y" {
						t.Fatalf("Tune %v: %+v, want it %s", o.Tune, choices, want)
					}
					taken := slices.IndexFunc(choices[0].Variants, func(v vkconv.Variant) bool { return v.Chosen })
					if v := choices[0].Variants[taken]; v.Unfit != "" || v.Cost <= 0 || (v.Time > 0) != (o.Tune > 0) {
						t.Errorf("%+v was chosen", v)
					}
				}
				in, out := tensor(t, e, x, image), tensor(t, e, l.Problem().Output(), make([]float32, l.Problem().Output().Len()))
				y := make([]float32, out.Shape().Len())
				if err := errors.Join(l.Run(ctx, out, in), out.Download(ctx, y)); err != nil {
					t.Fatal(err)
				}
				// So little time is the cost model's kernel's alone.
				if before != nil && !slices.Equal(y, before) {
					t.Errorf("Tune %v changed the result", o.Tune)
				}
				before = y
				if o.Tune == time.Hour && name != "cpu" {
					ended, cancel := context.WithCancel(ctx)
					cancel()
					if _, err := e.NewConv2D(conv.Shape{1, 3, 7, 5}, weight, nil, w, conv.Params{}, vkconv.TuneUntil(ended)); !errors.Is(err, context.Canceled) {
						t.Errorf("a context that is done: %v", err)
					}
				}
				if err := e.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// What cannot be meant is refused, on the CPU path, too.
func TestTuneRefused(t *testing.T) {
	if _, err := vkconv.Open(vkconv.Options{Device: "cpu", Tune: -1}); !errors.Is(err, conv.ErrParams) {
		t.Errorf("Tune -1: %v", err)
	}
	for _, text := range []string{"2", "fast", "-1s"} {
		t.Setenv("VKCONV_TUNE", text)
		if _, err := vkconv.Open(vkconv.Options{Device: "cpu"}); !errors.Is(err, conv.ErrParams) {
			t.Errorf("VKCONV_TUNE=%s: %v", text, err)
		}
	}
}
