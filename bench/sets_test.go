package bench

import (
	"testing"

	"vkconv/conv"
)

// What is published of the networks: torchvision's counts of the parameters
// (25,557,032 and 138,357,544, less those of the fully connected layers and of
// batch normalization) and of the multiply-adds, MobileNet's depthwise share
// (Howard et al. 2017, table 2: 3.06 % of 569 million), and the number of
// convolutions where the name has it.
func TestSets(t *testing.T) {
	want := map[string]struct {
		layers        int
		weights, macs int64
	}{
		"resnet50":  {53, 25_557_032 - 2048*1000 - 1000 - 2*26_560, 4_089_184_256 - 2048*1000},
		"vgg16":     {13, 138_357_544 - 123_642_856 - 4224, 15_470_264_320 - 123_633_664},
		"mobilenet": {13, 9 * (32 + 64 + 2*128 + 2*256 + 6*512 + 1024), 17_400_000},
		"aspp16":    {5, 3*9*2048*256 + (2048+1280)*256, 33 * 33 * (3*9*2048*256 + (2048+1280)*256)},
		"aspp8":     {5, 3*9*2048*256 + (2048+1280)*256, 65 * 65 * (3*9*2048*256 + (2048+1280)*256)},
		"dcnv1":     {13, 9 * (4*128*128 + 6*256*256 + 3*512*512), 0},
		"dcnv2":     {13, 9 * (4*128*128 + 6*256*256 + 3*512*512), 0},
		"rfcn":      {13, 0, 0},
		"dcnv4":     {30, 0, 0},
	}
	for _, s := range Sets() {
		w, ok := want[s.Name]
		if !ok {
			t.Errorf("set %q is not checked", s.Name)
			continue
		}
		layers, weights, macs := 0, int64(0), int64(0)
		names := map[string]bool{}
		for _, l := range s.Layers {
			if names[l.Name] {
				t.Errorf("%s has two layers %q", s.Name, l.Name)
			}
			names[l.Name] = true
			layers += l.Times
			if l.Op != "" {
				continue
			}
			params := conv.Params{Stride: [2]int{l.Stride, l.Stride}, Padding: conv.Pad(l.Pad), Dilation: [2]int{l.Dilation, l.Dilation}, Groups: l.Groups}
			p, err := params.Problem(conv.Shape{l.N, l.C, l.H, l.W}, conv.Shape{l.K, l.C / l.Groups, l.R, l.S}, false)
			if err != nil {
				t.Errorf("%s, %s: %v", s.Name, l.Name, err)
				continue
			}
			weights += int64(l.Times) * p.Cost().Params
			macs += int64(l.Times) * p.Cost().MACs
		}
		if layers != w.layers || w.weights != 0 && weights != w.weights {
			t.Errorf("%s has %d layers with %d weights, want %d with %d", s.Name, layers, weights, w.layers, w.weights)
		}
		if w.macs != 0 && (macs < w.macs*99/100 || macs > w.macs*101/100) {
			t.Errorf("%s has %d multiply-adds, want %d", s.Name, macs, w.macs)
		}
	}
}
