//go:build cgo

package vkconv_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// fleetJob is a batch whose gradients are computed after it, both held to the oracle.
type fleetJob struct {
	c       convtest.Case
	dy      []float32
	forward *vkconv.FleetConv2D
	back    *vkconv.FleetConv2DBackward
}

func newFleetJob(t *testing.T, f *vkconv.Fleet) *fleetJob {
	t.Helper()
	x, w := conv.Shape{7, 2, 5, 5}, conv.Shape{3, 2, 3, 3}
	params := conv.Params{Padding: conv.Pad(1)}
	forward, err := f.NewConv2D(x, sines(w.Len()), sines(3), w, params)
	if err != nil {
		t.Fatal(err)
	}
	back, err := f.NewConv2DBackward(x, sines(w.Len()), w, params)
	if err != nil {
		t.Fatal(err)
	}
	c := convtest.Case{Problem: forward.Problem(), X: sines(x.Len()), Weight: sines(w.Len()), Bias: sines(3)}
	return &fleetJob{c, c.OutputGrad(), forward, back}
}

// run returns the error of the one or the other, or of a wrong result.
func (j *fleetJob) run() error {
	p := j.c.Problem
	nan := float32(math.NaN())
	y := filled(p.Output().Len(), nan)
	if err := j.forward.Run(ctx, y, j.c.X); err != nil {
		return err
	}
	g := vkconv.FleetGradients{X: filled(p.Input().Len(), nan), Weight: filled(p.Weight().Len(), nan), Bias: filled(p.K, nan)}
	if err := j.back.Run(ctx, g, j.c.X, j.dy); err != nil {
		return err
	}
	want := j.c.WantGrads(j.dy)
	for _, r := range []struct {
		name string
		got  []float32
		want []conv.Sum
	}{{"y", y, j.c.Want()}, {"dx", g.X, want.X}, {"dweight", g.Weight, want.Weight}, {"dbias", g.Bias, want.Bias}} {
		if v := conv.Judge(r.got, r.want, nil, conv.ProductRoundings); !v.OK() {
			return fmt.Errorf("%s is wrong: %+v", r.name, v)
		}
	}
	return nil
}

// ended closes a fleet and looks for what it left.
func ended(t *testing.T, f *vkconv.Fleet) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Errorf("closing: %v", err)
	}
	for _, e := range f.AllEngines() {
		if left := e.Live(); len(left) > 0 {
			t.Errorf("left behind on %s: %v", e.Name(), left)
		}
		if m := e.Memory(); e.OnGPU() && m.InUse != 0 {
			t.Errorf("memory left in use on %s: %+v", e.Name(), m)
		}
	}
	noMessages(t, f)
}

// A device of several is lost at any map, submit or wait of a plan or a run: the others
// compute its images, the results are right, and so are those of the next run without it.
func TestFleetLoss(t *testing.T) {
	all := gputest.List(t)
	stride := 41
	if os.Getenv("VKCONV_FAULTS") == "all" {
		stride = 1
	}
	calls, lost := 0, map[string]int{}
	for n := 1; n <= max(1, calls); n += stride {
		var said bytes.Buffer
		var names []string
		for _, i := range all {
			names = append(names, strconv.Itoa(i.Index))
		}
		if len(all) < 2 {
			names = append(names, "cpu")
		}
		f, err := vkconv.OpenFleet(vkconv.Options{CacheDir: "off", Log: slog.New(slog.NewTextHandler(&said, &slog.HandlerOptions{Level: slog.LevelWarn}))}, names...)
		if err != nil {
			t.Fatal(err)
		}
		var j *fleetJob
		failed, met := gputest.OneDeviceLost.At(n, func() {
			j = newFleetJob(t, f)
			err = j.run()
		})
		calls = max(calls, met)
		if err != nil {
			t.Errorf("call %d, %s, of a device: %v", n, failed, err)
		}
		if failed != "" {
			lost[failed]++
			if left := len(f.Engines()); left != len(names)-1 {
				t.Errorf("call %d, %s: %d devices are left of %d", n, failed, left, len(names))
			}
			if s := said.String(); strings.Count(s, "a device of the fleet is lost") != 1 {
				t.Errorf("call %d, %s: logged %q", n, failed, s)
			}
		}
		if err := j.run(); err != nil {
			t.Errorf("after call %d, %s: %v", n, failed, err)
		}
		if n%2 == 0 { // layers may be closed behind the fleet, too
			j.forward.Close()
			j.back.Close()
		}
		ended(t, f)
	}
	t.Logf("%d calls could have lost a device, lost at %v", calls, lost)
	if len(lost) == 0 {
		t.Error("no device was lost")
	}
}

// Every device is lost: without names the CPU computes, with names runs and plans say so.
func TestFleetAllLost(t *testing.T) {
	all := gputest.List(t)
	t.Run("unnamed", func(t *testing.T) {
		t.Setenv("VKCONV_DEVICE", "")
		f, err := vkconv.OpenFleet(vkconv.Options{CacheDir: "off"})
		if err != nil {
			t.Fatal(err)
		}
		defer ended(t, f)
		if len(f.Engines()) == 0 || slices.ContainsFunc(f.Engines(), func(e *vkconv.Engine) bool { return !e.OnGPU() }) {
			t.Errorf("opened %v", f.Engines())
		}
		j := newFleetJob(t, f)
		gputest.DeviceLost.At(3, func() { err = j.run() })
		if err != nil {
			t.Error(err)
		}
		if left := f.Engines(); len(left) != 1 || left[0].OnGPU() {
			t.Errorf("left: %v", left)
		}
		if err := errors.Join(j.forward.SetWeights(j.c.Weight, j.c.Bias), j.run(), newFleetJob(t, f).run()); err != nil {
			t.Error(err)
		}
	})
	t.Run("named", func(t *testing.T) {
		f, err := vkconv.OpenFleet(vkconv.Options{CacheDir: "off", Device: strconv.Itoa(all[0].Index)})
		if err != nil {
			t.Fatal(err)
		}
		defer ended(t, f)
		j := newFleetJob(t, f)
		gputest.DeviceLost.At(2, func() { err = j.run() })
		again := j.run()
		_, plan := f.NewConv2D(j.c.Problem.Input(), j.c.Weight, nil, j.c.Problem.Weight(), conv.Params{})
		for what, err := range map[string]error{"the run": err, "the next": again, "a plan": plan, "weights": j.forward.SetWeights(j.c.Weight, j.c.Bias)} {
			if !errors.Is(err, gpu.ErrDeviceLost) || !strings.Contains(err.Error(), all[0].Name) {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}

// Devices that fail to open are left out of a fleet without names.
func TestFleetOpening(t *testing.T) {
	gputest.List(t)
	t.Setenv("VKCONV_DEVICE", "")
	sizes := map[int]int{}
	for n := 1; n < 200; n += 23 {
		var f *vkconv.Fleet
		var err error
		gputest.OutOfMemory.At(n, func() { f, err = vkconv.OpenFleet(vkconv.Options{CacheDir: "off"}) })
		if err != nil {
			t.Errorf("call %d: %v", n, err)
			continue
		}
		sizes[len(f.Engines())]++
		ended(t, f)
	}
	t.Logf("opened, by the number of devices: %v", sizes)
}

// A device that hangs is left out like one that is lost.
func TestFleetHang(t *testing.T) {
	i := gputest.List(t)[0]
	f, err := vkconv.OpenFleet(vkconv.Options{CacheDir: "off", HangTimeout: time.Nanosecond}, strconv.Itoa(i.Index), "cpu")
	if err != nil {
		t.Fatal(err)
	}
	x, w := conv.Shape{4, 32, 28, 28}, conv.Shape{32, 32, 3, 3}
	l, err := f.NewConv2D(x, noise(w.Len()), nil, w, conv.Params{Padding: conv.Pad(1)})
	if err != nil {
		t.Fatal(err)
	}
	y := make([]float32, l.Problem().Output().Len())
	if err := l.Run(ctx, y, noise(x.Len())); err != nil {
		t.Fatal(err)
	}
	sampled(t, l.Problem(), noise(x.Len()), noise(w.Len()), y, 60)
	if left := f.Engines(); len(left) != 1 || left[0].OnGPU() {
		t.Errorf("a device that had work under way for longer than a nanosecond was not given up: %+v", l.Shares())
	}
	time.Sleep(200 * time.Millisecond) // what hung ends in the end, so that closing is clean
	l.Close()
	if err := f.Close(); err != nil && !errors.Is(err, gpu.ErrDeviceLost) {
		t.Error(err)
	}
}
