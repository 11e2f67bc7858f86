package kernels

import (
	"fmt"
	"math"
	"strings"

	"vkconv/conv"
	"vkconv/gpu"
	"vkconv/shaders"
)

// launch is one dispatch with all numbers known.
type launch struct {
	problem conv.Problem // normal
	variant variant
	module  *shaders.Module
	shape   shape
	groups  [3]uint32
	push    []byte
	weights int // elements of the packed weights, biases included
	biasAt  int // where the biases start
	parts   int // workgroups that share a tile, of splits; 1
	share   int // input channels of a group that each of them sums
	cost    float64
}

// cut is how a problem is divided into work items and workgroups.
type cut struct {
	strip                 int  // output rows of an item that walks down
	rowItems, columnItems int  // along an output row, a column; where items lie so
	stepY, stepX          int  // outputs of one item are this far apart
	unitY, unitX          int  // its inputs are this far apart
	items                 int  // per block of output channels
	perGroup              int  // items of a workgroup
	blocks, groupBlocks   int  // blocks of output channels: all, of one group
	flat                  bool // a workgroup's items may be of several blocks
}

// tiles is how many workgroups there are.
func (c cut) tiles() int {
	if c.flat {
		return ceil(c.items*c.blocks, c.perGroup)
	}
	return ceil(c.items, c.perGroup) * c.blocks
}

// farthest bounds positions: half of what place() in sample.glsl can add to.
const farthest = 1 << 29

// mostPartial bounds the workspace of partial results, in elements: 32 MiB.
const mostPartial = 8 << 20

// longestStrip is how far an item of the depthwise kernel walks at most.
const longestStrip = 32

// choose returns the cheapest launch for a problem.
func choose(p conv.Problem, t traits) (launch, error) {
	var best launch
	var failed error
	for _, v := range variants {
		l, why, err := plan(p, t, v)
		switch {
		case err != nil:
			failed = err
		case why == "" && (best.module == nil || l.cost < best.cost):
			best = l
		}
	}
	if best.module == nil {
		if failed == nil {
			failed = fmt.Errorf("%w: no kernel for this problem", conv.ErrUnsupported)
		}
		return launch{}, failed
	}
	return best, nil
}

// planSplit returns the cheapest launch of one of splits, with what the pass costs
// that adds up; the string says why there is none.
func planSplit(p conv.Problem, t traits, v variant) (best launch, why string) {
	m := t.machine()
	if m.slots == 0 {
		return best, "it is for devices that run many workgroups side by side"
	}
	for parts := 2; parts <= 64; parts *= 2 {
		l, unfit, err := planParts(p, t, v, parts)
		switch {
		case unfit != "":
			return best, unfit
		case err != nil:
			why = err.Error()
			continue
		case l.parts == 1:
			why = "it takes more channels"
			continue
		case l.partialBytes() > 4*mostPartial:
			why = "its workspace would be too large"
			continue
		}
		outputs := p.K * p.N * p.Ho * p.Wo
		l.cost += m.pass + float64(ceil(outputs, max(t.Subgroup, 1)))*float64(l.parts+2)*m.load
		l.cost *= 1.25 // costs are guesses, and a workspace has to be worth it
		if best.module == nil || l.cost < best.cost {
			best = l
		}
	}
	if best.module != nil {
		why = ""
	}
	return best, why
}

// partialBytes is what the workgroups of splits write.
func (l launch) partialBytes() int64 { return 4 * int64(l.output().Len()) }

// output is the shape of what the launch writes.
func (l launch) output() conv.Shape {
	p := l.problem
	if l.parts > 1 {
		return conv.Shape{l.parts, p.K, 1, p.N * p.Ho * p.Wo}
	}
	return p.Output()
}

// plan works out the launch of a variant; the string says why it does not fit.
func plan(p conv.Problem, t traits, v variant) (launch, string, error) {
	return planParts(p, t, v, 1)
}

// planParts is plan of a tile's sum in parts, or fewer where there are not as
// many steps of channels. With parts the launch neither adds a bias nor activates.
func planParts(p conv.Problem, t traits, v variant, parts int) (launch, string, error) {
	p = normal(p)
	m, err := shaders.Get(v.module)
	if err != nil {
		return launch{}, "", err
	}
	v = v.on(t, m)
	l := launch{problem: p, variant: v, module: m, shape: v.shape(m)}
	why := v.unfit(p, t, l.shape)
	if why == "" && v.kind.matrices() {
		why = v.unfitMatrix(p, t, m)
	}
	if why != "" {
		return launch{}, why, nil
	}
	l.share = p.C / p.Groups
	if parts > 1 {
		l.share = rounded(ceil(l.share, parts), v.depth)
	}
	l.parts = ceil(p.C/p.Groups, l.share)
	if err := checkLoops(t, loops(p, v, l.shape)); err != nil {
		return launch{}, "", err
	}
	c := divide(p, v, l.shape)
	l.biasAt, l.weights = packedSize(p, l)
	if err := check(p, t, l, c); err != nil {
		return launch{}, "", err
	}
	tiles := c.tiles() * l.parts
	if l.groups, err = fold(tiles, t); err != nil {
		return launch{}, "", err
	}
	l.cost = cost(p, t, l, c)
	flag := map[bool]int{true: 1}
	values := map[string]int{
		"tiles": tiles, "items": c.items, "rowItems": c.rowItems, "columnItems": c.columnItems,
		"blocks": c.blocks, "groupBlocks": c.groupBlocks,
		"c": p.C, "h": p.H, "w": p.W, "k": p.K, "ho": p.Ho, "wo": p.Wo, "r": p.R, "s": p.S,
		"cg": p.C / p.Groups, "kg": p.K / p.Groups,
		"strideY": p.StrideY, "strideX": p.StrideX, "dilationY": p.DilationY, "dilationX": p.DilationX,
		"top": p.Pad.Top, "left": p.Pad.Left, "mode": mode(p),
		"strip": c.strip, "stepY": c.stepY, "stepX": c.stepX, "unitY": c.unitY, "unitX": c.unitX, "biasAt": l.biasAt,
		"offsetChannels": p.C / max(p.OffsetGroups, 1), "offsetGroups": p.OffsetGroups, "masked": flag[p.Mask],
	}
	values["firstX"], values["firstY"] = 0, 0
	values["parts"], values["share"] = l.parts, l.share
	values["low"], values["high"] = activationParameters(p.Activation)
	if l.push, err = packPush(m, values); err != nil {
		return launch{}, "", err
	}
	return l, "", nil
}

// activationParameters are the parameters that activation.glsl takes, as bits.
func activationParameters(a conv.Activation) (low, high int) {
	if a.Kind == conv.LeakyReLU {
		a.Min = a.Slope
	}
	return int(math.Float32bits(a.Min)), int(math.Float32bits(a.Max))
}

// packPush lays out a module's push constants; values may hold more.
func packPush(m *shaders.Module, values map[string]int) ([]byte, error) {
	own := map[string]int{}
	for _, member := range m.Push {
		if v, ok := values[member.Name]; ok {
			own[member.Name] = v
		}
	}
	return m.PackPush(own)
}

// constants are the launch's specialization constants by name. The activation
// is among them so that a pipeline without one has no trace of it.
func (l launch) constants() map[string]uint32 {
	c, p := l.variant.constants(), l.problem
	if l.parts == 1 {
		c["activation"] = uint32(p.Activation.Kind)
	}
	if k := l.variant.kind; k == sharedProduct || k == sharedDeform {
		c["whole"] = 0
		if depth := l.variant.depth; p.C/p.Groups%depth == 0 && p.C/max(p.OffsetGroups, 1)%depth == 0 {
			c["whole"] = 1
		}
	}
	return c
}

// normal drops what makes no difference: a stride where there is one output, a
// dilation where there is one tap. Both may be huge there.
func normal(p conv.Problem) conv.Problem {
	if p.Ho == 1 {
		p.StrideY = 1
	}
	if p.Wo == 1 {
		p.StrideX = 1
	}
	if p.R == 1 {
		p.DilationY = 1
	}
	if p.S == 1 {
		p.DilationX = 1
	}
	return p
}

// divide cuts a problem, normal, for a variant.
func divide(p conv.Problem, v variant, s shape) cut {
	c := cut{stepY: 1, stepX: 1, unitY: p.DilationY, unitX: p.DilationX, rowItems: 1, columnItems: 1,
		perGroup: int(v.localSize), blocks: p.K, groupBlocks: 1, flat: s.flat}
	// along cuts an axis: outputs of an item lie step apart, so that
	// neighbouring ones meet the same inputs (see conv2d.comp).
	along := func(out, stride, dilation, tile int) (step, items int) {
		step = dilation / gcd(stride, dilation)
		return step, step * ceil(ceil(out, step), tile)
	}
	switch {
	case v.kind == depthwise:
		// Strips as long as leaves every core some: their first rows are
		// loaded in vain.
		rows := ceil(p.Ho, p.DilationY/gcd(p.StrideY, p.DilationY))
		c.strip = ceil(rows, ceil(rows, longestStrip))
		c.stepY, c.columnItems = along(p.Ho, p.StrideY, p.DilationY, c.strip)
		c.stepX, c.rowItems = along(p.Wo, p.StrideX, p.DilationX, s.tn)
		c.items = p.N * c.columnItems * c.rowItems
	case v.kind == grouped && s.taps > 1:
		c.stepY, c.columnItems = along(p.Ho, p.StrideY, p.DilationY, s.ty)
		c.stepX, c.rowItems = along(p.Wo, p.StrideX, p.DilationX, s.tn)
		c.items = p.N * c.columnItems * c.rowItems
	case v.kind == grouped:
		// No input is shared, so outputs of neighbouring lanes are neighbours.
		c.columnItems, c.stepX = p.Ho, ceil(p.Wo, s.tn)
		c.rowItems, c.unitX = c.stepX, c.stepX*p.StrideX
		c.items = p.N * c.columnItems * c.rowItems
	case v.kind == product && s.taps > 1:
		c.stepX, c.rowItems = along(p.Wo, p.StrideX, p.DilationX, s.tn)
		c.items = p.N * p.Ho * c.rowItems
	case v.kind == pointwise:
		c.items = p.N * p.Ho * p.Wo / 4
		c.perGroup *= s.tn / 4
	case v.columns > 0:
		c.items, c.perGroup = p.N*p.Ho*p.Wo, v.columns
	default:
		c.items = p.N * p.Ho * p.Wo
		c.perGroup *= s.tn
	}
	switch v.kind {
	case product, pointwise, deform, sharedProduct, sharedDeform, matrixProduct, matrixDeform:
		c.groupBlocks = ceil(p.K/p.Groups, s.block)
		c.blocks = p.Groups * c.groupBlocks
	case deformDepthwise:
		c.groupBlocks = ceil(p.C/p.OffsetGroups*(p.K/p.Groups), s.tm)
		c.blocks = p.OffsetGroups * c.groupBlocks
	}
	return c
}

// check refuses what does not fit the device's bindings or the shaders' 32-bit indices.
func check(p conv.Problem, t traits, l launch, c cut) error {
	// An index may run ahead by one plane before its loop ends.
	most := min(t.StorageRange, 4*int64(math.MaxInt32-p.H*p.W))
	var large []string
	tensor := func(name string, elements int) {
		if bytes := 4 * int64(elements); bytes > most {
			large = append(large, fmt.Sprintf("%s takes %d bytes", name, bytes))
		}
	}
	tensor("the input", p.Input().Len())
	tensor("the output", p.Output().Len())
	tensor("the output's parts", l.output().Len())
	tensor("the packed weight", l.weights)
	if p.Deformable() {
		tensor("the offset tensor", p.Offset().Len())
	}
	if large != nil {
		return fmt.Errorf("%w: %s; a binding on this device holds at most %d", gpu.ErrTooLarge, strings.Join(large, ", "), most)
	}
	// The last tile may overhang the output by almost one tile. In float64: the
	// products may pass 63 bits.
	reach := func(out, stride, pad, dilation, kernel, step, unit, tile int) bool {
		f := func(n int) float64 { return float64(n) }
		last := (f(out)+2*f(tile)*f(step))*f(stride) + f(dilation)*f(kernel) + f(unit)*f(tile*l.shape.step+kernel)
		return pad < farthest && last < farthest
	}
	if !reach(p.Ho, p.StrideY, p.Pad.Top, p.DilationY, p.R, c.stepY, c.unitY, max(l.shape.ty, c.strip)) ||
		!reach(p.Wo, p.StrideX, p.Pad.Left, p.DilationX, p.S, c.stepX, c.unitX, l.shape.tn) ||
		p.H >= farthest || p.W >= farthest || c.items+2*c.perGroup > math.MaxInt32 || float64(c.items)*float64(c.blocks) > math.MaxInt32 && c.flat {
		return fmt.Errorf("%w: positions reach beyond %d, the most that the kernels index", gpu.ErrTooLarge, farthest)
	}
	return nil
}

// fold spreads workgroups over x and y.
func fold(tiles int, t traits) ([3]uint32, error) {
	if tiles == 0 {
		return [3]uint32{}, nil
	}
	y := ceil(tiles, t.Groups[0])
	x := ceil(tiles, y)
	if y > t.Groups[1] || int64(x)*int64(y) > math.MaxUint32 {
		return [3]uint32{}, fmt.Errorf("%w: %d workgroups, a dispatch on this device holds %d × %d", gpu.ErrTooLarge, tiles, t.Groups[0], t.Groups[1])
	}
	return [3]uint32{uint32(x), uint32(y), 1}, nil
}

// cost estimates a launch in cycles of one SIMD vector of invocations.
func cost(p conv.Problem, t traits, l launch, c cut) float64 {
	k, s := t.machine(), l.shape
	f := func(n int) float64 { return float64(n) }
	cg, taps := l.share, p.R*p.S
	// weights costs n of them: loads, and handing on where lanes share them.
	weights := func(n int) float64 {
		switch {
		case s.lanes == 1:
			return f(n) / 4 * k.load4
		case n%(4*s.lanes) == 0:
			return f(n/(4*s.lanes))*k.load4 + f(n)*k.hand
		}
		return f(ceil(n, s.lanes))*k.load + f(n)*k.hand
	}
	accumulators := f(s.tm * s.ty * s.tn)
	steps := f(ceil(cg, s.channels)) // of the loop over channels
	channels := steps * f(s.channels)
	carried := accumulators * k.keep // from one step to the next
	outputs := accumulators          // of an item
	var item float64
	switch l.variant.kind {
	case product:
		channel := f((s.tn-1)*s.step+s.taps)*k.load + f(s.taps)*(weights(s.tm)+accumulators*k.product)
		item = f(taps/s.taps) * (channels*channel + steps*carried)
	case pointwise:
		item = channels*(f(s.tn/4)*k.load4+weights(s.tm)+accumulators*k.product) + steps*carried
	case grouped:
		values := f((s.tn-1)*s.step+s.taps) * f((s.ty-1)*s.step+s.rows)
		item = f(cg*taps/(s.taps*s.rows)) * (values*k.load + weights(s.rows*s.taps) + f(s.rows*s.taps)*accumulators*k.product)
	case depthwise:
		values := f((s.tn-1)*s.step + s.taps)
		ahead := f((s.rows - 1) / s.step)
		own := weights(s.rows * s.taps)
		if s.flat { // neighbours' weights lie apart
			own = f(s.rows*s.taps) * k.load
		}
		item = own +
			(f(c.strip)+ahead)*(values*f(s.step)*k.load+f(s.rows*s.taps*s.tn)*k.product+values*f(s.rows-s.step)*k.keep)
		outputs = f(c.strip * s.tn)
	case sharedProduct, sharedDeform:
		load, segments := k.load, 1
		if l.variant.kind == sharedDeform {
			load, segments = 4*(k.load+k.product), max(1, p.OffsetGroups/p.Groups)
			item = f(taps*segments) * k.place
		}
		perStep := f(l.variant.depth) * (f(l.variant.columns)*(load+k.shared) + f(s.block/4)*(k.load4+k.shared)) / f(int(l.variant.localSize))
		perStep += f(l.variant.depth)*(f((s.tm+s.tn)/4)*k.shared+accumulators*k.product) + k.barrier
		item += f(taps*segments*ceil(ceil(cg, segments), l.variant.depth)) * perStep
	case matrixProduct, matrixDeform:
		load, segments, parts := k.load, 1, l.variant.mosaic.parts
		if l.variant.kind == matrixDeform {
			load, segments = 4*(k.load+k.product), max(1, p.OffsetGroups/p.Groups)
			item = f(taps*segments) * k.place
		}
		u := l.variant.mosaic
		products := s.tm * s.tn * (parts*parts - parts/3) // all pairs of parts, but of three the last
		perStep := f(l.variant.depth)*(f(l.variant.columns)*(load+f(parts)*k.shared)+f(s.block)*(k.load4/4+f(parts)*k.shared))/f(int(l.variant.localSize)) +
			f(l.variant.depth/u.K)*(f(products*u.product())*k.unit+f(parts*u.K*(s.tm*u.M+s.tn*u.N))*k.shared)/f(u.lanes) + 2*k.barrier
		item += f(taps*segments*ceil(ceil(cg, segments), l.variant.depth)) * perStep
		outputs = f(s.tm*s.tn*u.M*u.N) / f(u.lanes)
	case deform:
		sample := 4 * (k.load + k.product)
		item = f(cg*taps)*(f(s.tn)*sample+weights(s.tm)+accumulators*(k.product+k.keep/f(s.channels))) +
			f(taps*max(1, p.OffsetGroups/p.Groups)*s.tn)*k.place
	case deformDepthwise:
		item = f(taps) * (f(s.tn)*k.place + accumulators*(4*(k.load+k.product)+k.product) + weights(s.tm))
	}
	item += outputs * k.load // stores
	places := 1.0            // where they are is worked out together, but for tiles of scattered outputs
	if l.variant.kind == product && s.taps == 1 {
		places = f(s.tn) / 4
	}
	item += places * k.index
	groups, vectors := c.tiles()*l.parts, ceil(int(l.variant.localSize), max(t.Subgroup, 1))
	if k.slots > 0 {
		// A slot runs at least four vectors at a time; fewer leave it partly idle.
		return f(k.slots) * f(max(ceil(groups, k.slots)*vectors, 4)) * item
	}
	return f(groups) * f(vectors) * item
}

// mode says what lies beyond the edge: the padding mode, or of a deformable
// convolution, which pads with zeros, the border.
func mode(p conv.Problem) int {
	if p.Deformable() {
		return int(p.Border)
	}
	return int(p.Mode)
}
