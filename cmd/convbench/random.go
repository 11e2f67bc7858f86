package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// The rows of a device's table of random cases.
var randomRows = [...]string{"convolution", "deformable v1", "deformable v2", "transposed"}

// randomRow collects what a device did with one operator.
type randomRow struct {
	cases, wrong int
	worst        [len(arrayNames)]float64
	compared     [len(arrayNames)]bool
}

// randomDevice collects what a device did with random cases.
type randomDevice struct {
	engine    *vkconv.Engine
	rows      [len(randomRows)]randomRow
	worst     float64
	worstName string
}

// checkRandom runs random cases on the device that was asked for, or on all.
func checkRandom(ctx context.Context, e *env, device string, n int, seed uint64, backward bool) (err error) {
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
	transposed := (n + 1) / 2
	fmt.Fprintf(e.stdout, "%d random cases and %d transposed ones from seed %d\n", n, transposed, seed)
	for i := range n + transposed {
		e.progress("%d of %d", i+1, n+transposed)
		var op operation
		var name string
		if i < n {
			c := convtest.Random(seed, i)
			op, name = randomOperation(c, backward), c.Name
		} else {
			c := convtest.RandomTransposed(seed, i-n)
			op, name = randomTransposed(c, backward), c.Name
		}
		if err := randomCase(ctx, e, devices, op, name); err != nil {
			return err
		}
	}
	e.progress("")
	wrong := 0
	for _, d := range devices {
		wrong += d.table(e)
	}
	if wrong > 0 {
		return &failure{status: statusWrong}
	}
	return nil
}

// randomCase runs a case on every device.
func randomCase(ctx context.Context, e *env, devices []*randomDevice, op operation, name string) error {
	want := op.oracle()
	row := 0
	switch {
	case op.transposed != nil:
		row = 3
	case op.p.Mask:
		row = 2
	case op.p.Deformable():
		row = 1
	}
	for _, d := range devices {
		got, err := op.compute(ctx, d.engine)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", d.engine.Name(), name, err)
		}
		r, right := &d.rows[row], true
		r.cases++
		for i, s := range want {
			if s == nil {
				continue
			}
			v := conv.Judge(got[i], s, nil, op.roundings())
			r.worst[i], r.compared[i] = max(r.worst[i], v.Worst), true
			if v.Worst > d.worst {
				d.worst, d.worstName = v.Worst, arrayNames[i]+" of "+name
			}
			if !v.OK() {
				right = false
				e.progress("")
				fmt.Fprintf(e.stdout, "WRONG on %s: %s\n    %s\n", d.engine.Name(), name, sentence(arrayNames[i], v))
			}
		}
		if !right {
			r.wrong++
		}
	}
	return nil
}

// table writes what the device did, and returns how many cases were wrong.
func (d *randomDevice) table(e *env) (wrong int) {
	fmt.Fprintf(e.stdout, "\n%s\n%s\nlargest share of the bound: %s in %s\n", d.engine.Name(), d.engine.Driver(), share(d.worst), d.worstName)
	fmt.Fprintf(e.stdout, "%-14s %6s %6s", "", "cases", "wrong")
	for _, name := range arrayNames {
		fmt.Fprintf(e.stdout, " %8s", name)
	}
	fmt.Fprintln(e.stdout)
	for i, r := range d.rows {
		if r.cases == 0 {
			continue
		}
		line := fmt.Sprintf("%-14s %6d %6d", randomRows[i], r.cases, r.wrong)
		for a := range arrayNames {
			cell := ""
			if r.compared[a] {
				cell = share(r.worst[a])
			}
			line += fmt.Sprintf(" %8s", cell)
		}
		fmt.Fprintln(e.stdout, strings.TrimRight(line, " "))
		wrong += r.wrong
	}
	return wrong
}
