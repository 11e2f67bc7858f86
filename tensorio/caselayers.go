package tensorio

import "vkconv/conv"

// activation reads an activation.
func (r *caseReader) activation(c *Case) {
	var err error
	a := &c.Activation
	if a.Kind, err = conv.ParseActivationKind(r.text("activation")); err != nil {
		r.fail(err)
		return
	}
	a.Slope, a.Min, a.Max = r.number("slope"), r.number("min"), r.number("max")
	r.fail(a.Validate())
}

// windowPool reads a pooling over windows.
func (r *caseReader) windowPool(c *Case) {
	p := &c.WindowPoolParams
	p.Kernel, p.Stride, p.Dilation = r.pair("kernel", 0, 1), r.pair("stride", 0, 1), r.pair("dilation", 1, 1)
	p.Padding, p.Ceil, p.ExcludePadding = r.padding(), r.flag("ceil"), r.flag("exclude")
	pool := p.Average
	if r.flag("maximum") {
		pool = p.Max
	}
	if r.err != nil {
		return
	}
	var err error
	c.WindowPool, err = pool(r.x)
	r.fail(err)
}

// batchNorm reads a batch normalization.
func (r *caseReader) batchNorm(c *Case) {
	var err error
	c.BatchNorm, err = conv.BatchNormParams{Eps: r.number("eps"), Momentum: r.number("momentum")}.BatchNorm(r.x)
	if err == nil {
		err = c.BatchNorm.CheckTraining()
	}
	if err != nil {
		r.fail(err)
		return
	}
	channels := []int{r.x[1]}
	for _, a := range []struct {
		name string
		to   *[]float32
	}{{"weight", &c.Weight}, {"bias", &c.Bias}, {"running_mean", &c.RunningMean}, {"running_var", &c.RunningVar}} {
		if *a.to = r.exact(a.name, channels); *a.to == nil {
			r.fail(refuse(ErrMissing, "array %q is missing, a batch_norm has one", a.name))
			return
		}
	}
	c.NewMean, c.NewVar = r.expected("new_mean", channels), r.expected("new_var", channels)
	c.Given = r.expected("given", dims(r.x))
	c.DWeight, c.DBias = r.expected("dweight", channels), r.expected("dbias", channels)
}
