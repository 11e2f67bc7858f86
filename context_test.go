package vkconv_test

import (
	"context"
	"errors"
	"math"
	"testing"

	"vkconv"
	"vkconv/conv"
)

// A context that is done: every call that takes one returns its error, and does
// nothing, on a device as on the CPU.
func TestDoneContext(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		done, cancel := context.WithCancel(ctx)
		cancel()
		s := conv.Shape{1, 1, 4, 5}
		nan := float32(math.NaN())
		x, y := tensor(t, e, s, filled(s.Len(), 1)), tensor(t, e, s, filled(s.Len(), nan))
		l, err := e.NewConv2D(s, []float32{2}, nil, conv.Shape{1, 1, 1, 1}, conv.Params{})
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		act, err := e.NewActivation(s, conv.Activation{Kind: conv.ReLU})
		if err != nil {
			t.Fatal(err)
		}
		defer act.Close()
		sgd, err := e.NewSGD(s, conv.SGD{})
		if err != nil {
			t.Fatal(err)
		}
		defer sgd.Close()
		got, got64 := filled(s.Len(), -1), make([]float64, s.Len())
		for name, f := range map[string]func() error{
			"Conv2D.Run":     func() error { return l.Run(done, y, x) },
			"Activation.Run": func() error { return act.Run(done, y, x) },
			"SGD.Run":        func() error { return sgd.Run(done, y, y, x, 0.1) },
			"Wait":           func() error { return e.Wait(done) },
			"Download":       func() error { return x.Download(done, got) },
			"Download64":     func() error { return x.Download64(done, got64) },
			"Time": func() error {
				_, err := e.Time(done, func() error { t.Error("Time called its function"); return nil })
				return err
			},
		} {
			if err := f(); !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got[0] != -1 || got64[0] != 0 {
			t.Errorf("a download with a done context wrote %v and %v", got[0], got64[0])
		}
		if err := y.Download(ctx, got); err != nil {
			t.Fatal(err)
		}
		for _, v := range got {
			if v == v {
				t.Fatalf("a run with a done context wrote %v", got)
			}
		}
		// A context that ends while the work waits leaves the engine as it was.
		if err := l.Run(ctx, y, x); err != nil {
			t.Fatal(err)
		}
		if err := y.Download(done, got); !errors.Is(err, context.Canceled) {
			t.Errorf("Download: %v", err)
		}
		if err := y.Download(ctx, got); err != nil || got[0] != 2 {
			t.Errorf("after a wait that was given up: %v, %v", got[0], err)
		}
	})
}

func filled(n int, v float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}
