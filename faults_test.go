//go:build cgo

package vkconv_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/gpu/gputest"
)

// faultJob is a small whole job: a convolution, a deformable one behind it, the gradients of the first, all brought back.
func faultJob(e *vkconv.Engine) ([]float32, error) {
	x, w := conv.Shape{1, 2, 5, 5}, conv.Shape{3, 2, 3, 3}
	p := conv.Params{Padding: conv.Pad(1)}
	var free []func()
	defer func() {
		for _, f := range slices.Backward(free) {
			f()
		}
	}()
	tensor := func(s conv.Shape) (*vkconv.Tensor, error) {
		t, err := e.TensorOf(s, sines(s.Len()))
		if err == nil {
			free = append(free, t.Free)
		}
		return t, err
	}
	in, err := tensor(x)
	if err != nil {
		return nil, err
	}
	first, err := e.NewConv2D(x, sines(w.Len()), sines(3), w, p)
	if err != nil {
		return nil, err
	}
	free = append(free, first.Close)
	mid, err := tensor(first.Problem().Output())
	if err != nil {
		return nil, err
	}
	second, err := e.NewDeformConv2D(mid.Shape(), sines(2*3*9), nil, conv.Shape{2, 3, 3, 3}, p, conv.Deform{Mask: true})
	if err != nil {
		return nil, err
	}
	free = append(free, second.Close)
	offset, err := tensor(second.Problem().Offset())
	if err != nil {
		return nil, err
	}
	mask, err := tensor(second.Problem().MaskShape())
	if err != nil {
		return nil, err
	}
	out, err := tensor(second.Problem().Output())
	if err != nil {
		return nil, err
	}
	back, err := e.NewConv2DBackward(x, sines(w.Len()), w, p)
	if err != nil {
		return nil, err
	}
	free = append(free, back.Close)
	dx, err := tensor(x)
	if err != nil {
		return nil, err
	}
	dw, err := tensor(w)
	if err != nil {
		return nil, err
	}
	if err := first.Run(ctx, mid, in); err != nil {
		return nil, err
	}
	if err := second.Run(ctx, out, mid, offset, mask); err != nil {
		return nil, err
	}
	if err := back.Run(ctx, vkconv.Gradients{X: dx, Weight: dw}, in, mid); err != nil {
		return nil, err
	}
	var all []float32
	for _, t := range []*vkconv.Tensor{mid, out, dx, dw} {
		v := make([]float32, t.Shape().Len())
		if err := t.Download(ctx, v); err != nil {
			return nil, err
		}
		all = append(all, v...)
	}
	return all, nil
}

// Every call that may fail does, one after the other: from opening to closing there is a returned error of the right
// kind, or the right answer; the engine works on or says that it is lost; nothing is left behind.
//
// VKCONV_FAULTS=all goes through every one; without, through a few.
func TestFaults(t *testing.T) {
	for _, i := range gputest.List(t) {
		for _, fault := range []gputest.Fault{gputest.OutOfMemory, gputest.DeviceLost, gputest.BuildFailure} {
			t.Run(fmt.Sprintf("%d/%s", i.Index, fault.Name), func(t *testing.T) {
				o := vkconv.Options{Device: strconv.Itoa(i.Index), CacheDir: t.TempDir()}
				want := faultFree(t, o)
				stride := 1
				if os.Getenv("VKCONV_FAULTS") != "all" {
					stride = map[gputest.Fault]int{gputest.OutOfMemory: 17, gputest.DeviceLost: 3, gputest.BuildFailure: 4}[fault]
				}
				met, survived := 0, 0
				for n := 1; ; n += stride {
					failed, ok := faultAt(t, o, fault, n, want)
					if failed == "" {
						break
					}
					if met++; ok {
						survived++
					}
				}
				if met < 2 {
					t.Errorf("only %d calls could fail", met)
				}
				t.Logf("%s: %d calls failed in turn, %d of them were made good", i.Name, met, survived)
			})
		}
	}
}

func faultFree(t *testing.T, o vkconv.Options) []float32 {
	e, err := vkconv.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	want, err := faultJob(e)
	if err != nil {
		t.Fatal(err)
	}
	return want
}

// faultAt runs the job while call n fails, and tells which that was and whether the job succeeded nevertheless.
func faultAt(t *testing.T, o vkconv.Options, fault gputest.Fault, n int, want []float32) (failed string, ok bool) {
	var e *vkconv.Engine
	var got []float32
	var err error
	failed, _ = fault.At(n, func() {
		if e, err = vkconv.Open(o); err == nil {
			got, err = faultJob(e)
		}
	})
	where := fmt.Sprintf("call %d, %s", n, failed)
	if e == nil {
		if !errors.Is(err, gpu.ErrNoDevice) && !errors.Is(err, gpu.ErrOutOfMemory) && !errors.Is(err, gpu.ErrNoLoader) {
			t.Errorf("%s: opening gives %v", where, err)
		}
		return failed, false
	}
	kind := map[gputest.Fault]error{gputest.OutOfMemory: gpu.ErrOutOfMemory, gputest.DeviceLost: gpu.ErrDeviceLost, gputest.BuildFailure: gpu.ErrShader}[fault]
	switch {
	case err == nil && !slices.Equal(got, want):
		t.Errorf("%s: no error and another result", where)
	case err != nil && !errors.Is(err, kind):
		t.Errorf("%s: %v, want the kind %q", where, err, kind)
	}
	again, errAgain := faultJob(e)
	lost := fault == gputest.DeviceLost && err != nil
	switch {
	case lost && !errors.Is(errAgain, gpu.ErrDeviceLost):
		t.Errorf("%s: a lost engine's next job gives %v", where, errAgain)
	case !lost && errAgain != nil:
		t.Errorf("%s: the job after it gives %v", where, errAgain)
	case !lost && !slices.Equal(again, want):
		t.Errorf("%s: the job after it gives another result", where)
	}
	if err := e.Close(); err != nil {
		t.Errorf("%s: closing gives %v", where, err)
	}
	if left := e.Live(); len(left) > 0 {
		t.Errorf("%s: left behind: %v", where, left)
	}
	if m := e.Memory(); m.InUse != 0 || m.Reserved != 0 {
		t.Errorf("%s: memory left in use: %+v", where, m)
	}
	for _, m := range e.Messages() {
		t.Errorf("%s: validation: %s", where, m)
	}
	return failed, err == nil
}
