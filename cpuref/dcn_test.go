package cpuref_test

import (
	"math"
	"path/filepath"
	"testing"

	"vkconv/conv"
	"vkconv/cpuref"
	"vkconv/tensorio"
)

// outside is an archive of an outside case; a missing array is nil.
type outside struct {
	t *testing.T
	a map[string]tensorio.Array
}

func (o outside) floats(name string) []float64 {
	if _, ok := o.a[name]; !ok {
		return nil
	}
	v, err := o.a[name].Float64()
	if err != nil {
		o.t.Fatal(name, err)
	}
	return v
}

func (o outside) ints(name string) []int {
	v, err := o.a[name].Ints()
	if err != nil {
		o.t.Fatal(name, err)
	}
	return v
}

func (o outside) shape(name string) (s conv.Shape) {
	s = conv.Shape{1, 1, 1, 1}
	copy(s[:], o.a[name].Shape)
	return s
}

// agree compares sums with outside values where there are any.
func (o outside) agree(name string, got []conv.Sum, atol float64) {
	want := o.floats(name)
	if want == nil {
		return
	}
	if len(got) != len(want) {
		o.t.Errorf("%s has %d elements, want %d", name, len(got), len(want))
		return
	}
	for j, s := range got {
		tol := 1e-13*(s.Abs+s.Slope)*float64(s.Terms+10) + atol
		if !(math.Abs(s.Value-want[j]) <= tol) {
			o.t.Errorf("%s[%d] is %.17g, want %.17g", name, j, s.Value, want[j])
			return
		}
	}
}

// DCNv3, DCNv4 and RoI pooling against PyTorch in float64, and RoI pooling
// against mmcv's published answers.
func TestOutsideDCN(t *testing.T) {
	found := map[string]int{}
	for _, dir := range []string{"dcn", "known"} {
		paths, err := filepath.Glob("../convtest/testdata/" + dir + "/*.npz")
		if err != nil || len(paths) == 0 {
			t.Fatalf("no cases in %s (%v)", dir, err)
		}
		for _, path := range paths {
			arrays, err := tensorio.ReadNPZ(path)
			if err != nil {
				t.Fatal(err)
			}
			op := ""
			if a, ok := arrays["op"]; ok {
				op, _ = a.Text()
			}
			o := outside{t, arrays}
			atol := 1e-14
			if v := o.floats("atol"); v != nil {
				atol = v[0]
			}
			switch op {
			case "dcnv3", "dcnv4":
				o.dcn(op)
			case "deform_roi_pool", "deform_psroi_pool":
				o.roiPool(op, atol)
			default:
				continue
			}
			found[op]++
			if t.Failed() {
				t.Fatal(path)
			}
		}
	}
	t.Log(found)
	if found["dcnv3"] < 12 || found["dcnv4"] < 12 || found["deform_roi_pool"] < 12 || found["deform_psroi_pool"] < 12 {
		t.Errorf("cases are missing: %v", found)
	}
}

func (o outside) dcn(op string) {
	pair := func(name string) [2]int { return [2]int(o.ints(name)) }
	pad := o.ints("padding")
	p := conv.DCNParams{Kernel: pair("kernel"), Stride: pair("stride"), Dilation: pair("dilation"),
		Padding: conv.Padding{Top: pad[0], Left: pad[1], Bottom: pad[2], Right: pad[3]}, Groups: o.ints("groups")[0],
		OffsetScale: float32(o.floats("offset_scale")[0]), RemoveCenter: o.ints("remove_center")[0] == 1, Softmax: o.ints("softmax")[0] == 1}
	x, offset, mask, dy := o.floats("x"), o.floats("offset"), o.floats("mask"), o.floats("dy")
	if op == "dcnv4" {
		d, err := p.V4(o.shape("x"))
		if err != nil {
			o.t.Fatal(err)
		}
		o.agree("y", cpuref.DCNv4(d, x, offset), 1e-14)
		g := cpuref.DCNv4Backward(d, x, offset, dy)
		o.agree("dx", g.X, 1e-14)
		o.agree("doffset", g.Offset, 1e-14)
		return
	}
	d, err := p.V3(o.shape("x"))
	if err != nil {
		o.t.Fatal(err)
	}
	o.agree("y", cpuref.DCNv3(d, x, offset, mask), 1e-14)
	g := cpuref.DCNv3Backward(d, x, offset, mask, dy)
	o.agree("dx", g.X, 1e-14)
	o.agree("doffset", g.Offset, 1e-14)
	o.agree("dmask", g.Mask, 1e-14)
}

func (o outside) roiPool(op string, atol float64) {
	x, rois, offset, mask, dy := o.floats("x"), o.floats("rois"), o.floats("offset"), o.floats("mask"), o.floats("dy")
	scale := float32(o.floats("spatial_scale")[0])
	count := o.shape("rois")[0]
	var q conv.RoIPool
	var err error
	if op == "deform_psroi_pool" {
		s := o.ints("sizes")
		q, err = conv.PSRoIPoolParams{OutputChannels: s[0], GroupSize: s[1], PooledSize: s[2], PartSize: s[3], SamplePerPart: s[4], Classes: s[5],
			SpatialScale: scale, TransStd: float32(o.floats("trans_std")[0]), Offset: offset != nil, Mask: mask != nil}.Problem(o.shape("x"), count)
	} else {
		bins := o.shape("y")
		q, err = conv.RoIPoolParams{Bins: [2]int{bins[2], bins[3]}, SpatialScale: scale, SamplingRatio: o.ints("sampling_ratio")[0],
			Gamma: float32(o.floats("gamma")[0]), Offset: offset != nil, Mask: mask != nil}.Problem(o.shape("x"), count)
	}
	if err != nil {
		o.t.Fatal(err)
	}
	o.agree("y", cpuref.RoIPool(q, x, rois, offset, mask), atol)
	g := cpuref.RoIPoolBackward(q, x, rois, offset, mask, dy)
	o.agree("dx", g.X, atol)
	o.agree("doffset", g.Offset, atol)
	o.agree("dmask", g.Mask, atol)
}
