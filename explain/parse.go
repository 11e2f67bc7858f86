package explain

import (
	"fmt"
	"strconv"
	"strings"
)

// Layer is a convolution or a pooling; pairs are rows, columns.
type Layer struct {
	Name                   string // "" where the text gives none
	Kernel                 [2]int
	Stride, Dilation       [2]int
	Padding                [2]int // on each side
	Channels               int    // 0: as many as come in
	Groups                 int
	Depthwise, Bias, Pools bool // Depthwise: a group for each channel that comes in
	Deforms                bool // deformable; what it sees is what it sees with offsets of 0
}

// Stage is a layer, or several side by side whose outputs are concatenated.
type Stage []Layer

// Stack is read from the input to the output.
type Stack []Stage

// The largest number that a text may hold and the most layers there may be.
const (
	largest    = 1 << 20
	mostLayers = 1000
)

// Parse reads a stack. Layers are separated by commas or lines; # begins a
// comment. A layer is a kernel and what differs from the usual:
//
//	3x3          kernel, rows × columns; 3 alone means 3x3
//	s2, d4, p1   stride (1), dilation (1), padding (of a convolution d·(k−1)/2, which
//	             keeps the size at stride 1; of a pooling 0); s2x1 for rows and columns
//	c64          channels that come out (as many as come in)
//	g32, dw, b   groups (1), depthwise, with a bias
//	pool         a pooling: no weights
//	deform       a deformable convolution; the layer that gives its offsets is not counted
//	*4           the layer four times
//	name: 3x3    a layer's name
//
// Layers side by side stand in brackets: [1x1 | 3x3 d6 | 3x3 d12].
func Parse(text string) (Stack, error) {
	var stack Stack
	layers := 0
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		for _, part := range strings.Split(line, ",") {
			part = strings.TrimSpace(part)
			if part == "" {
				continue
			}
			stage, times, err := parseStage(part)
			if err != nil {
				return nil, err
			}
			if layers += times * len(stage); layers > mostLayers {
				return nil, refuse("there are more than %d layers", mostLayers)
			}
			for range times {
				stack = append(stack, stage)
			}
		}
	}
	if len(stack) == 0 {
		return nil, refuse("there is no layer; a stack is written like %q", "3x3 d1, 3x3 d2, 3x3 d4")
	}
	return stack, nil
}

// parseStage reads one layer or branches in brackets.
func parseStage(text string) (Stage, int, error) {
	inside, ok := strings.CutPrefix(text, "[")
	if !ok {
		l, times, err := parseLayer(text)
		return Stage{l}, times, err
	}
	inside, ok = strings.CutSuffix(inside, "]")
	if !ok {
		return nil, 0, refuse("%q has a bracket that is not closed; branches are written like [1x1 | 3x3 d6]", text)
	}
	var stage Stage
	for _, part := range strings.Split(inside, "|") {
		l, times, err := parseLayer(part)
		if err != nil {
			return nil, 0, err
		}
		if times != 1 {
			return nil, 0, refuse("branch %q is repeated, a branch is one layer", strings.TrimSpace(part))
		}
		stage = append(stage, l)
	}
	return stage, 1, nil
}

func parseLayer(text string) (l Layer, times int, err error) {
	text = strings.TrimSpace(text)
	l, times = Layer{Stride: [2]int{1, 1}, Dilation: [2]int{1, 1}, Groups: 1}, 1
	rest := text
	if name, after, ok := strings.Cut(text, ":"); ok {
		l.Name, rest = strings.TrimSpace(name), after
	}
	padded := false
	for _, word := range strings.Fields(rest) {
		var one [2]int
		letter, number := word[:1], word[1:]
		switch {
		case word == "dw":
			l.Depthwise = true
		case word == "b":
			l.Bias = true
		case word == "pool":
			l.Pools = true
		case word == "deform":
			l.Deforms = true
		case strings.Contains("0123456789", letter):
			if l.Kernel != [2]int{} {
				return l, 0, refuse("layer %q has two kernels", text)
			}
			l.Kernel, err = pair(text, word, word, 1)
		case letter == "s":
			l.Stride, err = pair(text, word, number, 1)
		case letter == "d":
			l.Dilation, err = pair(text, word, number, 1)
		case letter == "p":
			padded = true
			l.Padding, err = pair(text, word, number, 0)
		case letter == "c":
			one, err = pair(text, word, number, 1)
			l.Channels = one[0]
		case letter == "g":
			one, err = pair(text, word, number, 1)
			l.Groups = one[0]
		case letter == "*":
			one, err = pair(text, word, number, 1)
			times = one[0]
		default:
			err = unknown(text, word)
		}
		if err != nil {
			return l, 0, err
		}
		if strings.Contains("cg*", letter) && one[0] != one[1] {
			return l, 0, unknown(text, word)
		}
	}
	switch {
	case l.Kernel == [2]int{}:
		return l, 0, refuse("layer %q has no kernel; a layer is written like 3x3 d2", text)
	case l.Pools && (l.Channels != 0 || l.Groups != 1 || l.Depthwise || l.Bias):
		return l, 0, refuse("layer %q is a pooling, which has no channels, groups or bias of its own", text)
	case l.Pools && l.Deforms:
		return l, 0, refuse("layer %q is both a pooling and deformable", text)
	case l.Depthwise && l.Groups != 1:
		return l, 0, refuse("layer %q is both depthwise and in groups", text)
	}
	if !padded && !l.Pools {
		for axis := range 2 {
			l.Padding[axis] = l.Dilation[axis] * (l.Kernel[axis] - 1) / 2
		}
	}
	return l, times, nil
}

func unknown(layer, word string) error {
	return refuse("layer %q: %q is not understood; a layer is a kernel such as 3x3, and s, d, p, c or g with a number, dw, b, pool, deform or *4", layer, word)
}

// pair reads 3 or 3x2, both at least least.
func pair(layer, word, number string, least int) (p [2]int, err error) {
	rows, columns, both := strings.Cut(strings.ReplaceAll(number, "×", "x"), "x")
	if !both {
		columns = rows
	}
	for i, text := range []string{rows, columns} {
		n, err := strconv.Atoi(text)
		if err != nil {
			return p, unknown(layer, word)
		}
		if n < least || n > largest {
			return p, refuse("layer %q: %q is %d, must be between %d and %d", layer, word, n, least, largest)
		}
		p[i] = n
	}
	return p, nil
}

// String writes the layer as Parse reads it, without its name.
func (l Layer) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%dx%d", l.Kernel[0], l.Kernel[1])
	if l.Pools {
		b.WriteString(" pool")
	}
	put := func(letter string, p, usual [2]int) {
		switch {
		case p == usual:
		case p[0] == p[1]:
			fmt.Fprintf(&b, " %s%d", letter, p[0])
		default:
			fmt.Fprintf(&b, " %s%dx%d", letter, p[0], p[1])
		}
	}
	put("s", l.Stride, [2]int{1, 1})
	put("d", l.Dilation, [2]int{1, 1})
	put("p", l.Padding, [2]int{-1, -1})
	if l.Channels > 0 {
		fmt.Fprintf(&b, " c%d", l.Channels)
	}
	if l.Groups > 1 {
		fmt.Fprintf(&b, " g%d", l.Groups)
	}
	if l.Depthwise {
		b.WriteString(" dw")
	}
	if l.Bias {
		b.WriteString(" b")
	}
	if l.Deforms {
		b.WriteString(" deform")
	}
	return b.String()
}
