package main

import (
	"flag"
	"fmt"
	"strings"

	"vkconv/bench"
	"vkconv/conv"
)

// layerFlags describe one layer.
type layerFlags struct {
	x, kernel, stride, pad, dilation string
	k, groups                        int
}

func (l *layerFlags) flags(flags *flag.FlagSet) {
	flags.StringVar(&l.x, "x", "", "measure one layer on an input of this `NxCxHxW`")
	flags.IntVar(&l.k, "k", 0, "with -x: the `number` of output channels")
	flags.StringVar(&l.kernel, "kernel", "3x3", "with -x: the kernel's `RxS`")
	flags.StringVar(&l.stride, "stride", "1", "with -x: the `stride`, one number or rows x columns")
	flags.StringVar(&l.pad, "pad", "0", "with -x: the `padding` in pixels, one number or rows x columns")
	flags.StringVar(&l.dilation, "dilation", "1", "with -x: the `dilation`, counted from 1, one number or rows x columns")
	flags.IntVar(&l.groups, "groups", 1, "with -x: the `number` of groups")
}

func (l *layerFlags) given() bool { return l.x != "" || l.k != 0 }

func (l *layerFlags) build() (bench.Case, error) {
	x, err := numbers("-x", l.x, 4)
	if err != nil {
		return bench.Case{}, err
	}
	var pairs [4][]int
	for i, p := range []struct{ name, text string }{{"-kernel", l.kernel}, {"-stride", l.stride}, {"-pad", l.pad}, {"-dilation", l.dilation}} {
		if !strings.ContainsRune(p.text, 'x') {
			p.text += "x" + p.text
		}
		if pairs[i], err = numbers(p.name, p.text, 2); err != nil {
			return bench.Case{}, err
		}
	}
	if l.k < 1 || l.groups < 1 {
		return bench.Case{}, fmt.Errorf("-k is %d and -groups %d, must be at least 1", l.k, l.groups)
	}
	pad, input := pairs[2], conv.Shape(x)
	c := bench.Case{Group: "flags", Input: input, Layers: []bench.Layer{{
		Weight: conv.Shape{l.k, input[1] / l.groups, pairs[0][0], pairs[0][1]},
		Params: conv.Params{Stride: [2]int(pairs[1]), Dilation: [2]int(pairs[3]), Groups: l.groups,
			Padding: conv.Padding{Top: pad[0], Bottom: pad[0], Left: pad[1], Right: pad[1]}},
	}}}
	c.Name = fmt.Sprintf("%s s%s p%s d%s g%d", l.kernel, l.stride, l.pad, l.dilation, l.groups)
	if _, err := c.Problems(); err != nil {
		return c, err
	}
	return c, nil
}

// numbers reads numbers with x between them.
func numbers(name, text string, n int) ([]int, error) {
	parts := strings.Split(strings.ReplaceAll(text, "×", "x"), "x")
	v := make([]int, len(parts))
	for i, p := range parts {
		if _, err := fmt.Sscanf(p, "%d", &v[i]); err != nil || fmt.Sprint(v[i]) != p {
			return nil, fmt.Errorf("%s is %q, must be %d numbers with x between them", name, text, n)
		}
	}
	if len(v) != n {
		return nil, fmt.Errorf("%s is %q, must be %d numbers with x between them", name, text, n)
	}
	return v, nil
}
