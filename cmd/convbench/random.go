package main

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/convtest"
)

// randomOperator is a row of the tables of random cases.
type randomOperator struct {
	name string
	// next draws a case from a seed, the i-th or one behind it, with its name and the
	// number of the one drawn.
	next func(seed uint64, i int, backward bool) (s subject, name string, drawn int)
}

// randomOperators are all there are.
var randomOperators = []randomOperator{
	{"convolution", randomConvolution(func(p conv.Problem) bool { return !p.Deformable() })},
	{"transposed", func(seed uint64, i int, backward bool) (subject, string, int) {
		c := convtest.RandomTransposed(seed, i)
		return randomTransposed(c, backward), c.Name, i
	}},
	{"deformable v1", randomConvolution(func(p conv.Problem) bool { return p.Deformable() && !p.Mask })},
	{"deformable v2", randomConvolution(func(p conv.Problem) bool { return p.Mask })},
	{"pack v1", randomPack(false)},
	{"pack v2", randomPack(true)},
	{"dcnv3", randomDCN(convtest.RandomDCNv3)},
	{"dcnv4", randomDCN(convtest.RandomDCNv4)},
	{"roi pool", randomRoIPool(convtest.RandomRoIPool)},
	{"psroi pool", randomRoIPool(convtest.RandomPSRoIPool)},
	{"resize", randomScale(false)},
	{"global pool", randomScale(true)},
	{"pyramid", func(seed uint64, i int, backward bool) (subject, string, int) {
		c := convtest.RandomPyramid(seed, i)
		return pyramid{c.Problem, c.X, given(backward, c.DLevels)}, c.Name, i
	}},
	{"aspp", func(seed uint64, i int, backward bool) (subject, string, int) {
		c := convtest.RandomASPP(seed, i)
		a := aspp{p: c.Problem, x: c.X, dy: given(backward, c.OutputGrad())}
		for j, f := range c.Filters {
			a.add(fmt.Sprint("layer", j), c.Problem.Layers()[j], f.Weight, f.Bias)
		}
		return a, c.Name, i
	}},
	{"activation", randomLayer(func(c convtest.LayerCase) bool { return c.Activation != nil })},
	{"window pool", randomLayer(func(c convtest.LayerCase) bool { return c.Pool != nil })},
	{"batch norm", randomLayer(func(c convtest.LayerCase) bool { return c.Norm != nil })},
}

// given is dy where there is a backward pass.
func given[T any](backward bool, dy []T) []T {
	if !backward {
		return nil
	}
	return dy
}

func randomConvolution(takes func(conv.Problem) bool) func(uint64, int, bool) (subject, string, int) {
	return func(seed uint64, i int, backward bool) (subject, string, int) {
		for ; ; i++ {
			if c := convtest.Random(seed, i); takes(c.Problem) {
				return randomOperation(c, backward), c.Name, i
			}
		}
	}
}

func randomPack(masked bool) func(uint64, int, bool) (subject, string, int) {
	return func(seed uint64, i int, backward bool) (subject, string, int) {
		for ; ; i++ {
			if c := convtest.RandomPack(seed, i); c.Problem.Mask == masked {
				return pack{c.Problem, c.X, c.Filter.Weight, c.Filter.Bias, c.Predictor.Weight, c.Predictor.Bias, given(backward, c.OutputGrad())}, c.Name, i
			}
		}
	}
}

func randomDCN(random func(uint64, int) convtest.DCNCase) func(uint64, int, bool) (subject, string, int) {
	return func(seed uint64, i int, backward bool) (subject, string, int) {
		c := random(seed, i)
		return dcn{c.D, c.X, c.Offset, c.Mask, given(backward, c.OutputGrad()), false}, c.Name, i
	}
}

func randomRoIPool(random func(uint64, int) convtest.RoICase) func(uint64, int, bool) (subject, string, int) {
	return func(seed uint64, i int, backward bool) (subject, string, int) {
		c := random(seed, i)
		return roiPool{c.Q, c.X, c.RoIs, c.Offset, c.Mask, given(backward, c.OutputGrad()), false}, c.Name, i
	}
}

func randomScale(pool bool) func(uint64, int, bool) (subject, string, int) {
	return func(seed uint64, i int, backward bool) (subject, string, int) {
		for ; ; i++ {
			switch c := convtest.RandomScale(seed, i); {
			case (c.Pool != nil) != pool:
			case pool:
				return globalPool{*c.Pool, c.X, given(backward, c.Dy)}, c.Name, i
			default:
				return resize{*c.Resize, c.X, given(backward, c.Dy)}, c.Name, i
			}
		}
	}
}

func randomLayer(takes func(convtest.LayerCase) bool) func(uint64, int, bool) (subject, string, int) {
	return func(seed uint64, i int, backward bool) (subject, string, int) {
		for ; ; i++ {
			if c := convtest.RandomLayer(seed, i); takes(c) {
				return layerOf(c, backward), c.Name, i
			}
		}
	}
}

// The columns of the tables: the output and the gradients. Arrays of blocks,
// which have several of a kind, share a column.
var randomColumns = [...]string{"y", "dx", "dweight", "dbias", "doffset", "dmask"}

func columnOf(name string) int {
	switch {
	case !isGradient(name):
		name = "y"
	case strings.HasSuffix(name, "_weight"):
		name = "dweight"
	case strings.HasSuffix(name, "_bias"):
		name = "dbias"
	}
	return slices.Index(randomColumns[:], name)
}

// randomRow collects what a device did with one operator.
type randomRow struct {
	cases, wrong int
	worst        [len(randomColumns)]float64
	compared     [len(randomColumns)]bool
}

// randomDevice collects what a device did with random cases.
type randomDevice struct {
	engine    *vkconv.Engine
	rows      []randomRow // as randomOperators
	worst     float64
	worstName string
}

// checkRandom runs n random cases of every operator whose name matches only, on
// the device that was asked for, or on all.
func checkRandom(ctx context.Context, e *env, device string, n int, seed uint64, only *regexp.Regexp, backward bool) (err error) {
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
		devices = append(devices, &randomDevice{engine: engine, rows: make([]randomRow, len(randomOperators))})
	}
	fmt.Fprintf(e.stdout, "%d random cases an operator from seed %d\n", n, seed)
	for row, o := range randomOperators {
		if !only.MatchString(o.name) {
			continue
		}
		for i, next := 0, 0; i < n; i++ {
			e.progress("%s: %d of %d", o.name, i+1, n)
			op, name, drawn := o.next(seed, next, backward)
			next = drawn + 1
			if err := randomCase(ctx, e, devices, row, op, name); err != nil {
				return err
			}
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
func randomCase(ctx context.Context, e *env, devices []*randomDevice, row int, op subject, name string) error {
	right := op.oracle()
	for _, d := range devices {
		got, err := op.compute(ctx, d.engine)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", d.engine.Name(), name, err)
		}
		r, ok := &d.rows[row], true
		r.cases++
		for _, w := range right {
			v := conv.Judge(got[w.name], w.sums, nil, w.roundings)
			column := columnOf(w.name)
			r.worst[column], r.compared[column] = max(r.worst[column], v.Worst), true
			if v.Worst > d.worst {
				d.worst, d.worstName = v.Worst, w.name+" of "+name
			}
			if !v.OK() {
				ok = false
				e.progress("")
				fmt.Fprintf(e.stdout, "WRONG on %s: %s\n    %s\n", d.engine.Name(), name, sentence(w.name, v))
			}
		}
		if !ok {
			r.wrong++
		}
	}
	return nil
}

// table writes what the device did, and returns how many cases were wrong.
func (d *randomDevice) table(e *env) (wrong int) {
	fmt.Fprintf(e.stdout, "\n%s\n%s\nlargest share of the bound: %s in %s\n", d.engine.Name(), d.engine.Driver(), share(d.worst), d.worstName)
	fmt.Fprintf(e.stdout, "%-14s %6s %6s", "", "cases", "wrong")
	for _, name := range randomColumns {
		fmt.Fprintf(e.stdout, " %8s", name)
	}
	fmt.Fprintln(e.stdout)
	for i, r := range d.rows {
		if r.cases == 0 {
			continue
		}
		line := fmt.Sprintf("%-14s %6d %6d", randomOperators[i].name, r.cases, r.wrong)
		for a := range randomColumns {
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
