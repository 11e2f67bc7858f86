package bench

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"vkconv/conv"
)

// descriptorPart is one entry of a problem descriptor: letters and a number.
var descriptorPart = regexp.MustCompile(`^(mb|g|[io][cdhw]|[ksdp][dhw])(-?\d+)`)

// ParseDescriptor reads a convolution as oneDNN's benchdnn describes it, such as
//
//	g1mb2ic256ih33oc256kh3ph12dh11n"aspp"
//
// for one group, two images of 256 channels and 33×33 pixels, 256 outputs, 3×3
// taps, 12 pixels of padding. DILATION IS COUNTED FROM 0 there: dh11 is what
// everybody else calls a dilation of 12. Underscores are ignored; n begins a name.
//
// What is missing is: g 1, mb 2, strides 1, dilations 0, padding 0, or where oh
// or ow is given what makes the output so large; of a pair of which only the
// height is there, the width is the same; without any heights it is a 1-D
// convolution, with a height of 1. Errors match [conv.ErrParams], [conv.ErrShape]
// or, for 3-D ones, [conv.ErrUnsupported].
//
// Source: oneDNN, tests/benchdnn/doc, "Problem Descriptor".
func ParseDescriptor(text string) (Case, error) {
	refuse := func(kind error, format string, args ...any) (Case, error) {
		return Case{}, fmt.Errorf("%w: descriptor %q: %s", kind, text, fmt.Sprintf(format, args...))
	}
	v := map[string]int{}
	name := ""
	for rest := strings.ReplaceAll(head(text), "_", ""); rest != ""; {
		m := descriptorPart.FindStringSubmatch(rest)
		if m == nil {
			return refuse(conv.ErrParams, "%q is no entry; there are g, mb, ic, ih, iw, oc, oh, ow, kh, kw, sh, sw, dh, dw, ph, pw and n for a name", rest)
		}
		n, err := strconv.Atoi(m[2])
		if err != nil || n > conv.MaxExtent {
			return refuse(conv.ErrParams, "%s is %s, must be at most %d", m[1], m[2], conv.MaxExtent)
		}
		if _, twice := v[m[1]]; twice {
			return refuse(conv.ErrParams, "%s is there twice", m[1])
		}
		v[m[1]] = n
		rest = rest[len(m[0]):]
	}
	name = strings.Trim(text[len(head(text)):], `"`)
	name = strings.Trim(strings.TrimPrefix(name, "n"), `"`)

	for _, entry := range []string{"id", "od", "kd", "sd"} {
		if n, ok := v[entry]; ok && n != 1 {
			return refuse(conv.ErrUnsupported, "%s is %d, there is no 3-D convolution here", entry, n)
		}
	}
	for _, entry := range []string{"pd", "dd"} {
		if v[entry] != 0 {
			return refuse(conv.ErrUnsupported, "%s is %d, there is no 3-D convolution here", entry, v[entry])
		}
	}
	get := func(entry string, otherwise int) int {
		if n, ok := v[entry]; ok {
			return n
		}
		return otherwise
	}
	_, high := v["ih"]
	_, wide := v["iw"]
	if !high && wide { // 1-D
		v["ih"], v["kh"] = 1, get("kh", 1)
	} else if high && !wide {
		for _, e := range "iokspd" {
			if n, ok := v[string(e)+"h"]; ok {
				if _, ok := v[string(e)+"w"]; !ok {
					v[string(e)+"w"] = n
				}
			}
		}
	}
	for _, entry := range []string{"ic", "oc", "ih", "kh", "iw", "kw"} {
		if v[entry] < 1 {
			return refuse(conv.ErrParams, "%s is %d or missing, must be at least 1", entry, v[entry])
		}
	}
	g := get("g", 1)
	if g < 1 || v["ic"]%g != 0 {
		return refuse(conv.ErrShape, "%d channels, not divisible by %d groups", v["ic"], g)
	}
	params := conv.Params{Stride: [2]int{get("sh", 1), get("sw", 1)}, Dilation: [2]int{get("dh", 0) + 1, get("dw", 0) + 1}, Groups: g}
	var pads [4]int // top, bottom, left, right
	for i, axis := range []string{"h", "w"} {
		before, after, err := descriptorPadding(v, axis, params.Stride[i], params.Dilation[i])
		if err != "" {
			return refuse(conv.ErrShape, "%s", err)
		}
		pads[2*i], pads[2*i+1] = before, after
	}
	params.Padding = conv.Padding{Top: pads[0], Bottom: pads[1], Left: pads[2], Right: pads[3]}
	c := Case{Group: "descriptors", Name: name, Input: conv.Shape{get("mb", 2), v["ic"], v["ih"], v["iw"]},
		Layers: []Layer{{Weight: conv.Shape{v["oc"], v["ic"] / g, v["kh"], v["kw"]}, Params: params}}}
	if name == "" {
		c.Name = head(text)
	}
	if _, err := params.Problem(c.Input, c.Layers[0].Weight, false); err != nil {
		return Case{}, fmt.Errorf("descriptor %q: %w", text, err)
	}
	return c, nil
}

// head is a descriptor up to its name. No entry but the name begins with n.
func head(text string) string {
	before, _, _ := strings.Cut(text, "n")
	return before
}

// descriptorPadding works out the padding before and after an axis. Where the
// output's size is given, what is missing behind the image follows from it.
func descriptorPadding(v map[string]int, axis string, stride, dilation int) (before, after int, refusal string) {
	in, kernel := v["i"+axis], v["k"+axis]
	out, sized := v["o"+axis]
	before, padded := v["p"+axis]
	if before < 0 || stride < 1 || dilation < 1 {
		return 0, 0, fmt.Sprintf("p%s is %d, s%s %d, d%s %d; must be at least 0, 1 and 0", axis, before, axis, stride, axis, dilation-1)
	}
	if !sized {
		return before, before, ""
	}
	needed := (out-1)*stride + conv.Reach(kernel, dilation) - in // padding on both sides together
	if !padded {
		before = max(needed, 0) / 2
	}
	if out < 1 || conv.OutputSize(in, before, before, kernel, stride, dilation) == out {
		return before, before, ""
	}
	if after = needed - before; after < 0 || conv.OutputSize(in, before, after, kernel, stride, dilation) != out {
		return 0, 0, fmt.Sprintf("o%s is %d, which no padding behind p%s %d makes of i%s %d", axis, out, axis, before, axis, in)
	}
	return before, after, ""
}

// Descriptor writes a single convolution as benchdnn does, dilation from 0;
// "" for what that cannot say (chains, DCNv4).
func (c Case) Descriptor() string {
	problems, err := c.Problems()
	if err != nil || len(problems) != 1 {
		return ""
	}
	p := problems[0]
	var b strings.Builder
	fmt.Fprintf(&b, "g%dmb%dic%dih%diw%doc%doh%dow%dkh%dkw%d", p.Groups, p.N, p.C, p.H, p.W, p.K, p.Ho, p.Wo, p.R, p.S)
	fmt.Fprintf(&b, "sh%dsw%dph%dpw%ddh%ddw%d", p.StrideY, p.StrideX, p.Pad.Top, p.Pad.Left, p.DilationY-1, p.DilationX-1)
	return b.String()
}
