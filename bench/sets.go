package bench

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"

	"vkconv/conv"
)

// SetLayer is a layer of a named set as sets.json has it. bench/peers reads the
// same file, and so may any other program: an entry is flat, sides are square.
type SetLayer struct {
	Set, Name            string
	Op                   string // "dcnv4"; "" for a convolution
	N, C, H, W           int    // input N×C×H×W
	K, R, S              int    // weight K×(C/Groups)×R×S; DCNv4 has no K
	Stride, Pad          int
	Dilation, Groups, OG int // OG > 0: deformable, with that many offset groups
	Mask                 bool
	Times                int // how often the network has such a layer
}

// Set is a named set of layers.
type Set struct {
	Name, About string
	Layers      []SetLayer
}

// setNames are the sets in the order in which they are shown, with their sources.
var setNames = []Set{
	{Name: "resnet50", About: "all convolutions of ResNet-50 (He et al. 2015; strides in the 3×3, as torchvision has them), 224×224"},
	{Name: "vgg16", About: "all convolutions of VGG-16 (Simonyan and Zisserman 2014), 224×224"},
	{Name: "aspp16", About: "DeepLab v3's ASPP at output stride 16, rates 6, 12, 18 (Chen et al. 2017), 513×513"},
	{Name: "aspp8", About: "the same at output stride 8, rates 12, 24, 36"},
	{Name: "rfcn", About: "R-FCN's dilated fifth stage and score maps (Dai et al. 2016), 600×1000"},
	{Name: "mobilenet", About: "the depthwise layers of MobileNet (Howard et al. 2017), 224×224"},
	{Name: "dcnv1", About: "the 3×3 of ResNet-50's stages 3 to 5 made deformable (Dai et al. 2017), 224×224"},
	{Name: "dcnv2", About: "the same with masks (Zhu et al. 2018)"},
	{Name: "dcnv4", About: "the operator of DCNv4 in the four stages of FlashInternImage-T (Xiong et al. 2024), 224×224"},
}

//go:embed sets.json
var setsJSON []byte

// Sets returns the named sets: the layers of published networks, each with how
// often the network has it.
func Sets() []Set {
	var layers []SetLayer
	if err := json.Unmarshal(setsJSON, &layers); err != nil {
		panic(fmt.Sprintf("bench: sets.json: %v", err))
	}
	sets := slices.Clone(setNames)
	for _, l := range layers {
		i := slices.IndexFunc(sets, func(s Set) bool { return s.Name == l.Set })
		if i < 0 {
			panic(fmt.Sprintf("bench: sets.json has a set %q that setNames has not", l.Set))
		}
		l.Times = max(l.Times, 1)
		sets[i].Layers = append(sets[i].Layers, l)
	}
	return sets
}

// Case returns the layer as a case, with a bias where it is a convolution.
func (l SetLayer) Case() Case {
	pair := func(n int) [2]int { return [2]int{n, n} }
	c := Case{Group: l.Set, Set: l.Set, Name: l.Name, Input: conv.Shape{l.N, l.C, l.H, l.W}, Times: l.Times}
	if l.Op == "dcnv4" {
		c.Layers = []Layer{{DCN: &conv.DCNParams{Kernel: [2]int{l.R, l.S}, Stride: pair(l.Stride), Dilation: pair(l.Dilation), Padding: conv.Pad(l.Pad), Groups: l.Groups}}}
		return c
	}
	layer := Layer{Weight: conv.Shape{l.K, l.C / l.Groups, l.R, l.S}, Bias: true,
		Params: conv.Params{Stride: pair(l.Stride), Padding: conv.Pad(l.Pad), Dilation: pair(l.Dilation), Groups: l.Groups}}
	if l.OG > 0 {
		layer.Deform = &conv.Deform{OffsetGroups: l.OG, Mask: l.Mask}
	}
	c.Layers = []Layer{layer}
	return c
}
