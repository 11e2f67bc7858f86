package tensorio

import "vkconv/conv"

// flag reads 0 or 1, 0 where the array is missing.
func (r *caseReader) flag(name string) bool {
	v := r.integers(name, 1)
	if v != nil && v[0] != 0 && v[0] != 1 {
		r.fail(refuse(conv.ErrParams, "%s is %d, must be 0 or 1", name, v[0]))
	}
	return v != nil && v[0] == 1
}

// number reads one number as a float32, 0 where the array is missing.
func (r *caseReader) number(name string) float32 {
	a, ok := r.array(name)
	if !ok {
		return 0
	}
	v, err := a.Float64()
	if err == nil && len(v) != 1 {
		err = refuse(conv.ErrParams, "has %d elements, must have one", len(v))
	}
	if err != nil {
		r.fail(refuse(conv.ErrParams, "array %q %v", name, err))
		return 0
	}
	return float32(v[0])
}

// dcn reads a DCNv3 or DCNv4.
func (r *caseReader) dcn(c *Case) {
	pad := r.padding()
	p := conv.DCNParams{Kernel: r.pair("kernel", 3, 1), Stride: r.pair("stride", 1, 1), Dilation: r.pair("dilation", 1, 1), Padding: pad,
		Groups: r.groups(), OffsetScale: r.number("offset_scale"), RemoveCenter: r.flag("remove_center"), Softmax: r.flag("softmax")}
	var offset, mask conv.Shape
	if c.Offset, offset = r.tensor("offset", true); r.err != nil {
		return
	}
	var err error
	if c.Op == DCNv4 {
		c.DCN, err = p.V4(r.x)
	} else {
		c.Mask, mask = r.tensor("mask", true)
		c.DCN, err = p.V3(r.x)
	}
	switch d := c.DCN; {
	case r.err != nil:
		return
	case err != nil:
	case offset != d.Offset():
		err = refuse(conv.ErrShape, "offset is %v, must be %v", offset, d.Offset())
	case mask != d.MaskShape():
		err = refuse(conv.ErrShape, "mask is %v, must be %v", mask, d.MaskShape())
	}
	if err != nil {
		r.fail(err)
		return
	}
	c.DOffset = r.expected("doffset", dims(c.DCN.Offset()))
	if !c.DCN.Packed {
		c.DMask = r.expected("dmask", dims(c.DCN.MaskShape()))
	}
}

// regions reads what both kinds of RoI pooling share.
func (r *caseReader) regions(c *Case) (count int, offset, mask conv.Shape) {
	a, ok := r.array("rois")
	switch {
	case r.err != nil:
		return
	case !ok:
		r.fail(refuse(ErrMissing, "array \"rois\" is missing, a RoI pooling has regions"))
		return
	case len(a.Shape) != 2 || a.Shape[1] != 5:
		r.fail(refuse(conv.ErrShape, "array \"rois\" has shape %v, must be regions × 5", a.Shape))
		return
	}
	c.RoIs = r.exact("rois", a.Shape)
	c.Offset, offset = r.tensor("offset", false)
	c.Mask, mask = r.tensor("mask", false)
	return a.Shape[0], offset, mask
}

// pooled checks the tensors of a RoI pooling against its problem.
func (r *caseReader) pooled(c *Case, err error, offset, mask conv.Shape) {
	switch q := c.RoIPool; {
	case r.err != nil:
		return
	case err != nil:
	case q.Offset && offset != q.OffsetShape():
		err = refuse(conv.ErrShape, "offset is %v, must be %v", offset, q.OffsetShape())
	case q.Mask && mask != q.MaskShape():
		err = refuse(conv.ErrShape, "mask is %v, must be %v", mask, q.MaskShape())
	}
	if err != nil {
		r.fail(err)
		return
	}
	if c.RoIPool.Offset {
		c.DOffset = r.expected("doffset", dims(c.RoIPool.OffsetShape()))
	}
	if c.RoIPool.Mask {
		c.DMask = r.expected("dmask", dims(c.RoIPool.MaskShape()))
	}
}

// roiPool reads a deformable RoI pooling.
func (r *caseReader) roiPool(c *Case) {
	count, offset, mask := r.regions(c)
	var bins [2]int
	if v := r.integers("bins", 2); v != nil {
		bins = [2]int(v)
	} else if y, ok := r.array("y"); ok && len(y.Shape) == 4 {
		bins = [2]int{y.Shape[2], y.Shape[3]}
	}
	p := conv.RoIPoolParams{Bins: bins, SpatialScale: r.number("spatial_scale"), Gamma: r.number("gamma"), Offset: c.Offset != nil, Mask: c.Mask != nil}
	if v := r.integers("sampling_ratio", 1); v != nil {
		p.SamplingRatio = v[0]
	}
	if r.err != nil {
		return
	}
	var err error
	c.RoIPool, err = p.Problem(r.x, count)
	r.pooled(c, err, offset, mask)
}

// psRoIPool reads a deformable position-sensitive RoI pooling.
func (r *caseReader) psRoIPool(c *Case) {
	count, offset, mask := r.regions(c)
	s := r.integers("sizes", 6)
	if r.err == nil && s == nil {
		r.fail(refuse(ErrMissing, "array \"sizes\" is missing, a deform_psroi_pool has one"))
	}
	p := conv.PSRoIPoolParams{SpatialScale: r.number("spatial_scale"), TransStd: r.number("trans_std"), Offset: c.Offset != nil, Mask: c.Mask != nil}
	if r.err != nil {
		return
	}
	p.OutputChannels, p.GroupSize, p.PooledSize, p.PartSize, p.SamplePerPart, p.Classes = s[0], s[1], s[2], s[3], s[4], s[5]
	var err error
	c.RoIPool, err = p.Problem(r.x, count)
	r.pooled(c, err, offset, mask)
}
