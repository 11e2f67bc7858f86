package conv

// Cost is what a problem asks of a machine, counted by the operator's
// definition: direct convolution, every operand read once, taps in the padding
// included. GFLOP/s figures divide FLOPs by time, whatever algorithm ran.
type Cost struct {
	MACs       int64 // multiply-adds of the convolution itself
	SampleMACs int64 // multiply-adds of bilinear sampling, 4 a sample; 0 if not deformable
	Bytes      int64 // float32 input, offsets, mask, weight and bias read, output written
	Params     int64 // learned numbers: weight and bias
}

// FLOPs returns 2·MACs; sampling is told apart in SampleMACs.
func (c Cost) FLOPs() int64 { return 2 * c.MACs }

// Cost returns what the problem costs.
func (q Problem) Cost() Cost {
	weight := int64(q.Weight().Len())
	pixels := int64(q.N) * int64(q.Ho) * int64(q.Wo)
	c := Cost{MACs: weight * pixels, Params: weight}
	if q.Bias {
		c.Params += int64(q.K)
	}
	words := int64(q.Input().Len()) + c.Params + int64(q.Output().Len())
	if q.Deformable() {
		c.SampleMACs = 4 * int64(q.C) * int64(q.Taps()) * pixels
		words += int64(q.Offset().Len())
		if q.Mask {
			words += int64(q.MaskShape().Len())
		}
	}
	c.Bytes = 4 * words
	return c
}
