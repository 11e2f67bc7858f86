package vkconv

// Inside returns the tensors between an ASPP's layers.
func (a *ASPP) Inside() (mean, meanOut, cat *Tensor) { return a.mean, a.meanOut, a.cat }
