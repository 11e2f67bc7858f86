//go:build cgo

package kernels

import (
	"fmt"

	"vkconv/conv"
	"vkconv/gpu"
)

// Option is what a plan may be allowed to do, or told.
type Option func(*maker)

// AllowWinograd lets a plan compute 3×3 convolutions of stride 1, at any
// dilation, by Winograd's F(2×2, 3×3) or F(4×4, 3×3) where that is cheaper: up to
// four times fewer products, for results within [conv.Winograd.Bounds] and not
// within [conv.Sum.Bound], and with an infinite input spread over its tile. It
// takes a workspace, see [Conv2D.Workspace].
func AllowWinograd(m *maker) { m.winograd = true }

// winograd is a convolution in three passes (see shaders/winograd.glsl), over a
// part of the tiles at a time, which bounds the workspace:
//
//	x → V[(m+2)²][C][room] → M[(m+2)²][K][room] → y
//
// The pass in the middle is (m+2)²·G groups of a 1×1 convolution, and so takes
// the variants there are for that.
type winograd struct {
	problem conv.Problem
	m       conv.Winograd
	device  *gpu.Device
	in, out *pass
	product *operator
	bias    *gpu.Buffer
	// V, then M
	workspace *gpu.Buffer
	at, size  int64
	v, sums   int // elements
	room      int // tiles worked on at a time
	tiles     int
	parts     []winogradPart
}

// winogradPart are the push constants of one part of the tiles.
type winogradPart struct{ in, out []byte }

// winogradRoom bounds what V and M hold each, in elements: 8 MiB, of which a
// core's share stays in its caches' reach while it is worked on.
const winogradRoom = 2 << 20

// winogradPlan is what is known of it before anything is made on a device.
type winogradPlan struct {
	m           conv.Winograd
	tiles, room int
	rows, lines int // tiles along a row of outputs, a column
	product     launch
	cost        float64
}

// planWinograd works F(m×m, 3×3) out for p, with V and M of about room elements;
// an error says why it does not fit.
func planWinograd(p conv.Problem, t traits, m conv.Winograd, room int) (w winogradPlan, err error) {
	if !m.Covers(p) || p.N == 0 {
		return w, fmt.Errorf("kernels: %w: Winograd is for 3×3 kernels of stride 1", conv.ErrUnsupported)
	}
	p = normal(p)
	along := func(out, dilation int) int { return dilation * ceil(ceil(out, dilation), int(m)) }
	w = winogradPlan{m: m, rows: along(p.Wo, p.DilationX), lines: along(p.Ho, p.DilationY)}
	w.tiles = p.N * w.rows * w.lines
	alpha := int(m) + 2
	local := localSize(t)
	parts := ceil(alpha*alpha*max(p.C, p.K)*rounded(w.tiles, local), room)
	w.room = rounded(ceil(w.tiles, min(parts, w.tiles)), max(local, 4))
	q := conv.Problem{
		N: 1, C: alpha * alpha * p.C, H: 1, W: w.room, K: alpha * alpha * p.K, Ho: 1, Wo: w.room, R: 1, S: 1,
		StrideY: 1, StrideX: 1, DilationY: 1, DilationX: 1, Groups: alpha * alpha * p.Groups,
	}
	t.Operands = conv.Float32 // of what is transformed
	if w.product, err = choose(q, t); err != nil {
		return w, err
	}
	if err := checkGradient(p, t); err != nil { // the same indices
		return w, err
	}
	if f := float64(w.tiles+w.room) + float64(p.N)*float64(p.H)*float64(p.W); f >= farthest {
		return w, fmt.Errorf("kernels: %w: positions reach beyond %d, the most that the kernels index", gpu.ErrTooLarge, farthest)
	}
	k := t.machine()
	values := float64(alpha * alpha)
	vectors := float64(ceil(w.tiles, w.room)*w.room) / float64(max(t.Subgroup, 1))
	w.cost = float64(ceil(w.tiles, w.room))*w.product.cost +
		vectors*float64(p.C)*values*(2*k.load+k.keep+4*k.product+k.plane) +
		vectors*float64(p.K)*(values*(k.load+3*k.product+k.plane)+float64(m*m)*k.load)
	return w, nil
}

// newWinograd builds what was planned.
func newWinograd(d *gpu.Device, p conv.Problem, plan winogradPlan, weight, bias []float32) (w *winograd, err error) {
	w = &winograd{problem: p, m: plan.m, device: d, room: plan.room, tiles: plan.tiles}
	defer func() {
		if err != nil {
			w.Close()
			w = nil
		}
	}()
	alpha, maker, q := int(plan.m)+2, makerFor(d), normal(p)
	w.v, w.sums = alpha*alpha*p.C*w.room, alpha*alpha*p.K*w.room
	local := localSize(maker.traits)
	low, high := activationParameters(p.Activation)
	// Channels of an invocation: its tile's addresses are worked out once for
	// all of them, and yet there must be work for all cores.
	const share = 16
	values := map[string]int{
		"items": w.tiles, "firstItem": 0, "room": w.room, "channels": p.C, "share": share,
		"c": p.C, "h": p.H, "w": p.W, "k": p.K, "ho": p.Ho, "wo": p.Wo, "top": p.Pad.Top, "left": p.Pad.Left, "mode": int(p.Mode),
		"firstX": 0, "firstY": 0, "rowItems": plan.rows, "columnItems": plan.lines, "stepY": q.DilationY, "stepX": q.DilationX,
		"low": low, "high": high, "activation": int(p.Activation.Kind),
	}
	blocks := w.room / local
	if w.in, err = newPass(maker, fmt.Sprintf("winograd_in_m%d", w.m), local, blocks*ceil(p.C, share), values); err != nil {
		return w, err
	}
	values["channels"] = p.K
	if w.out, err = newPass(maker, fmt.Sprintf("winograd_out_m%d", w.m), local, blocks*p.K, values); err != nil {
		return w, err
	}
	for first := 0; first < w.tiles; first += w.room {
		at := map[string]int{"firstItem": first}
		w.parts = append(w.parts, winogradPart{changed(w.in.module, w.in.push, at), changed(w.out.module, w.out.push, at)})
	}
	if err = w.check(weight, bias); err != nil {
		return w, err
	}
	if w.product, err = newOperator(d, plan.product, w.transformed(weight), nil); err != nil {
		return w, err
	}
	align := max(d.Info().Limits.StorageAlign, 4)
	w.at = (4*int64(w.v) + align - 1) / align * align
	w.size = w.at + 4*int64(w.sums)
	if w.workspace, err = d.NewBuffer(w.size); err != nil {
		return w, fmt.Errorf("kernels: workspace: %w", err)
	}
	if w.bias, err = d.NewBuffer(4 * int64(p.K)); err != nil {
		return w, fmt.Errorf("kernels: bias: %w", err)
	}
	return w, w.setBias(bias)
}

func (w *winograd) check(weight, bias []float32) error {
	return (&operator{launch: launch{problem: w.problem}, hasBias: w.problem.Bias}).checkWeights(weight, bias)
}

// transformed is GgGᵀ as the weight of the products, [(m+2)²][K][C/G], computed
// in float64 so that each is rounded once.
func (w *winograd) transformed(weight []float32) []float32 {
	kernels := len(weight) / 9
	alpha := int(w.m) + 2
	out := make([]float32, alpha*alpha*kernels)
	for i := range kernels {
		for t, u := range w.m.Weight(weight[9*i:][:9]) {
			out[t*kernels+i] = float32(u)
		}
	}
	return out
}

func (w *winograd) setBias(bias []float32) error {
	if bias == nil {
		bias = make([]float32, w.problem.K)
	}
	if err := w.device.Upload(w.bias, 0, bytesOf(bias)); err != nil {
		return fmt.Errorf("kernels: bias: %w", err)
	}
	return nil
}

// SetWeights is [operator.SetWeights].
func (w *winograd) SetWeights(weight, bias []float32) error {
	if err := w.check(weight, bias); err != nil {
		return err
	}
	if err := w.product.SetWeights(w.transformed(weight), nil); err != nil {
		return err
	}
	return w.setBias(bias)
}

// recordForward records all passes, between tensors or channels of wider ones.
func (w *winograd) recordForward(s *gpu.Stream, y, x View, _, _ Tensor) error {
	limits := w.device.Info().Limits
	align := max(limits.StorageAlign, 4)
	from, firstX, channelsX, err := x.place("x", w.problem.Input(), align, limits.StorageBufferRange)
	if err != nil {
		return err
	}
	to, firstY, channelsY, err := y.place("y", w.problem.Output(), align, limits.StorageBufferRange)
	if err != nil {
		return err
	}
	for _, b := range []struct {
		name string
		span
	}{{"x", from}, {"y", to}} {
		if err := checkSpan(b.name, b.span); err != nil {
			return err
		}
	}
	v, sums := span{Tensor{w.workspace, 0}, w.v}, span{Tensor{w.workspace, w.at}, w.sums}
	for _, part := range w.parts {
		in, out := patched(w.in.module, part.in), patched(w.out.module, part.out)
		if x.Channels > 0 {
			in.set("firstX", firstX)
			in.set("c", channelsX)
		}
		if y.Channels > 0 {
			out.set("firstY", firstY)
			out.set("k", channelsY)
		}
		if err := w.in.recordWith(s, in.push(), &[maxSpans]span{from, v}); err != nil {
			return err
		}
		if err := w.product.record(s, &[slots]Tensor{slotX: v.Tensor, slotY: sums.Tensor}, &[slots]int{slotX: v.elements, slotY: sums.elements}); err != nil {
			return err
		}
		if err := w.out.recordWith(s, out.push(), &[maxSpans]span{sums, {Tensor{Buf: w.bias}, w.problem.K}, to}); err != nil {
			return err
		}
	}
	return nil
}

// Workspace is the device memory in bytes that running takes.
func (w *winograd) Workspace() int64 { return w.size }

// Close frees weights and workspace.
func (w *winograd) Close() {
	if w.product != nil {
		w.product.Close()
	}
	w.bias.Free()
	w.workspace.Free()
}

// Describe names algorithm and kernels.
func (w *winograd) Describe() string {
	return fmt.Sprintf("Winograd F(%d×%d, 3×3), %d tiles in %d parts; products by %s", w.m, w.m, w.tiles, len(w.parts), w.product.Describe())
}
