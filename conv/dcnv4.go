package conv

// V4 is [DCNParams.V3] for DCNv4 (Xiong et al. 2024): the same sampling with
// masks as they are, unbounded, unless Softmax is set, and with offsets and
// masks in one packed tensor.
//
// The packed tensor is N×Cp×Ho×Wo with Cp = 3·Groups·P rounded up to a multiple
// of 8: group after group first 2·P offsets, (x, y) after (x, y), then P masks;
// the channels that fill up are not read, and their gradient is 0. It is the
// published extension's tensor permuted by (0, 3, 1, 2). The extension's own
// limits (3×3 kernels, 16 channels a group) are none here.
func (p DCNParams) V4(x Shape) (DCN, error) {
	d, err := p.V3(x)
	if err != nil {
		return DCN{}, err
	}
	d.Packed = true
	if err := d.Offset().Check("offset and mask"); err != nil {
		return DCN{}, err
	}
	return d, nil
}
