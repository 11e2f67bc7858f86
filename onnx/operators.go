package onnx

import (
	"fmt"

	"vkconv/onnx/internal/pb"
)

// operator is what is known of one of ONNX's operators.
type operator struct {
	inputs     [2]int // fewest and most
	attributes map[string]pb.AttributeProto_AttributeType
	constants  []int // inputs whose values must be known when planned
	// sameData says that the output is the first input's data with other extents.
	sameData bool
	// check lists what a node asks that is not here, as far as it alone says.
	check func(n *node) []string
	infer func(p *planner, n *node) (*planned, error)
}

type attributes = map[string]pb.AttributeProto_AttributeType

// windows are the attributes of all operators that slide a window.
func windows(more attributes) attributes {
	a := attributes{"auto_pad": asText, "dilations": asInts, "kernel_shape": asInts, "pads": asInts, "strides": asInts}
	for name, kind := range more {
		a[name] = kind
	}
	return a
}

// operators are all that are here. It is filled by init, since planning reads it.
var operators map[string]operator

func init() {
	reshaping := attributes{"axes": asInts}
	operators = map[string]operator{
		"Conv": {inputs: [2]int{2, 3}, attributes: windows(attributes{"group": asInt}), constants: []int{1, 2}, check: checkAutoPad, infer: inferConv},
		"ConvTranspose": {inputs: [2]int{2, 3}, attributes: windows(attributes{"group": asInt, "output_padding": asInts, "output_shape": asInts}),
			constants: []int{1, 2}, check: checkAutoPad, infer: inferConvTranspose},
		"DeformConv": {inputs: [2]int{3, 5}, constants: []int{1, 3}, infer: inferDeformConv,
			attributes: attributes{"dilations": asInts, "group": asInt, "kernel_shape": asInts, "offset_group": asInt, "pads": asInts, "strides": asInts}},

		"BatchNormalization": {inputs: [2]int{5, 5}, constants: []int{1, 2, 3, 4}, check: checkBatchNorm, infer: inferScale,
			attributes: attributes{"epsilon": asFloat, "momentum": asFloat, "training_mode": asInt, "spatial": asInt, "is_test": asInt, "consumed_inputs": asInts}},
		"Add": {inputs: [2]int{2, 2}, attributes: attributes{"broadcast": asInt, "consumed_inputs": asInts}, infer: inferAdd},
		"Mul": {inputs: [2]int{2, 2}, attributes: attributes{"broadcast": asInt, "consumed_inputs": asInts}, infer: inferMul},

		"Relu":      {inputs: [2]int{1, 1}, attributes: attributes{"consumed_inputs": asInts}, infer: inferScale},
		"Sigmoid":   {inputs: [2]int{1, 1}, attributes: attributes{"consumed_inputs": asInts}, infer: inferScale},
		"LeakyRelu": {inputs: [2]int{1, 1}, attributes: attributes{"alpha": asFloat, "consumed_inputs": asInts}, infer: inferScale},
		"Gelu":      {inputs: [2]int{1, 1}, attributes: attributes{"approximate": asText}, check: checkGelu, infer: inferScale},
		"Swish":     {inputs: [2]int{1, 1}, attributes: attributes{"alpha": asFloat}, check: checkSwish, infer: inferScale},
		"Clip": {inputs: [2]int{1, 3}, attributes: attributes{"min": asFloat, "max": asFloat, "consumed_inputs": asInts},
			constants: []int{1, 2}, infer: inferScale},

		"Concat":            {inputs: [2]int{1, 1 << 20}, attributes: attributes{"axis": asInt}, infer: inferConcat},
		"GlobalAveragePool": {inputs: [2]int{1, 1}, infer: inferGlobalAverage},
		"ReduceMean": {inputs: [2]int{1, 2}, attributes: attributes{"axes": asInts, "keepdims": asInt, "noop_with_empty_axes": asInt}, constants: []int{1},
			infer: inferMean},
		"GlobalMaxPool": {inputs: [2]int{1, 1}, infer: inferGlobalMax},
		"MaxPool":       {inputs: [2]int{1, 1}, attributes: windows(attributes{"ceil_mode": asInt, "storage_order": asInt}), check: checkAutoPad, infer: inferPool},
		"AveragePool": {inputs: [2]int{1, 1}, attributes: windows(attributes{"ceil_mode": asInt, "count_include_pad": asInt}), check: checkAverage,
			infer: inferPool},
		"Resize": {inputs: [2]int{1, 4}, constants: []int{1, 2, 3}, check: checkResize, infer: inferResize, attributes: attributes{
			"antialias": asInt, "axes": asInts, "coordinate_transformation_mode": asText, "cubic_coeff_a": asFloat, "exclude_outside": asInt,
			"extrapolation_value": asFloat, "keep_aspect_ratio_policy": asText, "mode": asText, "nearest_mode": asText}},
		"Upsample": {inputs: [2]int{1, 2}, constants: []int{1}, attributes: attributes{"mode": asText, "scales": asFloats}, check: checkUpsample, infer: inferResize},
		"Slice":    {inputs: [2]int{1, 5}, attributes: attributes{"starts": asInts, "ends": asInts, "axes": asInts}, constants: []int{1, 2, 3, 4}, infer: inferSlice},
		"Gemm": {inputs: [2]int{2, 3}, constants: []int{1, 2}, check: checkGemm, infer: inferGemm,
			attributes: attributes{"alpha": asFloat, "beta": asFloat, "broadcast": asInt, "transA": asInt, "transB": asInt}},

		"Identity":  {inputs: [2]int{1, 1}, sameData: true, infer: inferSame},
		"Dropout":   {inputs: [2]int{1, 3}, attributes: attributes{"ratio": asFloat, "is_test": asInt, "seed": asInt, "consumed_inputs": asInts}, constants: []int{1, 2}, sameData: true, check: checkDropout, infer: inferSame},
		"Flatten":   {inputs: [2]int{1, 1}, attributes: attributes{"axis": asInt}, sameData: true, infer: inferSame},
		"Reshape":   {inputs: [2]int{1, 2}, attributes: attributes{"allowzero": asInt, "shape": asInts, "consumed_inputs": asInts}, constants: []int{1}, sameData: true, infer: inferSame},
		"Squeeze":   {inputs: [2]int{1, 2}, attributes: reshaping, constants: []int{1}, sameData: true, infer: inferSame},
		"Unsqueeze": {inputs: [2]int{1, 2}, attributes: reshaping, constants: []int{1}, sameData: true, infer: inferSame},
		"Constant": {infer: inferConstant, attributes: attributes{"value": asTensor, "value_float": asFloat, "value_floats": asFloats,
			"value_int": asInt, "value_ints": asInts}},
	}
}

func checkAutoPad(n *node) []string {
	switch mode := n.text("auto_pad", "NOTSET"); mode {
	case "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID":
		return nil
	default:
		return []string{fmt.Sprintf("auto_pad %.40q", mode)}
	}
}

func checkAverage(n *node) []string {
	what := checkAutoPad(n)
	for _, d := range n.ints("dilations") {
		if d != 1 {
			return append(what, "dilations")
		}
	}
	return what
}

func checkBatchNorm(n *node) (what []string) {
	if n.int("training_mode", 0) != 0 || n.opset < 7 && n.int("is_test", 0) == 0 {
		what = append(what, "the moments of the batch, as in training")
	}
	if n.int("spatial", 1) != 1 {
		what = append(what, "moments of every pixel (spatial 0)")
	}
	return what
}

func checkGelu(n *node) []string {
	if mode := n.text("approximate", "none"); mode != "none" {
		return []string{fmt.Sprintf("approximate %.40q", mode)}
	}
	return nil
}

func checkSwish(n *node) []string {
	if alpha := n.float("alpha", 1); alpha != 1 {
		return []string{fmt.Sprintf("alpha %g", alpha)}
	}
	return nil
}

func checkGemm(n *node) []string {
	if n.int("transA", 0) != 0 {
		return []string{"transA"}
	}
	return nil
}

func checkDropout(n *node) []string {
	var what []string
	if len(n.outputs) > 1 && n.outputs[1] != "" {
		what = append(what, "a mask as output")
	}
	if n.opset < 7 && n.int("is_test", 0) == 0 {
		what = append(what, "random zeros, as in training")
	}
	return what
}

func checkUpsample(n *node) []string {
	if mode := n.text("mode", "nearest"); mode != "nearest" {
		return []string{fmt.Sprintf("mode %.40q", mode)}
	}
	return nil
}

func checkResize(n *node) (what []string) {
	mode := n.text("mode", "nearest")
	place := n.text("coordinate_transformation_mode", "half_pixel")
	if n.opset < 11 {
		place = "asymmetric"
	}
	switch mode {
	case "nearest":
		if place == "tf_crop_and_resize" || place == "half_pixel_symmetric" {
			what = append(what, fmt.Sprintf("coordinate_transformation_mode %q and mode \"nearest\"", place))
		}
		switch nearest := n.text("nearest_mode", "round_prefer_floor"); nearest {
		case "round_prefer_floor", "round_prefer_ceil", "floor", "ceil":
		default:
			what = append(what, fmt.Sprintf("nearest_mode %.40q", nearest))
		}
	case "linear":
		switch place {
		case "half_pixel", "pytorch_half_pixel", "align_corners", "half_pixel_symmetric":
		default:
			what = append(what, fmt.Sprintf("coordinate_transformation_mode %.40q and mode \"linear\"", place))
		}
	default:
		what = append(what, fmt.Sprintf("mode %.40q", mode))
	}
	if n.int("antialias", 0) != 0 {
		what = append(what, "antialias")
	}
	if policy := n.text("keep_aspect_ratio_policy", "stretch"); policy != "stretch" {
		what = append(what, fmt.Sprintf("keep_aspect_ratio_policy %.40q", policy))
	}
	return what
}
