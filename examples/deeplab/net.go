package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"vkconv"
	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// Network is DeepLab v3 (Chen et al. 2017) on a ResNet of bottlenecks (He et al.
// 2015), as torchvision defines it, at output stride 8. Weights, and so the numbers
// of channels and blocks, come from a state_dict in a .safetensors file. Every
// value keeps the name of the module that makes it, and a tensor of its own.
type Network struct {
	Steps  []*Step // in the order in which they run
	FLOPs  int64   // of the convolutions, 2 for a multiply-add
	engine *vkconv.Engine
	file   *tensorio.Safetensors
	values map[string]value
	close  []func()
}

// value is a tensor, or channels of one.
type value struct {
	tensor *vkconv.Tensor
	whole  *vkconv.Tensor // itself, but for channels
	first  int
}

// Step makes one value of others, in one or two layers.
type Step struct {
	Out    string
	In     []string
	run    func(ctx context.Context) error
	oracle func(in [][]float32) (sums []conv.Sum, roundings int)
	every  int // oracle gives one element in so many, of large layers more than 1
}

// NewNetwork plans the network for inputs of shape x, 1×3×H×W normalized as for
// torchvision's models.
func NewNetwork(e *vkconv.Engine, file *tensorio.Safetensors, x conv.Shape) (n *Network, err error) {
	n = &Network{engine: e, file: file, values: map[string]value{}}
	defer func() { // build panics with errors, so that it reads as what it builds
		if r := recover(); r != nil {
			failed, ok := r.(failure)
			if !ok {
				panic(r)
			}
			n.Close()
			n, err = nil, failed.error
		}
	}()
	n.build(x)
	return n, nil
}

type failure struct{ error }

func must[T any](v T, err error) T {
	if err != nil {
		panic(failure{err})
	}
	return v
}

// build adds layer after layer.
func (n *Network) build(x conv.Shape) {
	rates := n.rates()
	n.add("input", x)
	half := conv.Params{Stride: [2]int{2, 2}, Padding: conv.Pad(3)}
	y := n.conv("backbone.conv1", "backbone.conv1", "backbone.bn1", "input", half, true)
	y = n.maxPool("backbone.maxpool", y, conv.PoolParams{Kernel: [2]int{3, 3}, Stride: [2]int{2, 2}, Padding: conv.Pad(1)})
	// The last two stages keep their size and dilate instead, each block but the
	// first by the stage's rate, the first by that of the stage before.
	y = n.stage("backbone.layer1", y, 1, 1, 1)
	y = n.stage("backbone.layer2", y, 2, 1, 1)
	y = n.stage("backbone.layer3", y, 1, 1, 2)
	y = n.stage("backbone.layer4", y, 1, 2, 4)
	y = n.aspp("classifier.0", y, rates)
	y = n.conv("classifier.1", "classifier.1", "classifier.2", y, conv.Params{Padding: conv.Pad(1)}, true)
	y = n.conv("classifier.4", "classifier.4", "", y, conv.Params{}, false)
	n.resize("out", y, x[2], x[3])
}

// rates are the pyramid's, which the export keeps beside the weights.
func (n *Network) rates() (rates []int) {
	for _, text := range strings.Split(n.file.Metadata()["rates"], ",") {
		rate, err := strconv.Atoi(text)
		if err != nil || rate < 1 || rate > 1000 {
			panic(failure{fmt.Errorf("the file's metadata has rates %q, must be numbers with commas between", n.file.Metadata()["rates"])})
		}
		rates = append(rates, rate)
	}
	return rates
}

// stage is a row of bottlenecks.
func (n *Network) stage(name, x string, stride, first, dilation int) string {
	for i := 0; n.file.Has(fmt.Sprintf("%s.%d.conv1.weight", name, i)); i++ {
		block := fmt.Sprintf("%s.%d", name, i)
		p := conv.Params{Stride: [2]int{stride, stride}, Dilation: [2]int{first, first}, Padding: conv.Pad(first)}
		y := n.conv(block+".conv1", block+".conv1", block+".bn1", x, conv.Params{}, true)
		y = n.conv(block+".conv2", block+".conv2", block+".bn2", y, p, true)
		y = n.conv(block+".conv3", block+".conv3", block+".bn3", y, conv.Params{}, false)
		if n.file.Has(block + ".downsample.0.weight") {
			x = n.conv(block+".downsample", block+".downsample.0", block+".downsample.1", x, conv.Params{Stride: p.Stride}, false)
		}
		x = n.sum(block, y, x)
		stride, first = 1, dilation
	}
	return x
}

// aspp is the atrous spatial pyramid pooling: its branches write the channels of
// their concatenation. [vkconv.Engine.NewASPP] has all of it in one; here each
// layer's numbers are to be seen.
func (n *Network) aspp(name, x string, rates []int) string {
	in := n.values[x].tensor.Shape()
	branch := func(i int) string { return fmt.Sprintf("%s.convs.%d", name, i) }
	each := n.shape(branch(0) + ".0.weight")[0]
	cat := n.add(name+".cat", conv.Shape{in[0], (2 + len(rates)) * each, in[2], in[3]})
	for i := range 2 + len(rates) {
		part := must(cat.Channels(i*each, (i+1)*each))
		n.values[branch(i)] = value{part, cat, i * each}
	}
	n.conv(branch(0), branch(0)+".0", branch(0)+".1", x, conv.Params{}, true)
	for i, rate := range rates {
		p := conv.Params{Dilation: [2]int{rate, rate}, Padding: conv.Pad(rate)}
		n.conv(branch(1+i), branch(1+i)+".0", branch(1+i)+".1", x, p, true)
	}
	last := branch(1 + len(rates))
	y := n.globalPool(name+".pool", x)
	y = n.conv(name+".pooled", last+".1", last+".2", y, conv.Params{}, true)
	n.resize(last, y, in[2], in[3])
	return n.conv(name+".project", name+".project.0", name+".project.1", name+".cat", conv.Params{}, true)
}

// add makes a tensor for a value that has none.
func (n *Network) add(name string, s conv.Shape) *vkconv.Tensor {
	if v, ok := n.values[name]; ok {
		if v.tensor.Shape() != s {
			panic(failure{fmt.Errorf("%s is %v, must be %v", name, s, v.tensor.Shape())})
		}
		return v.tensor
	}
	t := must(n.engine.NewTensor(s))
	n.close = append(n.close, t.Free)
	n.values[name] = value{t, t, 0}
	return t
}

func (n *Network) step(s *Step) string {
	n.Steps = append(n.Steps, s)
	return s.Out
}

// conv adds a convolution with what is behind it: a batch normalization, which is
// folded into the weight, and a ReLU.
func (n *Network) conv(out, name, norm, in string, p conv.Params, relu bool) string {
	x := n.values[in].tensor
	w := n.shape(name + ".weight")
	weight, bias := n.read(name+".weight"), []float64(nil)
	if n.file.Has(name + ".bias") {
		bias = n.read(name + ".bias")
	}
	if norm != "" {
		weight, bias = n.fold(norm, weight, w[0])
	}
	if relu {
		p.Activation.Kind = conv.ReLU
	}
	l := must(n.engine.NewConv2D(x.Shape(), narrow(weight), narrow(bias), w, p))
	n.FLOPs += l.Problem().Cost().FLOPs()
	n.close = append(n.close, l.Close)
	y, every := n.add(out, l.Problem().Output()), cpuref.Every(l.Problem())
	return n.step(&Step{out, []string{in}, func(ctx context.Context) error { return l.Run(ctx, y, x) },
		func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.Conv2DEvery(l.Problem(), wide(in[0]), weight, bias, every), conv.ProductRoundings + 1 // the folded weight's
		}, every})
}

// fold multiplies a batch normalization into the weight before it:
//
//	scale = weight / √(var + ε)        bias = bias − mean·scale
func (n *Network) fold(norm string, weight []float64, outputs int) (folded, bias []float64) {
	b := must(n.normOf(norm, outputs))
	each := len(weight) / outputs
	folded, bias = make([]float64, len(weight)), make([]float64, outputs)
	for k := range outputs {
		scale, shift := b.at(k)
		for i := range each {
			folded[k*each+i] = weight[k*each+i] * scale
		}
		bias[k] = shift
	}
	return folded, bias
}

func (n *Network) maxPool(out, in string, p conv.PoolParams) string {
	x := n.values[in].tensor
	l := must(n.engine.NewMaxPool(x.Shape(), p))
	n.close = append(n.close, l.Close)
	y := n.add(out, l.Problem().Output())
	return n.step(&Step{out, []string{in}, func(ctx context.Context) error { return l.Run(ctx, y, x) },
		func(in [][]float32) ([]conv.Sum, int) { return cpuref.Pool(l.Problem(), in[0]), 0 }, 1})
}

// sum adds a residual connection and the ReLU behind it.
func (n *Network) sum(out, a, b string) string {
	ta, tb := n.values[a].tensor, n.values[b].tensor
	s := ta.Shape()
	between := n.add(out+" before its ReLU", s)
	add := must(n.engine.NewAdd(s))
	n.close = append(n.close, add.Close)
	relu := must(n.engine.NewActivation(s, conv.Activation{Kind: conv.ReLU}))
	n.close = append(n.close, relu.Close)
	y := n.add(out, s)
	return n.step(&Step{out, []string{a, b}, func(ctx context.Context) error {
		if err := add.Run(ctx, between, ta, tb); err != nil {
			return err
		}
		return relu.Run(ctx, y, between)
	}, func(in [][]float32) ([]conv.Sum, int) {
		sums := cpuref.Add(in[0], in[1])
		for i := range sums {
			sums[i] = conv.Activation{Kind: conv.ReLU}.Apply(sums[i])
		}
		return sums, 0
	}, 1})
}

func (n *Network) globalPool(out, in string) string {
	x := n.values[in].tensor
	l := must(n.engine.NewGlobalPool(x.Shape()))
	n.close = append(n.close, l.Close)
	y := n.add(out, l.Problem().Output())
	return n.step(&Step{out, []string{in}, func(ctx context.Context) error { return l.Run(ctx, y, x) },
		func(in [][]float32) ([]conv.Sum, int) {
			return cpuref.GlobalPool(l.Problem(), in[0]), conv.PoolRoundings
		}, 1})
}

func (n *Network) resize(out, in string, rows, columns int) string {
	x := n.values[in].tensor
	l := must(n.engine.NewResize(x.Shape(), rows, columns, false))
	n.close = append(n.close, l.Close)
	y := n.add(out, l.Problem().Output())
	return n.step(&Step{out, []string{in}, func(ctx context.Context) error { return l.Run(ctx, y, x) },
		func(in [][]float32) ([]conv.Sum, int) { return cpuref.Resize(l.Problem(), in[0]), conv.ResizeRoundings }, 1})
}
