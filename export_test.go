package vkconv

// Inside returns the tensors between an ASPP's layers.
func (a *ASPP) Inside() (mean, meanOut, cat *Tensor) { return a.mean, a.meanOut, a.cat }

// FleetOf makes a fleet of engines that are the caller's to close.
func FleetOf(engines ...*Engine) *Fleet {
	f := &Fleet{opt: Options{Log: engines[0].log}}
	for _, e := range engines {
		f.members = append(f.members, &member{engine: e})
	}
	return f
}

// AllEngines are a fleet's engines, lost ones and the one that stands by as well.
func (f *Fleet) AllEngines() []*Engine {
	var all []*Engine
	for _, m := range f.members {
		all = append(all, m.engine)
	}
	return all
}

// Apportion shares images among devices.
var Apportion = apportion

// Machine feigns a machine of so many bytes of memory, until the returned function is called.
func Machine(bytes int64) func() {
	before := hostMemory
	hostMemory = func() int64 { return bytes }
	return func() { hostMemory = before }
}
