package main

import (
	"fmt"
	"image"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/image/draw"

	"vkconv/conv"
	"vkconv/onnx"
	"vkconv/tensorio"
)

// feed reads the inputs that -in gives.
func (r *onnxRun) feed(m *onnx.Model) (map[string]tensorio.Array, error) {
	all := map[string]tensorio.Array{}
	put := func(name string, a tensorio.Array, from string) error {
		i := slices.IndexFunc(m.Inputs(), func(v onnx.Value) bool { return v.Name == name })
		if i < 0 {
			return fmt.Errorf("%s gives %q, the model's inputs are %s", from, name, inputsText(m))
		}
		if _, twice := all[name]; twice {
			return fmt.Errorf("%s gives %q a second time", from, name)
		}
		all[name] = a
		return nil
	}
	for _, in := range r.in {
		name, file, ok := strings.Cut(in, "=")
		if !ok {
			arrays, err := readArrays(in)
			if err != nil {
				return nil, err
			}
			for name, a := range arrays {
				if err := put(name, a, in); err != nil {
					return nil, err
				}
			}
			continue
		}
		var a tensorio.Array
		var err error
		if filepath.Ext(file) == ".npy" {
			a, err = tensorio.ReadNPY(file)
		} else {
			a, err = r.picture(m, name, file)
			r.pictures = true
		}
		if err == nil {
			err = put(name, a, in)
		}
		if err != nil {
			return nil, err
		}
	}
	if !r.pictures && (r.mean != "0" || r.std != "1") {
		return nil, fmt.Errorf("-mean and -std are for pictures, and -in gives none")
	}
	for _, v := range m.Inputs() {
		if _, ok := all[v.Name]; !ok {
			return nil, fmt.Errorf("-in gives no %q; the model's inputs are %s", v.Name, inputsText(m))
		}
	}
	return all, nil
}

func inputsText(m *onnx.Model) string {
	var names []string
	for _, v := range m.Inputs() {
		names = append(names, v.String())
	}
	return strings.Join(names, "; ")
}

// readArrays reads a file of several arrays.
func readArrays(file string) (map[string]tensorio.Array, error) {
	switch filepath.Ext(file) {
	case ".npz":
		return tensorio.ReadNPZ(file)
	case ".safetensors":
		return tensorio.ReadSafetensors(file)
	}
	return nil, fmt.Errorf("-in %s: must be NAME=FILE, or a file whose name ends in .npz or .safetensors", file)
}

// picture reads a picture as the model wants its input.
func (r *onnxRun) picture(m *onnx.Model, name, file string) (tensorio.Array, error) {
	picture, err := tensorio.ReadImage(file)
	if err != nil {
		return tensorio.Array{}, err
	}
	var want []int
	for _, v := range m.Inputs() {
		if v.Name == name {
			want = v.Shape
		}
	}
	if len(want) == 4 && want[2] > 0 && want[3] > 0 && (want[2] != picture.Shape[2] || want[3] != picture.Shape[3]) {
		if want[2] > tensorio.MaxPixels/want[3] {
			return tensorio.Array{}, fmt.Errorf("the model's input %q is %d×%d pixels, at most %d are read", name, want[2], want[3], tensorio.MaxPixels)
		}
		to := image.NewNRGBA(image.Rect(0, 0, want[3], want[2]))
		from := picture.Picture()
		draw.CatmullRom.Scale(to, to.Bounds(), from, from.Bounds(), draw.Src, nil)
		scaled := tensorio.FromImage(to)
		if picture.Shape[1] == 1 { // grey stays grey
			scaled.Shape[1], scaled.Pix = 1, scaled.Pix[:want[2]*want[3]]
		}
		picture = scaled
	}
	if len(want) == 4 && want[1] == 3 && picture.Shape[1] == 1 {
		picture = tensorio.Image{Shape: conv.Shape{1, 3, picture.Shape[2], picture.Shape[3]}, Pix: slices.Repeat(picture.Pix, 3)}
	}
	mean, err := channelValues("-mean", r.mean, picture.Shape[1])
	if err != nil {
		return tensorio.Array{}, err
	}
	std, err := channelValues("-std", r.std, picture.Shape[1])
	if err != nil {
		return tensorio.Array{}, err
	}
	plane := picture.Shape[2] * picture.Shape[3]
	for i := range picture.Pix {
		picture.Pix[i] = (picture.Pix[i] - mean[i/plane]) / std[i/plane]
	}
	return tensorio.Array{Shape: picture.Shape[:], Data: picture.Pix}, nil
}

// channelValues reads one number for all channels or one for each.
func channelValues(flag, text string, channels int) ([]float32, error) {
	parts := strings.Split(text, ",")
	if len(parts) != 1 && len(parts) != channels {
		return nil, fmt.Errorf("%s is %q, must be one number or %d with commas between", flag, text, channels)
	}
	out := make([]float32, channels)
	for i := range out {
		v, err := strconv.ParseFloat(strings.TrimSpace(parts[i%len(parts)]), 32)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) || flag == "-std" && v == 0 {
			return nil, fmt.Errorf("%s is %q, must be finite numbers, of -std other than 0", flag, text)
		}
		out[i] = float32(v)
	}
	return out, nil
}
