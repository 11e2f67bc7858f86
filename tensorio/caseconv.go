package tensorio

import "vkconv/conv"

// convolution reads what all convolutions share.
func (r *caseReader) convolution(c *Case) (w conv.Shape) {
	c.Weight, w = r.tensor("weight", true)
	c.Params.Stride = r.pair("stride", 1, 1)
	c.Params.Dilation = r.pair("dilation", 1, 1)
	c.Params.Padding = r.padding()
	c.Params.Groups = r.groups()
	c.Params.Mode = r.mode()
	c.Bias = r.exact("bias", nil)
	return w
}

// filter reads the gradients by weight and bias, whose lengths are known by now.
func (r *caseReader) filter(c *Case, w conv.Shape) {
	if r.err != nil {
		return
	}
	outputs := c.Output()[1]
	if len(c.Bias) != outputs && c.Bias != nil {
		r.fail(refuse(conv.ErrShape, "bias has %d elements, must have %d, one per output channel", len(c.Bias), outputs))
	}
	c.DWeight = r.expected("dweight", dims(w))
	c.DBias = r.expected("dbias", []int{outputs})
}

// conv reads an ordinary or deformable convolution.
func (r *caseReader) conv(c *Case) {
	w := r.convolution(c)
	var offset, mask conv.Shape
	c.Offset, offset = r.tensor("offset", false)
	c.Mask, mask = r.tensor("mask", false)
	if r.err != nil {
		return
	}
	var err error
	// The ordinary problem first: its sentences come before those about offsets.
	if c.Problem, err = c.Params.Problem(r.x, w, c.Bias != nil); err != nil {
		r.fail(err)
		return
	}
	if c.Offset == nil {
		if c.Mask != nil {
			r.fail(refuse(conv.ErrShape, "array \"mask\" is there without \"offset\", a mask belongs to a deformable convolution"))
		}
		r.filter(c, w)
		return
	}
	c.Deform.Mask = c.Mask != nil
	c.Deform.OffsetGroups, err = conv.OffsetGroupsOf(offset, w[2]*w[3])
	if err == nil {
		c.Problem, err = c.Params.DeformProblem(c.Deform, r.x, w, c.Bias != nil)
	}
	if err == nil {
		err = c.Problem.CheckOffset(offset, mask)
	}
	if err != nil {
		r.fail(err)
		return
	}
	r.filter(c, w)
	c.DOffset = r.expected("doffset", dims(c.Problem.Offset()))
	if c.Problem.Mask {
		c.DMask = r.expected("dmask", dims(c.Problem.MaskShape()))
	}
}

// transposed reads a transposed convolution.
func (r *caseReader) transposed(c *Case) {
	w := r.convolution(c)
	c.OutputPadding = r.pair("output_padding", 0, 0)
	if r.err != nil {
		return
	}
	var err error
	c.Transposed, err = c.Params.TransposedProblem(r.x, w, c.OutputPadding, c.Bias != nil)
	c.Problem = c.Transposed.Of
	r.fail(err)
	r.filter(c, w)
}

// pack reads a layer that predicts its own offsets.
func (r *caseReader) pack(c *Case) {
	w := r.convolution(c)
	predictor, channels := conv.Shape{}, 2
	c.OffsetWeight, predictor = r.tensor("offset_weight", true)
	switch v := r.integers("modulated", 1); {
	case v == nil:
	case v[0] == 1:
		c.Deform.Mask, channels = true, 3
	case v[0] != 0:
		r.fail(refuse(conv.ErrParams, "modulated is %d, must be 0 or 1", v[0]))
	}
	if r.err != nil {
		return
	}
	taps := channels * w[2] * w[3]
	if taps == 0 || predictor[0] < taps || predictor[0]%taps != 0 || [3]int(predictor[1:]) != [3]int{r.x[1], w[2], w[3]} {
		r.fail(refuse(conv.ErrShape, "offset_weight is %v, must be a multiple of %d (%d × %d×%d taps) × %d×%d×%d", predictor, taps, channels, w[2], w[3], r.x[1], w[2], w[3]))
		return
	}
	c.Deform.OffsetGroups = predictor[0] / taps
	c.OffsetBias = r.exact("offset_bias", predictor[:1])
	if r.err == nil && c.OffsetBias == nil {
		r.fail(refuse(ErrMissing, "array \"offset_bias\" is missing, a deform_pack has one"))
	}
	var err error
	c.Problem, err = c.Params.DeformProblem(c.Deform, r.x, w, c.Bias != nil)
	r.fail(err)
	r.filter(c, w)
	c.DOffsetWeight = r.expected("doffset_weight", dims(predictor))
	c.DOffsetBias = r.expected("doffset_bias", predictor[:1])
}
