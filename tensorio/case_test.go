package tensorio

import (
	"archive/zip"
	"bytes"
	"errors"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vkconv/conv"
	"vkconv/convtest"
)

func zeros(n ...int) Array {
	count := 1
	for _, d := range n {
		count *= d
	}
	return Array{n, make([]float32, count)}
}

func int64s(v ...int64) Array { return Array{[]int{len(v)}, v} }

// ordinary and deformable are sound cases that the tests below change.
func ordinary() map[string]Array {
	return map[string]Array{
		"x": zeros(1, 4, 7, 8), "weight": zeros(6, 2, 3, 3), "bias": zeros(6),
		"stride": int64s(1, 2), "padding": int64s(1, 2, 0, 1), "dilation": int64s(2, 1), "groups": int64s(2),
		"padding_mode": {[]int{7}, []uint8("reflect")}, "y": {[]int{1, 6, 4, 5}, make([]float64, 120)},
	}
}

func deformable() map[string]Array {
	return map[string]Array{
		"x": zeros(2, 4, 5, 5), "weight": zeros(3, 4, 3, 3), "offset": zeros(2, 36, 3, 3), "mask": zeros(2, 18, 3, 3),
	}
}

// transposed and pack are sound cases of the other operators.
func transposed() map[string]Array {
	return map[string]Array{
		"op": {[]int{14}, []uint8("conv_transpose")}, "x": zeros(2, 4, 3, 5), "weight": zeros(4, 3, 3, 2), "bias": zeros(6),
		"stride": int64s(2, 3), "groups": int64s(2), "output_padding": int64s(1, 0), "y": zeros(2, 6, 8, 14), "dy": zeros(2, 6, 8, 14),
		"dx": zeros(2, 4, 3, 5), "dweight": zeros(4, 3, 3, 2), "dbias": zeros(6),
	}
}

func pack() map[string]Array {
	return map[string]Array{
		"op": {[]int{11}, []uint8("deform_pack")}, "x": zeros(1, 2, 4, 4), "weight": zeros(3, 2, 2, 2), "modulated": int64s(1),
		"offset_weight": zeros(12, 2, 2, 2), "offset_bias": zeros(12), "y": zeros(1, 3, 3, 3), "dy": zeros(1, 3, 3, 3),
		"doffset_weight": zeros(12, 2, 2, 2), "doffset_bias": zeros(12), "dx": zeros(1, 2, 4, 4),
	}
}

func write(t *testing.T, arrays map[string]Array) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "some.npz")
	if err := WriteNPZ(path, arrays); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestReadCase(t *testing.T) {
	arrays := ordinary()
	arrays["x"].Data.([]float32)[5] = 3
	arrays["seed"] = int64s(1)
	arrays["atol"] = Array{[]int{1}, []float64{1e-5}}
	arrays["op"] = Array{[]int{4}, []uint8("conv")}
	c, err := ReadCase(write(t, arrays))
	if err != nil {
		t.Fatal(err)
	}
	want := conv.Problem{N: 1, C: 4, H: 7, W: 8, K: 6, R: 3, S: 3, Ho: 4, Wo: 5, StrideY: 1, StrideX: 2,
		DilationY: 2, DilationX: 1, Pad: conv.Padding{Top: 1, Left: 2, Bottom: 0, Right: 1}, Groups: 2, Mode: conv.Reflect, Bias: true}
	if c.Problem != want {
		t.Errorf("problem is %+v, want %+v", c.Problem, want)
	}
	if c.Name != "some" || c.X[5] != 3 || len(c.Y) != 120 || c.Offset != nil || c.HasBackward() || c.Tolerance != 1e-5 || !slices.Equal(c.Ignored, []string{"seed"}) {
		t.Errorf("case is %+v", c)
	}

	c, err = ReadCase(write(t, deformable()))
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Problem; p.OffsetGroups != 2 || !p.Mask || p.Ho != 3 || p.StrideY != 1 || p.Groups != 1 || c.Y != nil {
		t.Errorf("problem is %+v", p)
	}
}

func TestReadCaseGradients(t *testing.T) {
	arrays := deformable()
	maps.Copy(arrays, map[string]Array{
		"dy": zeros(2, 3, 3, 3), "dx": zeros(2, 4, 5, 5), "dweight": zeros(3, 4, 3, 3),
		"dbias": zeros(3), "doffset": zeros(2, 36, 3, 3), "dmask": zeros(2, 18, 3, 3),
	})
	c, err := ReadCase(write(t, arrays))
	if err != nil {
		t.Fatal(err)
	}
	if !c.HasBackward() || len(c.DX) != 200 || len(c.DWeight) != 108 || len(c.DBias) != 3 || len(c.DOffset) != 648 || len(c.DMask) != 324 {
		t.Errorf("gradients: %d %d %d %d %d %d", len(c.DY), len(c.DX), len(c.DWeight), len(c.DBias), len(c.DOffset), len(c.DMask))
	}
}

func TestReadCaseOperators(t *testing.T) {
	c, err := ReadCase(write(t, transposed()))
	if err != nil {
		t.Fatal(err)
	}
	if c.Op != ConvTranspose || c.Output() != (conv.Shape{2, 6, 8, 14}) || c.Input() != (conv.Shape{2, 4, 3, 5}) ||
		c.OutputPadding != [2]int{1, 0} || len(c.DBias) != 6 || len(c.Ignored) != 0 {
		t.Errorf("%+v", c)
	}
	c, err = ReadCase(write(t, pack()))
	if err != nil {
		t.Fatal(err)
	}
	if c.Op != DeformPack || !c.Problem.Mask || c.Problem.OffsetGroups != 1 || len(c.OffsetBias) != 12 || len(c.DOffsetWeight) != 96 || len(c.Ignored) != 0 {
		t.Errorf("%+v", c)
	}
	for name, wrong := range map[string]struct {
		base  map[string]Array
		array string
		to    Array
		want  string
	}{
		"output padding":    {transposed(), "output_padding", int64s(2, 0), "output padding (rows) is 2"},
		"no output padding": {transposed(), "output_padding", int64s(-1), "output_padding (rows) is -1, must be at least 0"},
		"weight":            {transposed(), "weight", zeros(6, 3, 3, 2), "takes 6 channels"},
		"predictor":         {pack(), "offset_weight", zeros(8, 2, 2, 2), "offset_weight is 8×2×2×2, must be a multiple of 12"},
		"offset bias":       {pack(), "offset_bias", zeros(8), `array "offset_bias" has shape [8], must be [12]`},
		"modulated":         {pack(), "modulated", int64s(2), "modulated is 2, must be 0 or 1"},
	} {
		wrong.base[wrong.array] = wrong.to
		if _, err := ReadCase(write(t, wrong.base)); err == nil || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%s: %v, want … %s", name, err, wrong.want)
		}
	}
	without := pack()
	delete(without, "offset_bias")
	if _, err := ReadCase(write(t, without)); !errors.Is(err, ErrMissing) {
		t.Errorf("without offset_bias: %v", err)
	}
}

// Every outside case there is is read, and nothing in it is left aside.
func TestReadOutsideCases(t *testing.T) {
	var paths []string
	for _, folder := range []string{"cases", "dcn", "known", "layers", "scales", "transposed"} {
		found, err := filepath.Glob("../convtest/testdata/" + folder + "/*.npz")
		if err != nil || len(found) < 20 {
			t.Fatalf("%d cases in %s (%v)", len(found), folder, err)
		}
		paths = append(paths, found...)
	}
	found := map[Operator]int{}
	for _, path := range paths {
		c, err := ReadCase(path)
		if err != nil {
			t.Error(err)
			continue
		}
		found[c.Op]++
		if c.Name == "mmcv_deform_pack_v2" { // has mmcv's own by other names
			c.Ignored = nil
		}
		if len(c.Ignored) > 0 || len(c.X) != c.Input().Len() || c.Y != nil && len(c.Y) != c.Output().Len() {
			t.Errorf("%s: ignored %v, x %d for %v, y %d for %v", path, c.Ignored, len(c.X), c.Input(), len(c.Y), c.Output())
		}
	}
	for op := range readers {
		if found[op] < 2 {
			t.Errorf("%d cases of %s", found[op], op)
		}
	}
	t.Log(found)
}

// Other element types and short forms mean the same.
func TestReadCaseConversions(t *testing.T) {
	arrays := ordinary()
	x := make([]float64, 4*7*8)
	x[0], x[1], x[2] = 0.5, math.NaN(), math.Inf(1)
	arrays["x"] = Array{[]int{1, 4, 7, 8}, x}
	weight := make([]int8, 108)
	weight[7] = -3
	arrays["weight"] = Array{[]int{6, 2, 3, 3}, weight}
	arrays["stride"] = Array{nil, []int32{2}}
	arrays["dilation"] = Array{[]int{1}, []uint8{1}}
	arrays["padding"] = Array{[]int{2}, []int16{1, 2}}
	arrays["groups"] = Array{nil, []uint64{2}}
	arrays["padding_mode"] = Array{[]int{8}, []uint32{'c', 'i', 'r', 'c', 'u', 'l', 'a', 'r'}}
	delete(arrays, "y")
	c, err := ReadCase(write(t, arrays))
	if err != nil {
		t.Fatal(err)
	}
	if c.X[0] != 0.5 || c.X[1] == c.X[1] || !math.IsInf(float64(c.X[2]), 1) || c.Weight[7] != -3 {
		t.Errorf("x begins %v, weight[7] is %v", c.X[:3], c.Weight[7])
	}
	p := c.Problem
	if p.StrideY != 2 || p.StrideX != 2 || p.DilationX != 1 || p.Pad != (conv.Padding{Top: 1, Left: 2, Bottom: 1, Right: 2}) || p.Groups != 2 || p.Mode != conv.Circular {
		t.Errorf("problem is %+v", p)
	}
}

func TestReadCaseRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		base   map[string]Array
		change map[string]any // Array, or nil to remove
		kind   error
		want   string
	}{
		"no x":              {ordinary(), map[string]any{"x": nil}, ErrMissing, `array "x" is missing, the archive has `},
		"no weight":         {ordinary(), map[string]any{"weight": nil}, ErrMissing, `array "weight" is missing`},
		"x of 3 extents":    {ordinary(), map[string]any{"x": zeros(4, 7, 8)}, conv.ErrShape, `array "x" has shape [4 7 8], must have four extents`},
		"stride 0":          {ordinary(), map[string]any{"stride": int64s(0, 0)}, conv.ErrParams, "stride (rows) is 0, must be at least 1"},
		"stride -1":         {ordinary(), map[string]any{"stride": int64s(1, -1)}, conv.ErrParams, "stride (columns) is -1, must be at least 1"},
		"dilation 0":        {ordinary(), map[string]any{"dilation": int64s(0)}, conv.ErrParams, "dilation (rows) is 0"},
		"groups 0":          {ordinary(), map[string]any{"groups": int64s(0)}, conv.ErrParams, "groups is 0, must be at least 1"},
		"groups 3":          {ordinary(), map[string]any{"groups": int64s(3)}, conv.ErrShape, "input has 4 channels, not divisible by 3 groups"},
		"padding -1":        {ordinary(), map[string]any{"padding": int64s(0, 0, -1, 0)}, conv.ErrParams, "padding bottom is -1"},
		"3 paddings":        {ordinary(), map[string]any{"padding": int64s(0, 0, 0)}, conv.ErrParams, `array "padding" has shape [3], must hold 1, 2 or 4 numbers`},
		"stride in float":   {ordinary(), map[string]any{"stride": Array{[]int{2}, []float64{1, 1}}}, ErrFormat, `array "stride" holds float64, must hold integers`},
		"huge stride":       {ordinary(), map[string]any{"stride": Array{[]int{2}, []uint64{1, math.MaxUint64}}}, ErrFormat, `array "stride" holds 18446744073709551615, more than can be used`},
		"unknown mode":      {ordinary(), map[string]any{"padding_mode": Array{[]int{4}, []uint8("edge")}}, conv.ErrParams, `padding mode is "edge", must be one of zeros`},
		"numeric mode":      {ordinary(), map[string]any{"padding_mode": int64s(1)}, ErrFormat, "must hold text"},
		"kernel too large":  {ordinary(), map[string]any{"dilation": int64s(5, 5)}, conv.ErrShape, "more than the padded image"},
		"weights disagree":  {ordinary(), map[string]any{"weight": zeros(6, 4, 3, 3)}, conv.ErrShape, "takes 4 channels a group"},
		"bias too long":     {ordinary(), map[string]any{"bias": zeros(7)}, conv.ErrShape, "bias has 7 elements, must have 6"},
		"bias of 2 extents": {ordinary(), map[string]any{"bias": zeros(1, 6)}, conv.ErrShape, "must have one extent"},
		"y of other shape":  {ordinary(), map[string]any{"y": zeros(1, 6, 4, 4)}, conv.ErrShape, `array "y" has shape [1 6 4 4], must be [1 6 4 5]`},
		"dy of other shape": {ordinary(), map[string]any{"dy": zeros(1, 6, 4, 4)}, conv.ErrShape, `array "dy" has shape`},
		"not exact":         {ordinary(), map[string]any{"bias": Array{[]int{6}, []float64{0, 0.1, 0, 0, 0, 0}}}, ErrFormat, `array "bias" holds float64, and element 1, 0.1, is not a float32`},
		"other operator":    {ordinary(), map[string]any{"op": Array{[]int{4}, []uint8("gemm")}}, conv.ErrUnsupported, `op is "gemm", only cases of activation, aspp, batch_norm, conv`},
		"bad tolerance":     {ordinary(), map[string]any{"atol": Array{[]int{1}, []float64{-1}}}, ErrFormat, `array "atol" is [-1], must be one number`},
		"mask alone":        {ordinary(), map[string]any{"mask": zeros(1, 9, 4, 5)}, conv.ErrShape, `"mask" is there without "offset"`},
		"offset channels":   {deformable(), map[string]any{"offset": zeros(2, 20, 3, 3)}, conv.ErrShape, "offset has 20 channels, must be a multiple of 18 (2 × 9 taps)"},
		"offset size":       {deformable(), map[string]any{"offset": zeros(2, 36, 3, 4)}, conv.ErrShape, "offset is 2×36×3×4, must be 2×36×3×3"},
		"mask channels":     {deformable(), map[string]any{"mask": zeros(2, 9, 3, 3)}, conv.ErrShape, "mask is 2×9×3×3, must be 2×18×3×3"},
		"offset groups":     {deformable(), map[string]any{"offset": zeros(2, 54, 3, 3), "mask": nil}, conv.ErrShape, "input has 4 channels, not divisible by 3 offset groups"},
	} {
		for name, a := range c.change {
			if a == nil {
				delete(c.base, name)
			} else {
				c.base[name] = a.(Array)
			}
		}
		path := write(t, c.base)
		_, err := ReadCase(path)
		if err == nil || !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), path+": ") {
			t.Errorf("%s: %v, want … %s", name, err, c.want)
		}
		if err != nil && strings.Count(err.Error(), path) != 1 {
			t.Errorf("%s: names the file more than once: %v", name, err)
		}
	}
}

func TestReadCaseCutInHalf(t *testing.T) {
	path := write(t, ordinary())
	b, _ := os.ReadFile(path)
	os.WriteFile(path, b[:len(b)/2], 0o666)
	if _, err := ReadCase(path); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), "cut short") {
		t.Error(err)
	}
}

func FuzzReadCase(f *testing.F) {
	for _, arrays := range []map[string]Array{ordinary(), deformable(), transposed(), pack()} {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for name, a := range arrays {
			w, _ := z.CreateHeader(&zip.FileHeader{Name: name + ".npy"})
			a.write(w)
		}
		z.Close()
		f.Add(b.Bytes())
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := NewArchive("fuzz.npz", bytes.NewReader(data), int64(len(data)))
		if err != nil {
			return
		}
		var c Case
		convtest.Bounded(t, data, 64*1032, 1<<20, func() { c, err = a.Case() })
		if err == nil && (len(c.X) != c.Input().Len() || len(c.Weight) != c.Problem.Weight().Len()) {
			t.Errorf("%d and %d elements for %+v", len(c.X), len(c.Weight), c.Problem)
		}
	})
}

// Layers that lack what they need, or have what there is not.
func TestReadCaseLayers(t *testing.T) {
	text := func(s string) Array { return Array{[]int{len(s)}, []uint8(s)} }
	norm := func() map[string]Array {
		return map[string]Array{"op": text("batch_norm"), "x": zeros(2, 3, 4, 4), "weight": zeros(3), "bias": zeros(3),
			"running_mean": zeros(3), "running_var": zeros(3)}
	}
	pool := func() map[string]Array {
		return map[string]Array{"op": text("window_pool"), "x": zeros(1, 2, 5, 6), "kernel": int64s(3, 2), "maximum": int64s(1)}
	}
	c, err := ReadCase(write(t, pool()))
	if err != nil || !c.WindowPool.Maximum || c.Output() != (conv.Shape{1, 2, 1, 3}) {
		t.Errorf("%+v, %v", c.WindowPool, err)
	}
	if c, err = ReadCase(write(t, norm())); err != nil || c.BatchNorm.Eps != 1e-5 || c.Output() != c.Input() {
		t.Errorf("%+v, %v", c.BatchNorm, err)
	}
	for _, wrong := range []struct {
		base  map[string]Array
		array string
		to    Array
		is    error
		want  string
	}{
		{norm(), "running_var", zeros(2), conv.ErrShape, `array "running_var" has shape [2], must be [3]`},
		{norm(), "x", zeros(1, 3, 1, 1), conv.ErrShape, "training takes at least 2"},
		{norm(), "momentum", Array{[]int{1}, []float32{2}}, conv.ErrParams, "momentum is 2"},
		{norm(), "weight", Array{}, ErrMissing, `array "weight" is missing`},
		{pool(), "kernel", int64s(6, 2), conv.ErrShape, "6×2"},
		{pool(), "kernel", Array{}, conv.ErrParams, "kernel is 0×0"},
		{pool(), "exclude", int64s(1), conv.ErrParams, "padding is excluded"},
		{pool(), "op", text("activation"), conv.ErrParams, ""},
	} {
		if wrong.base[wrong.array] = wrong.to; wrong.to.Data == nil {
			delete(wrong.base, wrong.array)
		}
		if _, err := ReadCase(write(t, wrong.base)); !errors.Is(err, wrong.is) || !strings.Contains(err.Error(), wrong.want) {
			t.Errorf("%s: %v, want … %s", wrong.array, err, wrong.want)
		}
	}
}
