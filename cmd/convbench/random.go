package main

import (
	"context"
	"fmt"
	"os"
	"slices"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// randomDevice collects what a device did with random cases.
type randomDevice struct {
	engine    *vkconv.Engine
	wrong     int
	worst     float64
	worstName string
}

// checkRandom runs random cases on the device that was asked for, or on all.
func checkRandom(ctx context.Context, e *env, device string, n int, seed uint64) (err error) {
	names := []string{device}
	if device == "" && os.Getenv("VKCONV_DEVICE") == "" {
		names = nil
		infos, err := vkconv.Devices()
		if err != nil {
			fmt.Fprintf(e.stdout, "no GPU: %s\n", wrap(err.Error(), 92, "        "))
		}
		for _, i := range infos {
			if i.Unusable == "" {
				names = append(names, fmt.Sprint(i.Index))
			}
		}
		names = append(names, "cpu")
	}
	var devices []*randomDevice
	defer func() {
		for _, d := range devices {
			err = e.shut(err, d.engine)
		}
	}()
	for _, name := range slices.Compact(names) {
		engine, err := vkconv.Open(vkconv.Options{Device: name})
		if err != nil {
			return badInput(err)
		}
		devices = append(devices, &randomDevice{engine: engine})
	}
	fmt.Fprintf(e.stdout, "%d random cases from seed %d\n\n", n, seed)
	for i := range n {
		e.progress("%d of %d", i+1, n)
		if err := randomCase(ctx, e, devices, seed, i); err != nil {
			return err
		}
	}
	e.progress("")
	wrong := 0
	for _, d := range devices {
		fmt.Fprintf(e.stdout, "%s\n    %s\n    %d wrong; largest error %s of its bound in %s\n", d.engine.Name(), d.engine.Driver(), d.wrong, share(d.worst), d.worstName)
		wrong += d.wrong
	}
	if wrong > 0 {
		return &failure{status: statusWrong}
	}
	return nil
}

// randomCase runs the i-th case of a seed on every device.
func randomCase(ctx context.Context, e *env, devices []*randomDevice, seed uint64, i int) error {
	c := convtest.Random(seed, i)
	op := operation{c.Problem, c.X, c.Weight, c.Bias, c.Offset, c.Mask}
	want := op.oracle()
	for _, d := range devices {
		y, _, err := op.forward(ctx, d.engine)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", d.engine.Name(), c.Name, err)
		}
		v := conv.Judge(y, want, nil, op.roundings())
		if v.Worst > d.worst {
			d.worst, d.worstName = v.Worst, c.Name
		}
		if !v.OK() {
			d.wrong++
			e.progress("")
			fmt.Fprintf(e.stdout, "WRONG on %s: %s\n    y[%d] is %g, must be %g within %.3g\n", d.engine.Name(), c.Name, v.Index, v.Got, v.Want, v.Bound)
		}
	}
	return nil
}
