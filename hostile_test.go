package vkconv_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"vkconv"
	"vkconv/conv"
	"vkconv/gpu"
)

// call is a method of a layer with arguments that it takes.
type call struct {
	name string
	of   interface{ Close() }
	do   any
	args []reflect.Value // behind the context
}

// calls are all layers' of an engine, each as small as it can be.
func calls(t *testing.T, e *vkconv.Engine) (all []call) {
	t.Helper()
	x, y := conv.Shape{1, 2, 4, 4}, conv.Shape{1, 3, 4, 4}
	w, params := conv.Shape{3, 2, 3, 3}, conv.Params{Padding: conv.Pad(1)}
	weight := make([]float32, w.Len())
	one := func(s conv.Shape) *vkconv.Tensor { return zero(t, e, s) }
	add := func(name string, of interface{ Close() }, err error, do any, args ...any) {
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		c := call{name, of, do, nil}
		for _, a := range args { // somewhere, so that they can be changed
			at := reflect.New(reflect.TypeOf(a)).Elem()
			at.Set(reflect.ValueOf(a))
			c.args = append(c.args, at)
		}
		all = append(all, c)
	}
	offset, mask := conv.Shape{1, 18, 4, 4}, conv.Shape{1, 9, 4, 4}
	grads := func(biased bool, others ...conv.Shape) vkconv.Gradients {
		g := vkconv.Gradients{X: one(x), Weight: one(w)}
		if biased {
			g.Bias = one(conv.Shape{1, 3, 1, 1})
		}
		if len(others) > 0 {
			g.Offset, g.Mask = one(others[0]), one(others[1])
		}
		return g
	}
	{
		l, err := e.NewConv2D(x, weight, nil, w, params)
		add("Conv2D", l, err, l.Run, one(y), one(x))
	}
	{
		l, err := e.NewConv2DBackward(x, weight, w, params)
		add("Conv2DBackward", l, err, l.Run, grads(true), one(x), one(y))
	}
	{
		l, err := e.NewConvTranspose2D(y, weight, nil, w, params, [2]int{})
		add("ConvTranspose2D", l, err, l.Run, one(x), one(y))
	}
	{
		l, err := e.NewConvTranspose2DBackward(y, weight, w, params, [2]int{})
		g := vkconv.Gradients{X: one(y), Weight: one(w), Bias: one(conv.Shape{1, 2, 1, 1})}
		add("ConvTranspose2DBackward", l, err, l.Run, g, one(y), one(x))
	}
	{
		l, err := e.NewDeformConv2D(x, weight, nil, w, params, conv.Deform{Mask: true})
		add("DeformConv2D", l, err, l.Run, one(y), one(x), one(offset), one(mask))
	}
	{
		l, err := e.NewDeformConv2DBackward(x, weight, w, params, conv.Deform{Mask: true})
		add("DeformConv2DBackward", l, err, l.Run, grads(true, offset, mask), one(x), one(offset), one(mask), one(y))
	}
	pack := vkconv.PackWeights{Weight: weight, Offset: make([]float32, 27*2*9), OffsetBias: make([]float32, 27)}
	{
		l, err := e.NewDeformPack(x, pack, w, params, conv.Deform{Mask: true})
		add("DeformPack", l, err, l.Run, one(y), one(x))
	}
	{
		l, err := e.NewDeformPackBackward(x, pack, w, params, conv.Deform{Mask: true})
		g := vkconv.PackGradients{X: one(x), Weight: one(w), Bias: one(conv.Shape{1, 3, 1, 1}), Offset: one(conv.Shape{27, 2, 3, 3}), OffsetBias: one(conv.Shape{1, 27, 1, 1})}
		add("DeformPackBackward", l, err, l.Run, g, one(x), one(y))
	}
	dcn := conv.DCNParams{Padding: conv.Pad(1)}
	{
		l, err := e.NewDCNv3(x, dcn)
		add("DCNv3", l, err, l.Run, one(x), one(x), one(offset), one(mask))
		add("DCNv3.RunBackward", l, err, l.RunBackward, vkconv.Gradients{X: one(x), Offset: one(offset), Mask: one(mask)}, one(x), one(offset), one(mask), one(x))
	}
	{
		l, err := e.NewDCNv4(x, dcn)
		packed := l.Problem().Offset()
		add("DCNv4", l, err, l.Run, one(x), one(x), one(packed))
		add("DCNv4.RunBackward", l, err, l.RunBackward, vkconv.Gradients{X: one(x), Offset: one(packed)}, one(x), one(packed), one(x))
	}
	{
		l, err := e.NewDeformRoIPool(x, 2, conv.RoIPoolParams{Bins: [2]int{2, 2}})
		p := l.Problem()
		none := (*vkconv.Tensor)(nil)
		add("RoIPool", l, err, l.Run, one(p.Output()), one(x), one(p.RoIShape()), none, none)
		add("RoIPool.RunBackward", l, err, l.RunBackward, vkconv.Gradients{X: one(x)}, one(x), one(p.RoIShape()), none, none, one(p.Output()))
	}
	{
		l, err := e.NewResize(x, 7, 3, false)
		add("Resize", l, err, l.Run, one(conv.Shape{1, 2, 7, 3}), one(x))
	}
	{
		l, err := e.NewResizeBackward(x, 7, 3, false)
		add("ResizeBackward", l, err, l.Run, one(x), one(conv.Shape{1, 2, 7, 3}))
	}
	{
		l, err := e.NewGlobalPool(x)
		add("GlobalPool", l, err, l.Run, one(conv.Shape{1, 2, 1, 1}), one(x))
	}
	{
		l, err := e.NewGlobalPoolBackward(x)
		add("GlobalPoolBackward", l, err, l.Run, one(x), one(conv.Shape{1, 2, 1, 1}))
	}
	{
		l, err := e.NewPyramid(x, 2)
		var levels []*vkconv.Tensor
		for _, s := range l.Shapes() {
			levels = append(levels, one(s))
		}
		add("Pyramid", l, err, l.Run, levels, one(x))
		b, err := e.NewPyramidBackward(x, 2)
		add("PyramidBackward", b, err, b.Run, one(x), slices.Clone(levels))
	}
	window := conv.PoolParams{Kernel: [2]int{2, 2}}
	small := conv.Shape{1, 2, 2, 2}
	{
		l, err := e.NewMaxPool(x, window)
		add("MaxPool", l, err, l.Run, one(small), one(x))
	}
	{
		l, err := e.NewMaxPoolBackward(x, window)
		add("MaxPoolBackward", l, err, l.Run, one(x), one(x), one(small))
	}
	{
		l, err := e.NewAvgPool(x, window)
		add("AvgPool", l, err, l.Run, one(small), one(x))
	}
	{
		l, err := e.NewAvgPoolBackward(x, window)
		add("AvgPoolBackward", l, err, l.Run, one(x), one(small))
	}
	{
		l, err := e.NewAdd(x)
		add("Add", l, err, l.Run, one(x), one(x), one(x))
	}
	{
		l, err := e.NewActivation(x, conv.Activation{Kind: conv.Sigmoid})
		add("Activation", l, err, l.Run, one(x), one(x))
	}
	{
		l, err := e.NewActivationBackward(x, conv.Activation{Kind: conv.Sigmoid})
		add("ActivationBackward", l, err, l.Run, one(x), one(x), one(x))
	}
	perChannel := func() *vkconv.Tensor { return one(conv.Shape{1, 2, 1, 1}) }
	moments := func() vkconv.Moments { return vkconv.Moments{Mean: perChannel(), Var: perChannel()} }
	{
		l, err := e.NewBatchNorm(x, conv.BatchNormParams{})
		add("BatchNorm", l, err, l.Run, one(x), one(x), perChannel(), perChannel(), moments())
	}
	{
		l, err := e.NewBatchNormTraining(x, conv.BatchNormParams{})
		add("BatchNormTraining", l, err, l.Run, one(x), moments(), moments(), one(x), perChannel(), perChannel())
	}
	{
		l, err := e.NewBatchNormBackward(x, conv.BatchNormParams{})
		g := vkconv.Gradients{X: one(x), Weight: perChannel(), Bias: perChannel()}
		add("BatchNormBackward", l, err, l.Run, g, one(x), one(x), perChannel(), moments())
	}
	{
		l, err := e.NewCrossEntropy(x)
		places := l.Problem().Places()
		add("CrossEntropy", l, err, l.Run, one(places), one(x), one(x), one(places))
	}
	{
		l, err := e.NewSGD(x, conv.SGD{Momentum: 0.9})
		add("SGD", l, err, l.Run, one(x), one(x), one(x), 0.1)
	}
	{
		l, err := e.NewAdam(x, conv.Adam{})
		add("Adam", l, err, l.Run, one(x), one(x), one(x), one(x), 0.1, 1)
	}
	filter := func(k, c, side int) vkconv.Filter { return vkconv.Filter{Weight: make([]float32, k*c*side*side)} }
	aspp, weights := vkconv.ASPPParams{Channels: 2, Out: 3, Rates: []int{1}}, vkconv.ASPPWeights{Point: filter(2, 2, 1), Dilated: []vkconv.Filter{filter(2, 2, 3)}, Pool: filter(2, 2, 1), Project: filter(3, 6, 1)}
	{
		l, err := e.NewASPP(x, aspp, weights)
		add("ASPP", l, err, l.Run, one(y), one(x))
	}
	{
		l, err := e.NewASPPBackward(x, aspp, weights)
		g := vkconv.ASPPGradients{X: one(x), Dilated: []vkconv.FilterGradients{{Weight: one(conv.Shape{2, 2, 3, 3})}}}
		add("ASPPBackward", l, err, l.Run, g, one(x), one(y))
	}
	return all
}

// zero is a tensor of zeros.
func zero(t *testing.T, e *vkconv.Engine, s conv.Shape) *vkconv.Tensor {
	t.Helper()
	v, err := e.TensorOf(s, make([]float32, s.Len()))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// run calls it, and tells of a panic.
func (c call) run(ctx context.Context) (panicked any, err error) {
	defer func() { panicked = recover() }()
	err, _ = reflect.ValueOf(c.do).Call(append([]reflect.Value{reflect.ValueOf(ctx)}, c.args...))[0].Interface().(error)
	return nil, err
}

// slots are the places of tensors among the arguments, those in structs and slices included.
func (c call) slots() (all []reflect.Value) {
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch {
		case v.Type() == reflect.TypeFor[*vkconv.Tensor]():
			all = append(all, v)
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				walk(v.Field(i))
			}
		case v.Kind() == reflect.Slice:
			for i := range v.Len() {
				walk(v.Index(i))
			}
		}
	}
	for _, a := range c.args {
		walk(a)
	}
	return all
}

// documented tells whether the docs name an error's kind.
func documented(err error) bool {
	for _, kind := range []error{conv.ErrShape, conv.ErrParams, conv.ErrUnsupported, vkconv.ErrClosed, context.Canceled} {
		if errors.Is(err, kind) {
			return true
		}
	}
	return false
}

// Whatever stands in place of a tensor, every layer runs or returns an error of a kind that
// the docs name, and runs as before when the tensor is back.
func TestHostileTensors(t *testing.T) {
	onEach(t, func(t *testing.T, e *vkconv.Engine) {
		if strings.Contains(e.Driver(), "SwiftShader") {
			t.Skip("it takes long to compile 30 layers, and what is refused is refused before a driver is asked")
		}
		other, err := vkconv.Open(vkconv.Options{Device: "cpu"})
		if err != nil {
			t.Fatal(err)
		}
		defer other.Close()
		for _, c := range calls(t, e) {
			defer c.of.Close()
			if panicked, err := c.run(ctx); err != nil || panicked != nil {
				t.Errorf("%s: %v, %v", c.name, err, panicked)
				continue
			}
			slots := c.slots()
			for i, slot := range slots {
				right := slot.Interface().(*vkconv.Tensor)
				s := conv.Shape{1, 2, 4, 4}
				if right != nil {
					s = right.Shape()
				}
				freed := zero(t, e, s)
				freed.Free()
				half, err1 := e.NewTensorAs(conv.Float16, s)
				reshaped, err2 := zero(t, e, conv.Shape{s[0], s[1], 1, s[2] * s[3]}).Reshape(conv.Shape{s[0], s[1], s[2] * s[3], 1})
				if err := errors.Join(err1, err2); err != nil {
					t.Fatal(err)
				}
				wrong := map[string]*vkconv.Tensor{
					"nil": nil, "zero": {}, "freed": freed, "another engine's": zero(t, other, s), "float16": half, "reshaped": reshaped,
					"empty": zero(t, e, conv.Shape{0, s[1], s[2], s[3]}), "larger": zero(t, e, conv.Shape{s[0] + 1, s[1], s[2], s[3]}),
				}
				for k := range slots {
					if v := slots[k].Interface().(*vkconv.Tensor); k != i && v != nil {
						wrong[fmt.Sprintf("argument %d", k)] = v
					}
				}
				for what, v := range wrong {
					slot.Set(reflect.ValueOf(v))
					panicked, err := c.run(ctx)
					if panicked != nil {
						t.Errorf("%s: tensor %d is %s: panics: %v", c.name, i, what, panicked)
					} else if err != nil && !documented(err) {
						t.Errorf("%s: tensor %d is %s: %v is of no kind that the docs name", c.name, i, what, err)
					} else if err == nil && what != "nil" && !strings.HasPrefix(what, "argument") && !(what == "reshaped" && reshaped.Shape() == s) {
						t.Errorf("%s: tensor %d is %s, and it runs", c.name, i, what)
					}
				}
				slot.Set(reflect.ValueOf(right))
			}
			if panicked, err := c.run(ctx); err != nil || panicked != nil {
				t.Errorf("%s: afterwards: %v, %v", c.name, err, panicked)
			}
		}
		if err := e.Wait(ctx); err != nil {
			t.Error(err)
		}
	})
}

// What was not made by the library's functions is of no use, and hurts nobody.
func TestNotMade(t *testing.T) {
	for _, e := range []*vkconv.Engine{nil, {}} {
		if _, err := e.NewTensor(conv.Shape{1, 1, 1, 1}); !errors.Is(err, vkconv.ErrClosed) {
			t.Error(err)
		}
		if err := errors.Join(e.Close(), e.Close()); err != nil {
			t.Error(err)
		}
	}
	for _, v := range []*vkconv.Tensor{nil, {}} {
		if err := v.Upload(nil); !errors.Is(err, conv.ErrShape) && !errors.Is(err, vkconv.ErrClosed) {
			t.Error(err)
		}
		if err := v.Download(ctx, nil); !errors.Is(err, conv.ErrShape) && !errors.Is(err, vkconv.ErrClosed) {
			t.Error(err)
		}
		v.Free()
	}
	e, err := vkconv.Open(vkconv.Options{Device: "cpu"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Time(ctx, nil); !errors.Is(err, conv.ErrParams) {
		t.Error(err)
	}
	if l, err := e.NewAdd(conv.Shape{1, 1, 1, 1}, nil); err != nil {
		t.Error(err)
	} else {
		l.Close()
	}
}

// More than the machine has is refused: Go would end the program.
func TestMoreThanTheMachineHas(t *testing.T) {
	defer vkconv.Machine(1 << 30)()
	for budget, room := range map[int64]int{0: 1 << 28, 4096: 1 << 10} {
		e, err := vkconv.Open(vkconv.Options{Device: "cpu", MemoryBudget: budget})
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		for _, s := range []conv.Shape{{1, 1, 1, room + 1}, {1, 1, 2 * room, 1}} {
			if _, err := e.NewTensor(s); !errors.Is(err, gpu.ErrOutOfMemory) {
				t.Errorf("budget %d, %v: %v", budget, s, err)
			}
		}
		x, err := e.NewTensor(conv.Shape{1, 1, 1, room - 4})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.NewTensor(conv.Shape{1, 1, 1, 5}); !errors.Is(err, gpu.ErrOutOfMemory) {
			t.Errorf("budget %d, a second tensor: %v", budget, err)
		}
		x.Free()
		if _, err := e.NewTensor(conv.Shape{1, 1, 1, 5}); err != nil {
			t.Errorf("budget %d, when it is free again: %v", budget, err)
		}
		_, err1 := e.NewResize(conv.Shape{1, 1, 1, 1}, 1<<24, 1, false)
		_, err2 := e.NewResizeBackward(conv.Shape{1, 1, 1, 1 << 24}, 1, 1, true)
		for _, err := range []error{err1, err2} {
			if !errors.Is(err, gpu.ErrOutOfMemory) {
				t.Errorf("tables of 2²⁴ rows: %v", err)
			}
		}
	}
}

// What is wrong with an argument is said where no device was asked for, too: the CPU does not stand in for it.
func TestOpenDoesNotFallBackOnMistakes(t *testing.T) {
	t.Setenv("VKCONV_DEVICE", "")
	if _, err := vkconv.Open(vkconv.Options{MemoryBudget: -1}); !errors.Is(err, conv.ErrParams) {
		t.Error(err)
	}
	if len(devices(t)) > 1 {
		t.Setenv("VKCONV_VALIDATION", "yes")
		if _, err := vkconv.Open(vkconv.Options{}); !errors.Is(err, gpu.ErrArgument) {
			t.Error(err)
		}
	}
}
