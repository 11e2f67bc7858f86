package kernels

import "vkconv/conv"

// packedSize returns where the biases start and the elements in all.
func packedSize(p conv.Problem, l launch) (biasAt, all int) {
	s, c := l.shape, divide(p, l.variant, l.shape)
	cg := p.C / p.Groups
	switch l.variant.kind {
	case grouped, depthwise:
		biasAt = p.K * cg * p.Taps()
		if s.lanes > 1 {
			biasAt = p.K * cg * rounded(p.Taps(), s.lanes)
		}
		return biasAt, biasAt + p.K
	case deformDepthwise:
		biasAt = c.blocks * p.Taps() * s.block
	default:
		biasAt = c.blocks * p.Taps() * rounded(cg, s.channels) * s.block
	}
	return biasAt, biasAt + c.blocks*s.block
}

// pack lays the weights K×(C/G)×R×S out as the kernel reads them, with the
// biases behind (zeros without) and zeros where a block is not full, c rounded
// up to CHANNELS:
//
//	product, one tap at a time   [block][r][s][c][TM]
//	product, TAPS at a time      [block][r][c][s][TM]
//	pointwise                    [block][c][TM]
//	deform                       [block][r][s][c][TM]
//	shared ones                  [block][r][s][c][output channels of a workgroup]
//	deformDepthwise              [block][r][s][TM]
//	grouped, depthwise           [k][c][r][s], taps rounded up to LANES
func pack[T float32 | int32](l launch, weight, bias []T) []T {
	p := l.problem
	out := make([]T, l.weights)
	s, cg, taps := l.shape, p.C/p.Groups, p.Taps()
	if l.variant.kind == grouped || l.variant.kind == depthwise {
		room := taps
		if s.lanes > 1 {
			room = rounded(taps, s.lanes)
		}
		for i := range p.K * cg {
			copy(out[i*room:], weight[i*taps:][:taps])
		}
		copy(out[l.biasAt:], bias)
		return out
	}
	c, room := divide(p, l.variant, s), rounded(cg, s.channels)
	groups := c.blocks / c.groupBlocks
	channels := p.K / groups // output channels that share a row of blocks
	for k := range p.K {
		block, m := k/channels*c.groupBlocks+k%channels/s.block, k%channels%s.block
		for ci := range cg {
			for tap := range taps {
				at := (block*taps+tap)*room + ci
				if l.variant.kind == product && s.taps > 1 {
					r, x := tap/p.S, tap%p.S
					at = ((block*p.R+r)*room+ci)*p.S + x
				}
				out[at*s.block+m] = weight[(k*cg+ci)*taps+tap]
			}
		}
		if bias != nil {
			out[l.biasAt+block*s.block+m] = bias[k]
		}
	}
	return out
}

// rounded is n rounded up to a multiple of m.
func rounded(n, m int) int { return ceil(n, m) * m }
