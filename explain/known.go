package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"vkconv/conv"
)

// Network is a stack known by name.
type Network struct {
	Name, About string
	Input       conv.Shape
	Text        string // as Parse reads it
}

// Known lists the networks that are known by name, in the order of their names.
func Known() []Network {
	return slices.SortedFunc(maps.Values(known), func(a, b Network) int { return strings.Compare(a.Name, b.Name) })
}

// Named looks a network up.
func Named(name string) (Network, bool) {
	n, ok := known[strings.ToLower(strings.TrimSpace(name))]
	return n, ok
}

var known = func() map[string]Network {
	image := conv.Shape{1, 3, 224, 224}
	m := map[string]Network{}
	add := func(name, about string, input conv.Shape, layers ...string) {
		m[name] = Network{name, about, input, strings.Join(layers, "\n")}
	}
	add("alexnet", "Krizhevsky et al. 2012 in one column, up to its last pooling", conv.Shape{1, 3, 224, 224},
		"conv1: 11x11 s4 p2 c64 b", "pool1: 3x3 pool s2", "conv2: 5x5 c192 b", "pool2: 3x3 pool s2",
		"conv3: 3x3 c384 b", "conv4: 3x3 c256 b", "conv5: 3x3 c256 b", "pool5: 3x3 pool s2")
	var vgg []string
	for i, stage := range []struct{ convs, channels int }{{2, 64}, {2, 128}, {3, 256}, {3, 512}, {3, 512}} {
		for j := range stage.convs {
			vgg = append(vgg, fmt.Sprintf("conv%d_%d: 3x3 c%d b", i+1, j+1, stage.channels))
		}
		vgg = append(vgg, fmt.Sprintf("pool%d: 2x2 pool s2", i+1))
	}
	add("vgg16", "Simonyan and Zisserman 2015, up to its last pooling", image, vgg...)
	add("resnet18", "He et al. 2016, without the shortcuts", image, basic(2, 2, 2, 2)...)
	add("resnet34", "He et al. 2016, without the shortcuts", image, basic(3, 4, 6, 3)...)
	add("resnet50", "He et al. 2016 with the stride in a stage's first 1x1, as published, without the shortcuts", image,
		bottlenecks(true, 1, 3, 4, 6, 3)...)
	add("resnet50-v1.5", "the same with the stride in the 3x3, as PyTorch has it", image, bottlenecks(false, 1, 3, 4, 6, 3)...)
	add("resnet101", "He et al. 2016, without the shortcuts", image, bottlenecks(true, 1, 3, 4, 23, 3)...)
	aspp := func(rates ...int) []string {
		branches := []string{"1x1 c256"}
		for _, r := range rates {
			branches = append(branches, fmt.Sprintf("rate %d: 3x3 d%d c256", r, r))
		}
		return []string{"[" + strings.Join(branches, " | ") + "]", "project: 1x1 c256"}
	}
	add("deeplabv3-aspp", "Chen et al. 2017, the atrous spatial pyramid by itself, without image pooling",
		conv.Shape{1, 2048, 33, 33}, aspp(6, 12, 18)...)
	add("deeplabv3-resnet50", "the whole of it at output stride 8, as torchvision has it", conv.Shape{1, 3, 513, 513},
		append(bottlenecks(false, 8, 3, 4, 6, 3), aspp(12, 24, 36)...)...)
	add("context-module", "Yu and Koltun 2016, the basic context module", conv.Shape{1, 21, 64, 64},
		"3x3 *2", "3x3 d2", "3x3 d4", "3x3 d8", "3x3 d16", "3x3", "1x1")
	add("hdc", "Wang et al. 2018, three rates that leave no holes", conv.Shape{1, 64, 56, 56}, "3x3 d1", "3x3 d2", "3x3 d5")
	return m
}()

var stem = []string{"conv1: 7x7 s2 p3 c64", "pool1: 3x3 pool s2 p1"}

// basic is ResNet of blocks of two 3×3.
func basic(blocks ...int) []string {
	layers := slices.Clone(stem)
	for i, n := range blocks {
		for j := range n {
			stride := 1
			if i > 0 && j == 0 {
				stride = 2
			}
			layers = append(layers, fmt.Sprintf("conv%d_%da: 3x3 s%d c%d", i+2, j+1, stride, 64<<i), fmt.Sprintf("conv%d_%db: 3x3 c%d", i+2, j+1, 64<<i))
		}
	}
	return layers
}

// bottlenecks is ResNet of blocks of 1×1, 3×3, 1×1. At output stride 8 the last
// two stages dilate instead of striding, the first block of a stage as the
// stage before.
func bottlenecks(first bool, outputStride int, blocks ...int) []string {
	layers := slices.Clone(stem)
	dilation := 1
	for i, n := range blocks {
		stride, before := 1, dilation
		switch {
		case i >= 2 && outputStride == 8:
			dilation *= 2
		case i > 0:
			stride = 2
		}
		for j := range n {
			d, s1, s3 := dilation, 1, 1
			if j == 0 {
				d = before
				if first {
					s1 = stride
				} else {
					s3 = stride
				}
			}
			name := fmt.Sprintf("conv%d_%d", i+2, j+1)
			layers = append(layers, fmt.Sprintf("%sa: 1x1 s%d c%d", name, s1, 64<<i), fmt.Sprintf("%sb: 3x3 s%d d%d c%d", name, s3, d, 64<<i),
				fmt.Sprintf("%sc: 1x1 c%d", name, 256<<i))
		}
	}
	return layers
}
