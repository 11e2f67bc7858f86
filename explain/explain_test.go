package explain

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"vkconv/conv"
	"vkconv/convtest"
)

func explained(t *testing.T, text string, input conv.Shape) *Report {
	t.Helper()
	stack, err := Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	r, err := Explain(stack, input)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return r
}

var square = conv.Shape{1, 64, 56, 56}

// Fields as published or counted by hand.
func TestFields(t *testing.T) {
	for _, c := range []struct {
		text        string
		field, jump int
		unseen      int
	}{
		{"3x3", 3, 1, 0},
		{"3x3 d2", 5, 1, 16},
		{"3x3 d4", 9, 1, 72},
		{"3x3 d1, 3x3 d2, 3x3 d4", 15, 1, 0},
		{"3x3 *4", 9, 1, 0},
		{"9", 9, 1, 0},
		{"3x3 d2 *3", 13, 1, 13*13 - 7*7},
		{"3x3 d1, 3x3 d2, 3x3 d5", 17, 1, 0},
		{"3x3 d1, 3x3 d2, 3x3 d9", 25, 1, 25*25 - 21*21},
		{"2x2 pool s2, 2x2 pool s2", 4, 4, 0},
		{"1x1 s3, 2x2 p0", 4, 3, 12},
		{"[1x1 | 3x3 d3]", 7, 1, 40},
		{"[3x3 | 3x3 d3], 3x3", 9, 1, 0},
	} {
		r := explained(t, c.text, square)
		if r.Field != [2]int{c.field, c.field} || r.Jump != [2]int{c.jump, c.jump} || r.Unseen != c.unseen {
			t.Errorf("%s: sees %v, jump %v, %d unseen; want %d, %d, %d", c.text, r.Field, r.Jump, r.Unseen, c.field, c.jump, c.unseen)
		}
	}
	if r := explained(t, "1x7, 5x3 d2x3 s2x1", square); r.Field != [2]int{9, 13} || r.Jump != [2]int{2, 1} {
		t.Errorf("1x7 and 5x3 see %v, jump %v", r.Field, r.Jump)
	}
}

// The fields and weights of networks, from the papers and from PyTorch's
// counts: VGG-16 has 14,714,688 before its classifier; ResNet-50's convolutions
// 23,454,912, of which 2,768,896 in shortcuts, ResNet-18's 11,166,912 with
// 172,032.
func TestNetworks(t *testing.T) {
	for name, want := range map[string]struct {
		field, jump int
		params      int64
		output      conv.Shape
	}{
		"alexnet":       {195, 32, 2469696, conv.Shape{1, 256, 6, 6}},
		"vgg16":         {212, 32, 14714688, conv.Shape{1, 512, 7, 7}},
		"resnet18":      {435, 32, 11166912 - 172032, conv.Shape{1, 512, 7, 7}},
		"resnet50":      {483, 32, 23454912 - 2768896, conv.Shape{1, 2048, 7, 7}},
		"resnet50-v1.5": {427, 32, 23454912 - 2768896, conv.Shape{1, 2048, 7, 7}},
		"resnet101":     {1027, 32, 0, conv.Shape{1, 2048, 7, 7}},
		// 1x1, 3x3 three times and the projection, without bias.
		"deeplabv3-aspp": {37, 1, 2048*256*(1+27) + 1024*256, conv.Shape{1, 256, 33, 33}},
		"context-module": {67, 1, 0, conv.Shape{1, 21, 64, 64}},
		"hdc":            {17, 1, 27 * 64 * 64, conv.Shape{1, 64, 56, 56}},
	} {
		n, ok := Named(name)
		if !ok {
			t.Fatalf("%s is not known", name)
		}
		r := explained(t, n.Text, n.Input)
		if last := r.Rows[len(r.Rows)-1]; r.Field[0] != want.field || r.Jump[0] != want.jump || want.params != 0 && r.Params != want.params || last.Output != want.output {
			t.Errorf("%s: field %v, jump %v, %d parameters, output %v; want %+v", name, r.Field, r.Jump, r.Params, last.Output, want)
		}
	}
	for _, n := range Known() {
		r := explained(t, n.Text, n.Input)
		var b bytes.Buffer
		if err := r.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			if width := utf8.RuneCountInString(strings.TrimRight(line, "\n")); width > 100 && !strings.HasPrefix(line, n.Name) {
				t.Errorf("%s: a line of %d columns: %s", n.Name, width, line)
			}
		}
	}
}

// A 9×9 against four 3×3: 81 weights a channel pair against 36.
func TestOthers(t *testing.T) {
	r := explained(t, "9x9", square)
	weights := map[string]int{}
	for _, o := range r.Others {
		weights[o.What] = o.Weights
		if o.Field != [2]int{9, 9} {
			t.Errorf("%s sees %v", o.What, o.Field)
		}
	}
	for what, want := range map[string]int{"this": 81, "4 × 3×3": 36, "3×3 at dilations 1, 1, 2": 27, "3×3 at dilation 4": 9} {
		if weights[what] != want {
			t.Errorf("%s takes %d weights, want %d (%v)", what, weights[what], want, weights)
		}
	}
	if o := r.Others[0]; o.Params != 81*64*64 || o.MACs != 81*64*64*56*56 {
		t.Errorf("9x9 costs %+v", o)
	}
	for reach := 1; reach < 300; reach++ {
		stack := []conv.Layer{}
		for _, rate := range ratesFor(reach) {
			stack = append(stack, conv.Layer{Kernel: 3, Dilation: rate})
		}
		if f := conv.ReceptiveField(stack...); f.Size != 2*reach+1 || conv.Unseen(stack...) != 0 {
			t.Fatalf("rates %v see %d with %d holes, want %d", ratesFor(reach), f.Size, conv.Unseen(stack...), 2*reach+1)
		}
	}
}

func TestHybrid(t *testing.T) {
	for text, want := range map[string][]Rates{
		"3x3 d1, 3x3 d2, 3x3 d5":            {{3, []int{1, 2, 5}, 2, true}},
		"3x3 d1, 1x1, 3x3 d2, 3x3 d9":       {{3, []int{1, 2, 9}, 5, false}},
		"3x3 d2 *3":                         {{3, []int{2, 2, 2}, 2, false}},
		"3x3 *3":                            nil,
		"3x3 d2, 3x3 d4 s2, 3x3 d2, 3x3 d3": {{3, []int{2, 4}, 4, false}, {3, []int{2, 3}, 3, true}},
		"5x5 d2, 3x3 d2, 3x3 d1, 2x2 pool, 3x3 d2, 3x3d2": nil,
	} {
		stack, err := Parse(text)
		if strings.Contains(text, "3x3d2") {
			if err == nil {
				t.Errorf("%q is accepted", text)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		got := hybrid(stack)
		if !slices.EqualFunc(got, want, func(a, b Rates) bool {
			return a.Kernel == b.Kernel && slices.Equal(a.Rates, b.Rates) && a.Gap == b.Gap && a.OK == b.OK
		}) {
			t.Errorf("%s: %+v, want %+v", text, got, want)
		}
	}
}

// Counts from the input on are those of conv.Coverage, which counts from the
// output on; beyond what an int counts they are still there.
func TestReads(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 0))
	for range 300 {
		p, layers := emptyPath(), []conv.Layer{}
		for range r.IntN(5) {
			l := Layer{Kernel: [2]int{1 + r.IntN(4), 1}, Stride: [2]int{1 + r.IntN(3), 1}, Dilation: [2]int{1 + r.IntN(4), 1}, Padding: [2]int{r.IntN(3), 0}}
			layers = append(layers, conv.Layer{Kernel: l.Kernel[0], Stride: l.Stride[0], Dilation: l.Dilation[0], Pad: l.Padding[0]})
			p, _ = p.with(l)
		}
		if want := conv.Coverage(layers...); !slices.Equal(p.counts[0], want) || p.field[0] != conv.ReceptiveField(layers...) {
			t.Fatalf("%+v is read %v, want %v", layers, p.counts[0], want)
		}
	}
	deep := explained(t, "3x3 *100", square)
	if deep.Unseen != 0 || deep.Field[0] != 201 || !(deep.Reads.Most() > 1e37) {
		t.Errorf("100 layers: %d unseen of %v, most %g", deep.Unseen, deep.Field, deep.Reads.Most())
	}
	two := explained(t, "[1x1 | 3x3 d3]", square)
	if two.Reads.At(3, 3) != 2 || two.Reads.At(0, 6) != 1 || two.Reads.At(1, 1) != 0 {
		t.Errorf("branches are read %v %v %v", two.Reads.At(3, 3), two.Reads.At(0, 6), two.Reads.At(1, 1))
	}
}

func TestRefusals(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "there is no layer",
		"# nothing\n , ":                "there is no layer",
		"d2":                            `layer "d2" has no kernel`,
		"3x3 q5":                        `"q5" is not understood`,
		"3x3 d":                         `"d" is not understood`,
		"3x3x3":                         `"3x3x3" is not understood`,
		"3x3 s0":                        `"s0" is 0, must be between 1 and`,
		"3x3 p-1":                       `"p-1" is -1, must be between 0 and`,
		"0x3":                           `"0x3" is 0, must be`,
		"3x3 c5x6":                      `"c5x6" is not understood`,
		"3x3 5x5":                       "two kernels",
		"2x2 pool c5":                   "a pooling, which has no channels",
		"3x3 dw g2":                     "both depthwise and in groups",
		"[3x3 | 1x1":                    "not closed",
		"[3x3 | 1x1 *2]":                "is repeated",
		"3x3 *1001":                     "more than 1000 layers",
		"3x3 s99999999999999999999":     `is not understood`,
		"3x3 d40000":                    "wider than 65536 pixels",
		"3x3 s2 *17":                    "wider than 65536 pixels",
		"3x3 c7 g2":                     "not divisible by 2 groups",
		"3x3 p0, 60x60 p0":              "more than the padded image",
		"[3x3 | 3x3 s2]":                "branches must keep step",
		"65x65 c100000, 3x3 c900000":    "multiply-adds",
		strings.Repeat("[1x1|3x3],", 7): "more than 64 ways",
	} {
		stack, err := Parse(text)
		if err == nil {
			_, err = Explain(stack, square)
		}
		if err == nil || !strings.Contains(err.Error(), want) || !(errors.Is(err, ErrText) || errors.Is(err, conv.ErrShape)) {
			t.Errorf("%.40q: %v, want … %s", text, err, want)
		}
	}
}

// What is written is read back.
func TestParseReadsItsOwn(t *testing.T) {
	for _, text := range []string{"3x3", "7x7 s2 p3 c64 b", "3×5 d2x3 g4", "3 dw", "2x2 pool s2 p1"} {
		a, err := Parse("first: " + text + " # and a comment")
		if err != nil {
			t.Fatal(err)
		}
		b, err := Parse(a[0][0].String())
		if err != nil {
			t.Fatal(err)
		}
		if a[0][0].Name != "first" {
			t.Errorf("%q is named %q", text, a[0][0].Name)
		}
		a[0][0].Name = ""
		if a[0][0] != b[0][0] {
			t.Errorf("%q: %+v and %+v", text, a[0][0], b[0][0])
		}
	}
}

func TestJSON(t *testing.T) {
	r := explained(t, "3x3 d1, 3x3 d2, 3x3 d4 c32", square)
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Report
	if err := json.Unmarshal(b, &back); err != nil || back.Field != r.Field || len(back.Rows) != 3 || back.Rows[2].Output != (conv.Shape{1, 32, 56, 56}) || back.MACs != r.MACs {
		t.Errorf("%v: %+v", err, back)
	}
}

func TestCount(t *testing.T) {
	for n, want := range map[int64]string{0: "–", 9999: "9999", 10000: "10.0k", 123456: "123k", 999999: "1.00M", 14714688: "14.7M", 4089184256: "4.09G"} {
		if got := count(n); got != want {
			t.Errorf("%d is written %s, want %s", n, got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, n := range Known() {
		f.Add(n.Text)
	}
	f.Add("3x3 d1, [1x1 | 3x3 d3 c5] # x\n a: 2x2 pool s2")
	f.Fuzz(func(t *testing.T, text string) {
		var stack Stack
		var err error
		convtest.Bounded(t, []byte(text), 10000, 4<<20, func() { stack, err = Parse(text) })
		if err != nil && !errors.Is(err, ErrText) || err == nil && len(stack) == 0 {
			t.Errorf("%d stages, %v", len(stack), err)
		}
	})
}
