package tensorio

import (
	"fmt"

	"vkconv/conv"
)

// resize reads a bilinear resize.
func (r *caseReader) resize(c *Case) {
	aligned := r.flag("align_corners")
	for _, name := range []string{"y", "dy"} {
		a, ok := r.array(name)
		if r.err != nil {
			return
		}
		if ok && len(a.Shape) == 4 {
			var err error
			c.Resize, err = conv.NewResize(r.x, a.Shape[2], a.Shape[3], aligned)
			r.fail(err)
			return
		}
	}
	r.fail(refuse(ErrMissing, "arrays \"y\" and \"dy\" are missing, a resize has the size of one of them"))
}

// globalPool reads a global average pooling.
func (r *caseReader) globalPool(c *Case) {
	if r.archive.Has("kernel") {
		r.fail(refuse(conv.ErrUnsupported, "op is pool with a kernel, only cases of global pooling are read"))
		return
	}
	var err error
	c.Pool, err = conv.NewGlobalPool(r.x)
	r.fail(err)
}

// pyramid reads an image pyramid.
func (r *caseReader) pyramid(c *Case) {
	count := 0
	for r.archive.Has(fmt.Sprintf("level%d", count+1)) || r.archive.Has(fmt.Sprintf("dlevel%d", count+1)) {
		count++
	}
	var err error
	if c.Pyramid, err = conv.NewPyramid(r.x, count); err != nil {
		r.fail(err)
		return
	}
	some := false
	for i, s := range c.Pyramid.Shapes() {
		c.Levels = append(c.Levels, r.expected(fmt.Sprintf("level%d", i+1), dims(s)))
		d := r.exact(fmt.Sprintf("dlevel%d", i+1), dims(s))
		c.DLevels = append(c.DLevels, d)
		some = some || d != nil
	}
	if !some {
		c.DLevels = nil
	}
}

// aspp reads an ASPP with its filters.
func (r *caseReader) aspp(c *Case) {
	var p conv.ASPPParams
	rates, ok := r.array("rates")
	if ok {
		var err error
		if p.Rates, err = rates.Ints(); err != nil {
			r.fail(fmt.Errorf("array \"rates\" %w", err))
		}
	}
	if name := r.text("activation"); name != "" && r.err == nil {
		var err error
		p.Activation.Kind, err = conv.ParseActivationKind(name)
		r.fail(err)
	}
	names := []string{"point"}
	for i := range p.Rates {
		names = append(names, fmt.Sprintf("dilated%d", i))
	}
	names = append(names, "pool", "project")
	var shapes []conv.Shape
	for _, name := range names {
		weight, shape := r.tensor(name+"_weight", true)
		shapes = append(shapes, shape)
		c.Filters = append(c.Filters, Filter{Name: name, Weight: weight})
	}
	if r.err != nil {
		return
	}
	p.Channels, p.Out = shapes[0][0], shapes[len(shapes)-1][0]
	var err error
	if c.ASPP, err = p.Problem(r.x); err != nil {
		r.fail(err)
		return
	}
	for i, q := range c.ASPP.Layers() {
		f := &c.Filters[i]
		if shapes[i] != q.Weight() {
			r.fail(refuse(conv.ErrShape, "%s_weight is %v, must be %v", f.Name, shapes[i], q.Weight()))
			return
		}
		f.Bias = r.exact(f.Name+"_bias", []int{q.K})
		f.DWeight = r.expected("d"+f.Name+"_weight", dims(q.Weight()))
		f.DBias = r.expected("d"+f.Name+"_bias", []int{q.K})
	}
}
