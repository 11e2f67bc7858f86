package onnx

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"

	"vkconv"
	"vkconv/conv"
	"vkconv/tensorio"
)

// ONNX's backend tests allow |y − expected| ≤ atol + rtol·|expected|, unless a test says otherwise.
const (
	backendRelative = 1e-3
	backendAbsolute = 1e-7
)

// CaseResult is what came of a directory of ONNX's backend tests.
type CaseResult struct {
	Name   string
	Sets   int // of test data
	Layers int
	// Worst is the largest |y − expected| as a share of what is allowed, up to 1 is right.
	Worst float64
	// Bound says what is allowed: true for a model of one layer, whose output may be off
	// by its derived bound, and so may the expected one, which is float32, too;
	// false for 10⁻³ of the expected value + 10⁻⁷, ONNX's own, where there are more
	// layers or the expected value is given by fewer digits. Without a layer nothing is.
	Bound bool
	// Oracle is the largest error of a layer as a share of its bound, given its inputs.
	Oracle float64
}

// RunCase runs a directory of ONNX's backend tests: model.onnx with
// test_data_set_*/input_*.pb and output_*.pb. Every layer is held to its bound, and
// then the outputs to those in the files. The error matches [ErrMismatch] where a
// value is wrong, and [conv.ErrUnsupported] where the model needs what is not here.
func RunCase(ctx context.Context, e *vkconv.Engine, dir string) (r CaseResult, err error) {
	r.Name = filepath.Base(dir)
	m, err := Open(filepath.Join(dir, "model.onnx"))
	if err != nil {
		return r, err
	}
	sets, err := filepath.Glob(filepath.Join(dir, "test_data_set_*"))
	if err != nil || len(sets) == 0 {
		return r, damaged("%s: has no test_data_set_*", dir)
	}
	slices.Sort(sets)
	for _, set := range sets {
		if err := runSet(ctx, e, m, set, &r); err != nil {
			return r, err
		}
		r.Sets++
	}
	return r, nil
}

func runSet(ctx context.Context, e *vkconv.Engine, m *Model, set string, r *CaseResult) error {
	planned, fed := map[string]tensorio.Array{}, map[string]tensorio.Array{}
	for i, v := range m.inputs {
		a, err := readTensor(filepath.Join(set, fmt.Sprintf("input_%d.pb", i)))
		if err != nil {
			return err
		}
		planned[v.Name] = a
		if !v.Planned {
			fed[v.Name] = a
		}
	}
	p, err := m.Plan(ctx, e, planned, Options{})
	if err != nil {
		return err
	}
	defer p.Close()
	checked, err := p.Verify(ctx, fed)
	for _, c := range checked {
		r.Oracle = max(r.Oracle, c.Worst)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", set, err)
	}
	out, err := p.Run(ctx, fed)
	if err != nil {
		return fmt.Errorf("%s: %w", set, err)
	}
	r.Layers, r.Bound = len(p.steps), len(p.steps) == 1 && len(p.outputs) == 1 && p.steps[0].every == 1
	for i, v := range m.outputs {
		want, err := readTensor(filepath.Join(set, fmt.Sprintf("output_%d.pb", i)))
		if err != nil {
			return err
		}
		if err := p.compare(ctx, v.Name, out[v.Name], want, r); err != nil {
			return fmt.Errorf("%s: output %q %w", set, v.Name, err)
		}
	}
	return nil
}

// compare holds an output to the expected one.
func (p *Plan) compare(ctx context.Context, name string, got, want tensorio.Array, r *CaseResult) error {
	if !slices.Equal(got.Shape, want.Shape) {
		return fmt.Errorf("%w: it is %s, must be %s", ErrMismatch, Extents(got.Shape), Extents(want.Shape))
	}
	if a, b := fmt.Sprintf("%T", got.Data), fmt.Sprintf("%T", want.Data); a != b {
		return fmt.Errorf("%w: its elements are %s, must be %s", ErrMismatch, a[2:], b[2:])
	}
	y, err := got.Float64()
	if err != nil {
		return err
	}
	expected, err := want.Float64()
	if err != nil {
		return err
	}
	theirs := func(i int) float64 { return backendAbsolute + backendRelative*math.Abs(expected[i]) }
	switch {
	case len(p.steps) == 0: // nothing was computed
		theirs = func(int) float64 { return 0 }
	case r.Bound && len(y) > 0:
		sums, _, roundings, err := p.steps[0].sums(ctx)
		if err != nil {
			return err
		}
		worst, _ := largest(y, expected, func(i int) float64 { return 2 * sums[i].Bound(roundings) })
		if worst <= 1 {
			r.Worst = max(r.Worst, worst)
			return nil
		}
		r.Bound = false // the expected value is no float32 result: printed digits, say
	}
	worst, at := largest(y, expected, theirs)
	if r.Worst = max(r.Worst, worst); worst > 1 {
		return fmt.Errorf("%w: element %d is %g, must be %g within %.3g", ErrMismatch, at, y[at], expected[at], theirs(at))
	}
	return nil
}

// largest is the largest error as a share of what is allowed, and where it is.
func largest(y, expected []float64, allowed func(i int) float64) (worst float64, at int) {
	for i := range y {
		if share := conv.Share(float32(y[i]), expected[i], allowed(i)); share > worst {
			worst, at = share, i
		}
	}
	return worst, at
}

// maxTensorBytes bounds a TensorProto file.
const maxTensorBytes = 1 << 30

func readTensor(path string) (tensorio.Array, error) {
	info, err := os.Stat(path)
	if err == nil && (!info.Mode().IsRegular() || info.Size() > maxTensorBytes) {
		err = damaged("%s: must be a regular file of at most %d bytes", path, maxTensorBytes)
	}
	if err != nil {
		return tensorio.Array{}, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return tensorio.Array{}, err
	}
	_, a, err := DecodeTensor(data)
	if err != nil {
		return tensorio.Array{}, fmt.Errorf("%s: %w", path, err)
	}
	return a, nil
}
